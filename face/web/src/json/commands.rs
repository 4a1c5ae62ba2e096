//! What is asked for. Bodies are JSON; a body that may be left out is read as its default.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use trimtab_api as api;
use trimtab_api::{Command, Comment, Done, Fault, SilenceOf};

use crate::auth::Caller;
use crate::failure::Failed;
use crate::forms::{make_token, silence_minutes};
use crate::state::App;

type Answer<T> = Result<Json<T>, Failed>;

/// Longest comment of a user's feedback, in characters.
const FEEDBACK_CHARS_MAX: usize = 2_000;

/// A body that must be there.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|problem| {
        Fault::invalid(
            format!("failed to read the body: {problem}"),
            "compare it with /api/v1/openapi.json",
        )
    })
}

/// A body that may be empty.
fn read_or_default<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        Ok(T::default())
    } else {
        read(body)
    }
}

async fn send(app: &App, caller: &Caller, command: Command) -> Answer<Done> {
    Ok(Json(app.backend.command(&caller.principal, command).await?))
}

macro_rules! commented {
    ($($name:ident => $command:ident($field:ident);)*) => {
        $(pub(crate) async fn $name(
            State(app): State<App>,
            Extension(caller): Extension<Caller>,
            Path(id): Path<String>,
            body: Bytes,
        ) -> Answer<Done> {
            let Comment { comment } = read_or_default(&body)?;
            send(&app, &caller, Command::$command { $field: id, comment }).await
        })*
    };
}

commented! {
    approve => Approve(run);
    reject => Reject(run);
    cancel => Cancel(run);
    promote => Promote(rollout);
    abort => Abort(rollout);
    pause => Pause(rollout);
    resume => Resume(rollout);
    approve_step => ApproveStep(rollout);
    retry_rollout => Retry(rollout);
    restart => Restart(rollout);
    abort_group => AbortGroup(group);
    acknowledge => Acknowledge(incident);
    take_over => TakeOver(incident);
    fix_applied => FixApplied(incident);
    resolve => Resolve(incident);
    lift_quarantine => LiftQuarantine(release);
}

macro_rules! bare {
    ($($name:ident => $command:ident($field:ident);)*) => {
        $(pub(crate) async fn $name(
            State(app): State<App>,
            Extension(caller): Extension<Caller>,
            Path(id): Path<String>,
        ) -> Answer<Done> {
            send(&app, &caller, Command::$command { $field: id }).await
        })*
    };
}

bare! {
    retry => RetryNotification(notification);
    end_silence => EndSilence(silence);
    revoke_token => RevokeToken(token);
}

pub(crate) async fn deploy(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer<Done> {
    send(&app, &caller, Command::Deploy(read(&body)?)).await
}

pub(crate) async fn upgrade_proxy(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer<Done> {
    let Comment { comment } = read_or_default(&body)?;
    send(&app, &caller, Command::UpgradeProxy { comment }).await
}

pub(crate) async fn release_together(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer<Done> {
    send(&app, &caller, Command::ReleaseTogether(read(&body)?)).await
}

pub(crate) async fn entrance(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(service): Path<String>,
    body: Bytes,
) -> Answer<Done> {
    let request = read(&body)?;
    send(&app, &caller, Command::Entrance { service, request }).await
}

pub(crate) async fn scale(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(service): Path<String>,
    body: Bytes,
) -> Answer<Done> {
    let request = read(&body)?;
    send(&app, &caller, Command::Scale { service, request }).await
}

pub(crate) async fn roll_back(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer<Done> {
    let request: api::RollBackRequest = read(&body)?;
    if request.rollout.is_none() && request.service.is_none() && request.release.is_none() {
        return Err(Fault::invalid(
            "failed to tell what to roll back",
            "give a rollout, a service or a release",
        )
        .into());
    }
    send(&app, &caller, Command::RollBack(request)).await
}

pub(crate) async fn silence(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer<Done> {
    let request: api::SilenceRequest = read(&body)?;
    let of = SilenceOf {
        incident: Some(id),
        ..SilenceOf::default()
    };
    let minutes = silence_minutes(request.minutes)?;
    send(
        &app,
        &caller,
        Command::Silence {
            of,
            reason: request.reason,
            minutes,
        },
    )
    .await
}

pub(crate) async fn create_token(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer<api::TokenCreated> {
    Ok(Json(make_token(&app, &caller, read(&body)?).await?))
}

pub(crate) async fn git_hook(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer<Done> {
    Ok(Json(app.backend.git_hook(&caller.principal, read(&body)?).await?))
}

pub(crate) async fn feedback(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer<Done> {
    let mut feedback: api::NewFeedback = read(&body)?;
    if !(1.0..=5.0).contains(&feedback.score) {
        return Err(Fault::invalid(
            format!("failed to accept the score {}", feedback.score),
            "give a score from 1 to 5",
        )
        .into());
    }
    feedback.comment = feedback.comment.chars().take(FEEDBACK_CHARS_MAX).collect();
    Ok(Json(app.backend.feedback(&caller.principal, feedback).await?))
}
