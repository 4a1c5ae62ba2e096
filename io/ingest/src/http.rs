//! OTLP over HTTP: `POST /v1/logs`, `/v1/metrics` and `/v1/traces`, in protobuf or JSON.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;
use trimtab_model::Identity;
use trimtab_telemetry::otlp::{self, DecodeError, Decoded};

use crate::body::{self, Encoding};
use crate::intake::{Answer, now_nanos};
use crate::{Intake, Signal, Trouble};

/// Larger bodies are decoded on a thread of their own, so that small ones need not wait.
const INLINE_BYTES_MAX: usize = 256 * 1024;
/// When a sender that was told to come back may do so.
const RETRY_AFTER_SECONDS: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

#[derive(Clone)]
struct Door {
    intake: Intake,
    body_bytes_max: usize,
    decoded_bytes_max: usize,
}

pub(crate) fn router(intake: Intake, body_bytes_max: usize, decoded_bytes_max: usize) -> Router {
    let door = Door {
        intake,
        body_bytes_max,
        decoded_bytes_max,
    };
    Router::new()
        .route(
            "/v1/logs",
            post(|State(door): State<Door>, request| async move { door.answer(Signal::Logs, request).await }),
        )
        .route(
            "/v1/metrics",
            post(|State(door): State<Door>, request| async move { door.answer(Signal::Metrics, request).await }),
        )
        .route(
            "/v1/traces",
            post(|State(door): State<Door>, request| async move { door.answer(Signal::Traces, request).await }),
        )
        .with_state(door)
}

impl Door {
    async fn answer(&self, signal: Signal, request: Request<Body>) -> Response {
        let (head, body) = request.into_parts();
        let format = format_of(&head.headers);
        let answered = self.take(signal, format, &head.headers, body).await;
        let format = format.unwrap_or(Format::Json);
        match answered {
            Ok(answer) => respond(StatusCode::OK, format, success(signal, format, answer)),
            Err((trouble, message)) => refuse(trouble, format, &message),
        }
    }

    async fn take(
        &self,
        signal: Signal,
        format: Option<Format>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Answer, (Trouble, String)> {
        let count = |(trouble, message)| {
            self.intake.counters().refuse(trouble);
            (trouble, message)
        };
        let Some(identity) = self.intake.identify(headers) else {
            let message = "a known token is needed: send `Authorization: Bearer TOKEN`".to_owned();
            return Err((Trouble::Unauthenticated, message));
        };
        let format = format.ok_or_else(|| {
            let message = "the content type must be application/x-protobuf or application/json".to_owned();
            count((Trouble::Unsupported, message))
        })?;
        let encoding = encoding_of(headers).ok_or_else(|| {
            let message = "the content encoding must be gzip, zstd or identity".to_owned();
            count((Trouble::Unsupported, message))
        })?;
        let Some(_turn) = self.intake.turn().await else {
            return Err((
                Trouble::Overloaded,
                "too many requests at once: come back later".to_owned(),
            ));
        };
        let body = body::arrive(body, self.body_bytes_max).await.map_err(count)?;
        let decoded = self
            .decode(signal, format, encoding, body, identity)
            .await
            .map_err(count)?;
        let taken = self.intake.take(signal, decoded).await;
        taken.map_err(|error| (Trouble::Overloaded, error.to_string()))
    }

    async fn decode(
        &self,
        signal: Signal,
        format: Format,
        encoding: Encoding,
        body: Bytes,
        identity: Identity,
    ) -> Result<Decoded, (Trouble, String)> {
        let inline = encoding == Encoding::Plain && body.len() <= INLINE_BYTES_MAX;
        let (intake, bytes_max) = (self.intake.clone(), self.decoded_bytes_max);
        let work = move || {
            let body = body::decompress(body, encoding, bytes_max)?;
            decode(&intake, signal, format, &body, &identity)
                .map_err(|error| (Trouble::Malformed, error.to_string()))
        };
        if inline {
            return work();
        }
        let worked = tokio::task::spawn_blocking(work).await;
        worked
            .unwrap_or_else(|error| Err((Trouble::Malformed, format!("the body could not be read: {error}"))))
    }
}

fn decode(
    intake: &Intake,
    signal: Signal,
    format: Format,
    body: &[u8],
    identity: &Identity,
) -> Result<Decoded, DecodeError> {
    let now = now_nanos();
    match (signal, format) {
        (Signal::Logs, Format::Protobuf) => otlp::decode_logs_protobuf(body, identity, now),
        (Signal::Logs, Format::Json) => otlp::decode_logs_json(body, identity, now),
        (Signal::Traces, Format::Protobuf) => otlp::decode_traces_protobuf(body, identity, now),
        (Signal::Traces, Format::Json) => otlp::decode_traces_json(body, identity, now),
        (Signal::Metrics, Format::Protobuf) => intake.with_deltas(now, |deltas| {
            otlp::decode_metrics_protobuf(body, identity, now, deltas)
        }),
        (Signal::Metrics, Format::Json) => intake.with_deltas(now, |deltas| {
            otlp::decode_metrics_json(body, identity, now, deltas)
        }),
        // OTLP has no events of its own.
        (Signal::Events, _) => Ok(Decoded::default()),
    }
}

fn format_of(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next().unwrap_or_default().trim() {
        "application/x-protobuf" | "application/protobuf" => Some(Format::Protobuf),
        "application/json" => Some(Format::Json),
        _ => None,
    }
}

fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    match headers.get(CONTENT_ENCODING) {
        None => Some(Encoding::Plain),
        Some(value) => Encoding::named(value.to_str().ok()?),
    }
}

