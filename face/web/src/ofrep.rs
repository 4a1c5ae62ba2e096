//! OpenFeature's remote evaluation protocol, version 0.3: official SDKs ask here.
//!
//! An instance's own token says whose flags it gets. Any other token names them with the headers
//! `x-trimtab-service` and `x-trimtab-environment`.

mod stream;
mod ticket;
mod wire;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use trimtab_flags::{ErrorCode, Failure, FlagSet};
use trimtab_model::Identity;

use crate::auth::Caller;
use crate::failure::{Answered, Failed};
use crate::flags::FlagAsking;
use crate::state::{App, now};

pub(crate) use stream::stream;

/// Largest context, in bytes of the request.
const CONTEXT_BYTES_MAX: usize = 64 * 1024;
/// The environment when nobody says which.
const PRODUCTION: &str = "production";

/// Whose flags are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    service: String,
    environment: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.environment)
    }
}

/// `POST /ofrep/v1/evaluate/flags/{key}`.
pub(crate) async fn evaluate(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    let context = match read_context(&body) {
        Ok(context) => context,
        Err(failure) => return Ok(wire::failed(Some(&key), &failure)),
    };
    let (place, identity) = match place_of(&app, &caller, &headers).await? {
        Ok(found) => found,
        Err(failure) => return Ok(wire::failed(Some(&key), &failure)),
    };
    let answers = app.backend.evaluate_flags(&FlagAsking {
        service: &place.service,
        environment: &place.environment,
        identity,
        key: Some(&key),
        context: &context,
    })?;
    Ok(match answers.answers.first() {
        Some(answer) => wire::single(answer),
        None => wire::failed(
            Some(&key),
            &Failure::new(ErrorCode::FlagNotFound, "there are no flags"),
        ),
    })
}

/// `POST /ofrep/v1/evaluate/flags`.
pub(crate) async fn evaluate_all(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    let context = match read_context(&body) {
        Ok(context) => context,
        Err(failure) => return Ok(wire::failed(None, &failure)),
    };
    if let Err(failure) = FlagSet::check_context(&context) {
        return Ok(wire::failed(None, &failure));
    }
    let (place, identity) = match place_of(&app, &caller, &headers).await? {
        Ok(found) => found,
        Err(failure) => return Ok(wire::failed(None, &failure)),
    };
    let answers = app.backend.evaluate_flags(&FlagAsking {
        service: &place.service,
        environment: &place.environment,
        identity,
        key: None,
        context: &context,
    })?;
    let flags: Vec<Value> = answers.answers.iter().map(wire::in_bulk).collect();
    // Over everything that the answer follows from, and over the answer: targeting may look at the clock.
    let who = caller
        .principal
        .token
        .as_deref()
        .unwrap_or(&caller.principal.name);
    let tag = wire::tag(&[
        place.to_string().as_bytes(),
        &answers.version.to_be_bytes(),
        context.to_string().as_bytes(),
        who.as_bytes(),
        Value::from(flags.clone()).to_string().as_bytes(),
    ]);
    let etag =
        HeaderValue::from_str(&tag).map_err(|_| Failed(trimtab_api::Fault::internal("failed to tag")))?;
    if wire::matches(headers.get(IF_NONE_MATCH), &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let address = ticket::address(&app.config.session_key, &place, now());
    let body = json!({
        "flags": flags,
        "metadata": { "version": answers.version },
        "eventStreams": [{
            "type": "sse",
            "endpoint": { "requestUri": address },
            "inactivityDelaySec": 120,
        }],
    });
    let headers = [
        (ETAG, etag),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    Ok((headers, body.to_string()).into_response())
}

/// `GET /ofrep/v1/configuration`.
pub(crate) async fn configuration(headers: HeaderMap) -> Response {
    let body = json!({
        "name": "Trimtab",
        "capabilities": {
            "cacheInvalidation": { "polling": { "enabled": true, "minPollingIntervalMs": 1_000 } },
            "flagEvaluation": { "supportedTypes": ["boolean", "string", "int", "float", "object"] },
            "caching": { "enabled": false },
        },
    })
    .to_string();
    let tag = wire::tag(&[body.as_bytes()]);
    let etag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"1\""));
    if wire::matches(headers.get(IF_NONE_MATCH), &tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response();
    }
    let headers = [
        (ETAG, etag),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    (headers, body).into_response()
}

fn read_context(body: &Bytes) -> Result<Value, Failure> {
    if body.len() > CONTEXT_BYTES_MAX {
        let details = format!(
            "the request has {} bytes; at most {CONTEXT_BYTES_MAX} are taken",
            body.len()
        );
        return Err(Failure::new(ErrorCode::InvalidContext, details));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let read: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::new(ErrorCode::ParseError, format!("the request is no JSON: {error}")))?;
    match read {
        Value::Object(mut fields) => Ok(match fields.remove("context") {
            None | Some(Value::Null) => json!({}),
            Some(context) => context,
        }),
        _ => Err(Failure::new(
            ErrorCode::ParseError,
            "the request is no JSON object",
        )),
    }
}

/// Whose flags: the instance's own, or those that the headers name.
async fn place_of(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Result<(Place, Identity), Failure>, Failed> {
    if let Some(identity) = &caller.instance {
        return Ok(match (&identity.service, &identity.environment) {
            (Some(service), Some(environment)) => Ok((
                Place {
                    service: service.to_string(),
                    environment: environment.to_string(),
                },
                identity.clone(),
            )),
            _ => Err(Failure::new(
                ErrorCode::General,
                "the instance's service is not known",
            )),
        });
    }
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    let environment = header("x-trimtab-environment").unwrap_or_else(|| PRODUCTION.to_owned());
    if let Some(service) = header("x-trimtab-service") {
        return Ok(Ok((Place { service, environment }, Identity::default())));
    }
    let mut services: Vec<String> = app
        .backend
        .flag_sets()
        .await?
        .into_iter()
        .map(|set| set.service)
        .collect();
    services.sort();
    services.dedup();
    Ok(match services.as_slice() {
        [only] => Ok((
            Place {
                service: only.clone(),
                environment,
            },
            Identity::default(),
        )),
        _ => Err(Failure::new(
            ErrorCode::General,
            "it is not said whose flags are asked for: send the header x-trimtab-service",
        )),
    })
}

/// An answer in the protocol's own words, which no page of failures replaces.
fn answered(status: StatusCode, body: &Value) -> Response {
    let mut response = (
        status,
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        body.to_string(),
    )
        .into_response();
    response.extensions_mut().insert(Answered);
    response
}
