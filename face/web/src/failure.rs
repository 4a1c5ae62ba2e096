//! How failures are answered: JSON to programs, a page to people, a turn to the login page when a
//! browser has no session.

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{ACCEPT, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use trimtab_api::{Fault, FaultCode};

use crate::pages::{Look, failure_page};
use crate::state::App;

/// Longest text of the framework's own that is passed on.
const SAID_BYTES_MAX: usize = 1_024;

/// Marks a failed answer that has its face already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered;

/// A fault on its way out; [`answer_failures`] gives it its face.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) Fault);

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Failed(fault)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// Turns every failed answer, also the framework's own, into JSON or a page with what to do.
pub(crate) async fn answer_failures(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let target = request
        .uri()
        .path_and_query()
        .map(|target| target.as_str().to_owned())
        .unwrap_or_default();
    let wants_page = wants_page(&request, &path);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let look = Look::of(request.headers(), &target);
    let mut response = next.run(request).await;
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if !failed || response.extensions().get::<Answered>().is_some() {
        return response;
    }
    let status = response.status();
    let fault = match response.extensions_mut().remove::<Fault>() {
        Some(fault) => fault,
        None => {
            // The framework says in plain text what it could not read.
            let body = std::mem::take(response.body_mut());
            let said = axum::body::to_bytes(body, SAID_BYTES_MAX)
                .await
                .unwrap_or_default();
            plain(status, &path, &String::from_utf8_lossy(&said))
        }
    };
    if fault.code == FaultCode::Internal {
        tracing::error!(path, fault = %fault, "request failed");
    }
    if wants_page {
        if fault.code == FaultCode::Unauthenticated && reads {
            let next = trimtab_api::routes::fill("/login?next={}", &[&target]);
            return Redirect::to(if target == "/" { "/login" } else { &next }).into_response();
        }
        return (response.status(), failure_page(&app, &look, &fault)).into_response();
    }
    let mut answer = (response.status(), Json(fault)).into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"trimtab\""),
        );
    }
    answer
}

fn wants_page(request: &Request, path: &str) -> bool {
    let accepts = |kind: &str| {
        request
            .headers()
            .get_all(ACCEPT)
            .iter()
            .any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
    };
    !path.starts_with("/api/") && !path.starts_with("/assets/") && path != "/live" && accepts("text/html")
}

fn plain(status: StatusCode, path: &str, said: &str) -> Fault {
    let path: String = path.chars().take(120).collect();
    match status {
        StatusCode::NOT_FOUND => Fault::new(
            FaultCode::NotFound,
            format!("failed to find {path:?}"),
            "see /api/v1/openapi.json for what there is",
        ),
        StatusCode::METHOD_NOT_ALLOWED => Fault::new(
            FaultCode::WrongMethod,
            "failed to serve this method here",
            "see /api/v1/openapi.json",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            Fault::new(FaultCode::TooLarge, "failed to read the body", "send less")
        }
        status if status.is_client_error() => Fault::invalid(
            format!(
                "failed to understand the request{}{said}",
                if said.is_empty() { "" } else { ": " }
            ),
            "compare it with /api/v1/openapi.json",
        ),
        _ => Fault::internal("failed to answer"),
    }
}
