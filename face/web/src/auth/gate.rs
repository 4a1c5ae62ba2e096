//! The gate: every route passes here, and what is not on the list of routes is refused.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{FromRequest as _, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use trimtab_api::routes::{self, Access, Face};
use trimtab_api::{Fault, FaultCode, Principal};
use trimtab_model::{Identity, Role};

use super::session::{Session, Subject};
use super::{SESSION_COOKIE, cookie};
use crate::TokenHash;
use crate::failure::Failed;
use crate::state::{App, now};

/// Whoever a request comes from, and how it showed that.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The session, when a browser asks.
    pub(crate) session: Option<Session>,
    /// The instance, when one asks for flags with its own token.
    pub(crate) instance: Option<Identity>,
}

/// Fields of a form whose CSRF token held.
#[derive(Clone, Default)]
pub(crate) struct Fields(pub(crate) BTreeMap<String, String>);

impl Fields {
    /// A field's text without surrounding space; empty when absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default().trim()
    }
}

/// Lets a request through when its route allows its caller; puts [`Caller`] and [`Fields`] beside it.
pub(crate) async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    match admit(&app, request).await {
        Ok(request) => next.run(request).await,
        Err(fault) => Failed(fault).into_response(),
    }
}

async fn admit(app: &App, mut request: Request) -> Result<Request, Fault> {
    let method = match *request.method() {
        Method::GET | Method::HEAD => routes::Method::Get,
        Method::POST => routes::Method::Post,
        Method::DELETE => routes::Method::Delete,
        _ => {
            return Err(Fault::new(
                FaultCode::WrongMethod,
                "failed to serve this method",
                "use GET, POST or DELETE",
            ));
        }
    };
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned())
        .unwrap_or_default();
    let Some(route) = routes::find(method, &path) else {
        return Err(Fault::new(
            FaultCode::WrongMethod,
            "failed to serve this method here",
            "see /api/v1/openapi.json",
        ));
    };
    let for_flags = route.path.starts_with("/ofrep/");
    let caller = caller_of(app, request.headers(), for_flags).await?;
    if let Access::Role(least) = route.access {
        let Some(caller) = &caller else {
            return Err(Fault::new(
                FaultCode::Unauthenticated,
                "failed to tell who asks: there is no valid token or session",
                "send `Authorization: Bearer TOKEN`, or open /login in a browser",
            ));
        };
        check_role(caller.principal.role, least)?;
    }
    if method != routes::Method::Get {
        request = match route.face {
            Face::Form => check_form(app, caller.as_ref(), route.path, request).await?,
            _ => check_script(app, caller.as_ref(), request)?,
        };
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    Ok(request)
}

fn check_role(has: Role, least: Role) -> Result<(), Fault> {
    if has >= least {
        return Ok(());
    }
    Err(Fault::new(
        FaultCode::Forbidden,
        format!("the role {has} does not allow this"),
        format!("ask somebody with the role {least}, or an admin for another token"),
    ))
}

/// Whoever asks; none without credentials. A bearer token that is wrong is a fault, a session that
/// is over counts as none, so that a browser is led to the login page.
///
/// Where flags are evaluated (`for_flags`), an instance's own token is taken too, and the header that
/// OpenFeature's protocol has for keys.
async fn caller_of(app: &App, headers: &HeaderMap, for_flags: bool) -> Result<Option<Caller>, Fault> {
    let sent = headers.get(AUTHORIZATION).map(|value| {
        let text = value.to_str().ok().and_then(|text| text.split_once(' '));
        text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
    });
    let key = headers.get("x-api-key").filter(|_| for_flags);
    let sent = sent.or_else(|| key.map(|value| value.to_str().ok()));
    if let Some(token) = sent {
        let mut principal = None;
        let mut instance = None;
        if let Some(token) = token {
            principal = app.backend.authenticate(&TokenHash::of(token)).await?;
            if principal.is_none() && for_flags {
                instance = app.backend.instance_of(token);
                principal = instance.as_ref().map(instance_principal);
            }
        }
        return match principal {
            Some(principal) => Ok(Some(Caller {
                principal,
                session: None,
                instance,
            })),
            None => Err(Fault::new(
                FaultCode::Unauthenticated,
                "failed to accept the token: it is unknown, revoked or expired",
                "make one with `trimtab token create`",
            )),
        };
    }
    let session = cookie(headers, SESSION_COOKIE).and_then(|text| app.sessions.read(text, now()));
    let Some(session) = session else { return Ok(None) };
    let principal = principal_of(app, &session.subject).await?;
    Ok(principal.map(|principal| Caller {
        principal,
        session: Some(session),
        instance: None,
    }))
}

/// An instance as a caller: it may ask for flags, and its token opens nothing else.
fn instance_principal(identity: &Identity) -> Principal {
    let name = identity.instance.as_ref().map(ToString::to_string);
    Principal {
        name: name.unwrap_or_else(|| "instance".to_owned()),
        role: Role::Viewer,
        token: None,
    }
}

/// The principal behind a session, if it still is one.
pub(crate) async fn principal_of(app: &App, subject: &Subject) -> Result<Option<Principal>, Fault> {
    match subject {
        Subject::AdminLink => Ok(Some(Principal {
            name: "admin".to_owned(),
            role: Role::Admin,
            token: None,
        })),
        Subject::Token(hex) => match TokenHash::from_hex(hex) {
            Some(hash) => app.backend.authenticate(&hash).await,
            None => Ok(None),
        },
    }
}

/// A change by a script with a session carries the session's token in a header, which other sites
/// cannot set; a bearer token is proof by itself.
fn check_script(app: &App, caller: Option<&Caller>, request: Request) -> Result<Request, Fault> {
    let Some(session) = caller.and_then(|caller| caller.session.as_ref()) else {
        return Ok(request);
    };
    let token = request
        .headers()
        .get("x-csrf")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if app.sessions.csrf_holds(session, token) {
        Ok(request)
    } else {
        Err(forged())
    }
}

async fn check_form(
    app: &App,
    caller: Option<&Caller>,
    path: &str,
    request: Request,
) -> Result<Request, Fault> {
    let (mut parts, body) = request.into_parts();
    let form =
        axum::Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts.clone(), body), &());
    let axum::Form(pairs) = form.await.map_err(|problem| match problem.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Fault::new(FaultCode::TooLarge, "failed to read the form", "send less")
        }
        _ => Fault::invalid(
            "failed to read the form",
            "send application/x-www-form-urlencoded",
        ),
    })?;
    let fields = Fields(pairs.into_iter().collect());
    let session = caller.and_then(|caller| caller.session.as_ref());
    let holds = session.is_none_or(|session| app.sessions.csrf_holds(session, fields.text("csrf")));
    // Logging in anew over an old session needs no token of the old one.
    if !holds && path != "/login" {
        return Err(forged());
    }
    parts.extensions.insert(fields);
    Ok(Request::from_parts(parts, Body::empty()))
}

fn forged() -> Fault {
    Fault::new(
        FaultCode::Forbidden,
        "failed to tell that the request comes from this page: its token is missing or old",
        "reload the page and try again",
    )
}
