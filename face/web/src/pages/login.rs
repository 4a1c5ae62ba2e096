//! Beginning and ending a session.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode, Uri};
use maud::{PreEscaped, html};
use serde::Deserialize;
use trimtab_api::{Fault, Principal};
use trimtab_model::Role;

use super::Look;
use crate::TokenHash;
use crate::auth::{Caller, Fields, SESSION_COOKIE, Subject, set_cookie};
use crate::failure::{Answered, Failed};
use crate::parts::is_own_path;
use crate::parts::shell::{Frame, LOGO, document};
use crate::state::{App, now};
use crate::text::{LANGUAGE_COOKIE, Language, Text, say};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    code: String,
    next: String,
}

/// `GET /login`: asks for a token. With a code it offers to use it; the code is used by the form's
/// post alone, so that a preview of the link does not spend it.
pub(crate) async fn login(uri: Uri, headers: HeaderMap, Query(wanted): Query<Wanted>) -> Html<String> {
    let mut look = Look::of(&headers, "/login");
    if wanted.code.is_empty() {
        look.target = uri
            .path_and_query()
            .map(|t| t.as_str().to_owned())
            .unwrap_or_default();
    }
    Html(form(&look, &wanted, None))
}

fn form(look: &Look, wanted: &Wanted, refused: Option<Text>) -> String {
    let language = look.language;
    let body = html! {
        section.login {
            div.login-brand { (PreEscaped(LOGO)) }
            h1 { (language.say(say::LOGIN_TITLE)) }
            p.muted { (language.say(say::TAGLINE)) }
            @if let Some(refused) = refused { p.note.tone-critical role="alert" { (crate::parts::badges::icon("octagon")) (language.say(refused)) } }
            form method="post" action="/login" data-auto[!wanted.code.is_empty() && refused.is_none()] {
                input type="hidden" name="next" value=(wanted.next);
                @if wanted.code.is_empty() || refused.is_some() {
                    label { (language.say(say::LOGIN_TOKEN)) input type="password" name="token" required autocomplete="current-password" autofocus; }
                    button.button.primary type="submit" { (language.say(say::LOG_IN)) }
                    p.small.muted { (language.say(say::LOGIN_HINT)) }
                } @else {
                    input type="hidden" name="code" value=(wanted.code);
                    p { (language.say(say::LOGIN_CODE)) }
                    button.button.primary type="submit" { (language.say(say::LOGIN_CONTINUE)) }
                }
            }
            p.small { @for other in Language::ALL.into_iter().filter(|other| *other != language) { a href={ "/language/" (other.code()) "?back=%2Flogin" } lang=(other.code()) { (other.name()) } } }
        }
        script type="module" src="/assets/login.js" {}
    };
    let frame = Frame {
        title: language.say(say::LOG_IN),
        ..Frame::default()
    };
    document(look, &frame, body).into_string()
}

/// `POST /login`: a token or a one-time code becomes a session.
pub(crate) async fn log_in(
    State(app): State<App>,
    headers: HeaderMap,
    Extension(fields): Extension<Fields>,
) -> Result<Response, Failed> {
    let wanted = Wanted {
        code: fields.text("code").to_owned(),
        next: fields.text("next").to_owned(),
    };
    let look = Look::of(&headers, "/login");
    let refuse = |text| {
        Ok((
            StatusCode::FORBIDDEN,
            Extension(Answered),
            Html(form(&look, &wanted, Some(text))),
        )
            .into_response())
    };
    let (subject, principal) = if wanted.code.is_empty() {
        let hash = TokenHash::of(fields.text("token"));
        match app.backend.authenticate(&hash).await? {
            Some(principal) => (Subject::token(hash), principal),
            None => return refuse(say::LOGIN_REFUSED),
        }
    } else if app.config.codes.redeem(&wanted.code, now()) {
        (
            Subject::AdminLink,
            Principal {
                name: "admin".to_owned(),
                role: Role::Admin,
                token: None,
            },
        )
    } else {
        return refuse(say::CODE_REFUSED);
    };
    let value = app
        .sessions
        .begin(subject, now())
        .map_err(|problem| Fault::internal(format!("failed to begin a session: {problem}")))?;
    app.backend.audit(&principal, "logged in").await?;
    let lifetime = app.sessions.lifetime.as_secs();
    let cookie = set_cookie(SESSION_COOKIE, &value, lifetime, false, app.config.https)
        .ok_or_else(|| Fault::internal("failed to write the session's cookie"))?;
    let next = if is_own_path(&wanted.next) && !wanted.next.starts_with("/login") {
        wanted.next.as_str()
    } else {
        "/"
    };
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// `POST /logout`.
pub(crate) async fn log_out(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Failed> {
    if let Some(session) = &caller.session {
        app.sessions.end(session, now());
        app.backend.audit(&caller.principal, "logged out").await?;
    }
    let mut response = Redirect::to("/login").into_response();
    if let Some(cookie) = set_cookie(SESSION_COOKIE, "", 0, false, app.config.https) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Back {
    back: String,
}

/// `GET /language/{code}`.
pub(crate) async fn set_language(
    State(app): State<App>,
    Path(code): Path<String>,
    Query(back): Query<Back>,
) -> Result<Response, Failed> {
    let Some(language) = Language::from_code(&code) else {
        return Err(Fault::not_found("language", &code).into());
    };
    let target = if is_own_path(&back.back) {
        back.back.as_str()
    } else {
        "/"
    };
    let mut response = Redirect::to(target).into_response();
    if let Some(cookie) = set_cookie(
        LANGUAGE_COOKIE,
        language.code(),
        365 * 86_400,
        true,
        app.config.https,
    ) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}
