//! What the forms of pages ask for, as commands; and what both faces share in making tokens.

use axum::Extension;
use axum::extract::{MatchedPath, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::SET_COOKIE;
use trimtab_api::{
    Command, DeployRequest, EntranceMode, EntranceRequest, Fault, NewToken, RollBackRequest, ScaleRequest,
    SilenceOf, TokenCreated,
};

use crate::TokenHash;
use crate::auth::{Caller, Fields, cookie, set_cookie};
use crate::failure::Failed;
use crate::parts::is_own_path;
use crate::state::App;

/// Name of the cookie that carries what the last form answered to the next page.
const FLASH_COOKIE: &str = "trimtab_flash";
/// Seconds that such an answer is kept.
const FLASH_SECONDS: u64 = 10;
/// Longest comment in bytes; longer ones are cut.
const COMMENT_BYTES_MAX: usize = 2_000;
/// Longest silence in minutes: a week.
pub(crate) const SILENCE_MINUTES_MAX: u64 = 7 * 24 * 60;

/// What the last form answered, for the page that follows.
pub(crate) fn flash_of(headers: &HeaderMap) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie(headers, FLASH_COOKIE)?).ok()?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// `POST /do/<verb>/{id}`: sends the command, then leads back to the page with its answer.
pub(crate) async fn act(
    State(app): State<App>,
    path: MatchedPath,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Result<Response, Failed> {
    let verb = path
        .as_str()
        .trim_start_matches("/do/")
        .split('/')
        .next()
        .unwrap_or_default();
    let command = command(verb, id, &fields)?;
    let answer = match app.backend.command(&caller.principal, command).await {
        Ok(done) => done.message,
        Err(fault) => format!("⚠ {fault}"),
    };
    let back = fields.text("back");
    let mut response = Redirect::to(if is_own_path(back) { back } else { "/" }).into_response();
    let text = URL_SAFE_NO_PAD.encode(cut(&answer, 700));
    if let Some(cookie) = set_cookie(FLASH_COOKIE, &text, FLASH_SECONDS, false, app.config.https) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The command behind a form's verb.
fn command(verb: &str, id: String, fields: &Fields) -> Result<Command, Fault> {
    let comment = cut(fields.text("comment"), COMMENT_BYTES_MAX).to_owned();
    Ok(match verb {
        "deploy" => {
            let commit = Some(fields.text("commit").to_owned()).filter(|commit| !commit.is_empty());
            Command::Deploy(DeployRequest { service: id, commit })
        }
        "approve" => Command::Approve { run: id, comment },
        "reject" => Command::Reject { run: id, comment },
        "cancel" => Command::Cancel { run: id, comment },
        "promote" => Command::Promote { rollout: id, comment },
        "abort" => Command::Abort { rollout: id, comment },
        "pause" => Command::Pause { rollout: id, comment },
        "resume" => Command::Resume { rollout: id, comment },
        "roll-back" => Command::RollBack(RollBackRequest {
            rollout: Some(id),
            comment,
            ..RollBackRequest::default()
        }),
        "approve-step" => Command::ApproveStep { rollout: id, comment },
        "retry-rollout" => Command::Retry { rollout: id, comment },
        "restart" => Command::Restart { rollout: id, comment },
        "abort-group" => Command::AbortGroup { group: id, comment },
        "entrance" => Command::Entrance {
            service: id,
            request: entrance(fields, comment)?,
        },
        "scale" => Command::Scale {
            service: id,
            request: scale(fields, comment)?,
        },
        "return-to" => Command::RollBack(RollBackRequest {
            release: Some(id),
            comment,
            ..RollBackRequest::default()
        }),
        "acknowledge" => Command::Acknowledge {
            incident: id,
            comment,
        },
        "take-over" => Command::TakeOver {
            incident: id,
            comment,
        },
        "fix-applied" => Command::FixApplied {
            incident: id,
            comment,
        },
        "resolve" => Command::Resolve {
            incident: id,
            comment,
        },
        "silence" => Command::Silence {
            of: SilenceOf {
                incident: Some(id),
                ..SilenceOf::default()
            },
            reason: comment,
            minutes: silence_minutes(fields.text("minutes").parse().unwrap_or(0))?,
        },
        "end-silence" => Command::EndSilence { silence: id },
        "lift-quarantine" => Command::LiftQuarantine { release: id, comment },
        "retry" => Command::RetryNotification { notification: id },
        "revoke-token" => Command::RevokeToken { token: id },
        _ => return Err(Fault::not_found("form", verb)),
    })
}

/// What a form wants of an entrance.
fn entrance(fields: &Fields, comment: String) -> Result<EntranceRequest, Fault> {
    let mode = match fields.text("mode") {
        "held" => EntranceMode::Held,
        "closed" => EntranceMode::Closed,
        "open" | "" => EntranceMode::Open,
        other => return Err(Fault::not_found("mode", other)),
    };
    Ok(EntranceRequest {
        environment: environment(fields),
        mode,
        seconds: whole_number(fields, "seconds")?,
        page: None,
        comment,
    })
}

/// How many instances a form wants; none when they are to be as the project file says.
fn scale(fields: &Fields, comment: String) -> Result<ScaleRequest, Fault> {
    Ok(ScaleRequest {
        environment: environment(fields),
        instances: whole_number(fields, "instances")?,
        comment,
    })
}

fn environment(fields: &Fields) -> Option<String> {
    Some(fields.text("environment").to_owned()).filter(|name| !name.is_empty())
}

/// A field that may be empty.
fn whole_number(fields: &Fields, name: &str) -> Result<Option<u32>, Fault> {
    match fields.text(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Fault::invalid(
                format!("failed to read the {name} {text:?}"),
                "give a whole number",
            )
        }),
    }
}