/// The response message of each signal, with what was refused.
fn success(signal: Signal, format: Format, answer: Answer) -> Vec<u8> {
    let rejected = i64::try_from(answer.rejected).unwrap_or(i64::MAX);
    let partial = rejected > 0;
    if format == Format::Json {
        let field = match signal {
            Signal::Logs | Signal::Events => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Traces => "rejectedSpans",
        };
        // 64-bit integers are text in proto3's JSON.
        let body = if partial {
            json!({"partialSuccess": {field: rejected.to_string(), "errorMessage": answer.message}})
        } else {
            json!({})
        };
        return body.to_string().into_bytes();
    }
    match signal {
        Signal::Logs | Signal::Events => ExportLogsServiceResponse {
            partial_success: partial.then_some(ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message: answer.message,
            }),
        }
        .encode_to_vec(),
        Signal::Metrics => ExportMetricsServiceResponse {
            partial_success: partial.then_some(ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                error_message: answer.message,
            }),
        }
        .encode_to_vec(),
        Signal::Traces => ExportTraceServiceResponse {
            partial_success: partial.then_some(ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: answer.message,
            }),
        }
        .encode_to_vec(),
    }
}

/// A refusal carries `google.rpc.Status`, as OTLP wants: a code and a message.
fn refuse(trouble: Trouble, format: Format, message: &str) -> Response {
    let (status, code) = match trouble {
        Trouble::Unauthenticated => (StatusCode::UNAUTHORIZED, tonic::Code::Unauthenticated),
        Trouble::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, tonic::Code::ResourceExhausted),
        Trouble::Unsupported => (StatusCode::UNSUPPORTED_MEDIA_TYPE, tonic::Code::InvalidArgument),
        Trouble::Malformed => (StatusCode::BAD_REQUEST, tonic::Code::InvalidArgument),
        Trouble::TimedOut => (StatusCode::REQUEST_TIMEOUT, tonic::Code::DeadlineExceeded),
        Trouble::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Unavailable),
    };
    let body = match format {
        Format::Json => json!({"code": code as i32, "message": message})
            .to_string()
            .into_bytes(),
        Format::Protobuf => {
            let mut body = Vec::new();
            prost::encoding::int32::encode(1, &(code as i32), &mut body);
            prost::encoding::string::encode(2, &message.to_owned(), &mut body);
            body
        }
    };
    let mut response = respond(status, format, body);
    let headers = response.headers_mut();
    match trouble {
        Trouble::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        }
        Trouble::Overloaded => {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.as_secs().into());
        }
        Trouble::TooLarge | Trouble::Unsupported | Trouble::Malformed | Trouble::TimedOut => {}
    }
    response
}

fn respond(status: StatusCode, format: Format, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = match format {
        Format::Protobuf => "application/x-protobuf",
        Format::Json => "application/json",
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
