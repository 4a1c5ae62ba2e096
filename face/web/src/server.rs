//! The router: layers from the outside in are response headers, the host check, the faces of
//! failures, the body limit, and the gate.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, StatusCode};

use crate::auth::{check_host, gate};
use crate::failure::{Failed, answer_failures};
use crate::registration::registrations;
use crate::state::App;

/// Nothing inline, nothing from elsewhere.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Every route behind every layer.
pub(crate) fn router(app: App) -> Router {
    let mut router = Router::new();
    for (_, path, handler) in registrations() {
        router = router.route(path, handler);
    }
    router
        .route_layer(middleware::from_fn_with_state(app.clone(), gate))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(DefaultBodyLimit::max(app.config.body_bytes_max))
        .layer(middleware::from_fn_with_state(app.clone(), check_hosts))
        .layer(middleware::from_fn_with_state(app.clone(), answer_failures))
        .layer(middleware::from_fn_with_state(app.clone(), add_headers))
        .with_state(app)
}

async fn check_hosts(State(app): State<App>, request: Request, next: Next) -> Response {
    match check_host(
        request.method(),
        request.uri(),
        request.headers(),
        &app.config.hosts_allowed,
    ) {
        Ok(()) => next.run(request).await,
        Err(fault) => Failed(fault).into_response(),
    }
}

async fn add_headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 6] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Not "no-referrer": browsers then send `Origin: null` with our own forms.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if app.config.https {
        headers.insert(
            STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    response
}
