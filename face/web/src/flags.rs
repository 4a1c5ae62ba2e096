//! What the faces need of feature flags, and their JSON.

use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde_json::Value;
use trimtab_api as api;
use trimtab_api::{Done, Fault, FaultCode, Principal};
use trimtab_flags::Answer;
use trimtab_model::Identity;

use crate::auth::Caller;
use crate::failure::Failed;
use crate::state::App;

/// Days after which a flag counts as stale when nobody says otherwise.
const STALE_DAYS: u32 = 30;

/// What is asked of flags.
#[derive(Debug, Clone)]
pub struct FlagAsking<'a> {
    /// Whose flags.
    pub service: &'a str,
    /// Where.
    pub environment: &'a str,
    /// The instance that asks, when it is one.
    pub identity: Identity,
    /// One flag, or all of them.
    pub key: Option<&'a str>,
    /// In which context.
    pub context: &'a Value,
}

/// The answers, and which version of the set gave them.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagAnswers {
    /// The version; 0 when the place never had flags.
    pub version: u64,
    /// One for each flag that was asked for.
    pub answers: Vec<Answer>,
}

fn absent<T>() -> Result<T, Fault> {
    Err(Fault::new(
        FaultCode::NotFound,
        "failed to find feature flags: this server keeps none",
        "ask the server that does",
    ))
}

/// Feature flags, as a part of what the faces ask of the program. A program without flags keeps the
/// answers that stand here.
#[async_trait]
pub trait FlagBackend: Send + Sync + 'static {
    /// Every set, in short.
    async fn flag_sets(&self) -> Result<Vec<api::FlagSetSummary>, Fault> {
        absent()
    }
    /// One set with the use of its flags.
    async fn flag_set(&self, _service: &str, _environment: &str) -> Result<api::FlagSetDetail, Fault> {
        absent()
    }
    /// Every change of a set, newest first.
    async fn flag_history(&self, _service: &str, _environment: &str) -> Result<Vec<api::FlagsPast>, Fault> {
        absent()
    }
    /// Flags that nobody needs any more.
    async fn stale_flags(
        &self,
        _service: &str,
        _environment: &str,
        _days: u32,
    ) -> Result<Vec<api::StaleFlag>, Fault> {
        absent()
    }
    /// Changes a set.
    async fn change_flags(
        &self,
        _by: &Principal,
        _service: &str,
        _environment: &str,
        _change: api::FlagsChange,
    ) -> Result<Done, Fault> {
        absent()
    }
    /// Takes a change back.
    async fn undo_flags(
        &self,
        _by: &Principal,
        _service: &str,
        _environment: &str,
        _undo: api::FlagsUndo,
    ) -> Result<Done, Fault> {
        absent()
    }
    /// Which instance this telemetry token belongs to.
    fn instance_of(&self, _token: &str) -> Option<Identity> {
        None
    }
    /// Evaluates, and takes note of what was served.
    fn evaluate_flags(&self, _asking: &FlagAsking<'_>) -> Result<FlagAnswers, Fault> {
        absent()
    }
}

type Answered<T> = Result<Json<T>, Failed>;
type Place = Path<(String, String)>;

pub(crate) async fn sets(State(app): State<App>) -> Answered<Vec<api::FlagSetSummary>> {
    Ok(Json(app.backend.flag_sets().await?))
}

pub(crate) async fn set(
    State(app): State<App>,
    Path((service, environment)): Place,
) -> Answered<api::FlagSetDetail> {
    Ok(Json(app.backend.flag_set(&service, &environment).await?))
}

pub(crate) async fn history(
    State(app): State<App>,
    Path((service, environment)): Place,
) -> Answered<Vec<api::FlagsPast>> {
    Ok(Json(app.backend.flag_history(&service, &environment).await?))
}

pub(crate) async fn stale(
    State(app): State<App>,
    Path((service, environment)): Place,
    Query(query): Query<api::StaleQuery>,
) -> Answered<Vec<api::StaleFlag>> {
    let days = query.days.unwrap_or(STALE_DAYS);
    Ok(Json(app.backend.stale_flags(&service, &environment, days).await?))
}

fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|problem| {
        Fault::invalid(
            format!("failed to read the body: {problem}"),
            "compare it with /api/v1/openapi.json",
        )
    })
}

pub(crate) async fn change(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((service, environment)): Place,
    body: Bytes,
) -> Answered<Done> {
    let change: api::FlagsChange = read(&body)?;
    if change.document.is_some() == change.flag.is_some() {
        return Err(Fault::invalid(
            "failed to tell what to change",
            "give either a document or a flag",
        )
        .into());
    }
    let done = app
        .backend
        .change_flags(&caller.principal, &service, &environment, change)
        .await?;
    Ok(Json(done))
}

pub(crate) async fn undo(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((service, environment)): Place,
    body: Bytes,
) -> Answered<Done> {
    let undo = read(&body)?;
    let done = app
        .backend
        .undo_flags(&caller.principal, &service, &environment, undo)
        .await?;
    Ok(Json(done))
}