/// Checks how long a silence may be.
pub(crate) fn silence_minutes(minutes: u64) -> Result<u64, Fault> {
    if (1..=SILENCE_MINUTES_MAX).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(Fault::invalid(
            format!("failed to silence for {minutes} minutes"),
            format!("give 1 to {SILENCE_MINUTES_MAX} minutes: a silence without end would be forgotten"),
        ))
    }
}

/// Makes a token: the secret leaves in the answer, only its hash is kept.
pub(crate) async fn make_token(app: &App, caller: &Caller, new: NewToken) -> Result<TokenCreated, Fault> {
    if trimtab_model::ServiceName::new(new.name.as_str()).is_err() {
        return Err(Fault::invalid(
            "failed to accept the token's name",
            "use 1 to 63 lower-case letters, digits, '-', '_' or '.', beginning with a letter or digit",
        ));
    }
    let random = crate::random_text()
        .map_err(|problem| Fault::internal(format!("failed to make a token: {problem}")))?;
    let secret = format!("tt_{random}");
    let token = app
        .backend
        .create_token(&caller.principal, new, TokenHash::of(&secret))
        .await?;
    Ok(TokenCreated { token, secret })
}

#[cfg(test)]
mod tests {
    use trimtab_api::routes::{self, Access, Face, Method};

    use super::*;

    #[test]
    fn every_form_is_a_command_of_the_same_role() {
        let mut fields = Fields::default();
        fields.0.insert("minutes".to_owned(), "5".to_owned());
        let forms = routes::all().filter(|r| r.face == Face::Form && r.method == Method::Post);
        for route in forms.filter(|r| r.path.starts_with("/do/") && r.path != "/do/create-token") {
            let verb = route
                .path
                .trim_start_matches("/do/")
                .split('/')
                .next()
                .unwrap_or_default();
            match command(verb, "x".to_owned(), &fields) {
                Ok(command) => assert_eq!(route.access, Access::Role(command.role()), "{verb}"),
                Err(fault) => panic!("{verb}: {fault}"),
            }
        }
    }

    #[test]
    fn silences_end() {
        assert!(silence_minutes(0).is_err() && silence_minutes(SILENCE_MINUTES_MAX + 1).is_err());
        assert!(silence_minutes(60).is_ok());
    }
}
