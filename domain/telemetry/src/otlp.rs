//! The OpenTelemetry protocol: requests of logs, metrics and traces in protobuf or JSON become rows.
//!
//! Both encodings are read into the same messages and share everything after that, so they give the
//! same rows. Rows that cannot be taken are counted with a reason and the rest of the request is
//! kept; only a body that cannot be read at all is an error.

mod exponential;
mod json;
mod logs;
mod metric_name;
mod metrics;
mod rows;
mod temporality;
mod traces;

use std::collections::BTreeMap;
use std::fmt;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use trimtab_model::Identity;

use crate::Batch;

pub use exponential::{EXPONENT_MAX, EXPONENT_MIN};
pub use metric_name::{label_name, metric_name};
pub(crate) use rows::cut;
pub use temporality::{DELTA_SERIES_MAX, DeltaKeeper};

/// Longest body of a log record in bytes; longer ones are cut.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most attributes of one log record, span, span event, link or resource; more are dropped.
pub const ATTRIBUTES_MAX: usize = 128;
/// Longest text or bytes of one attribute; longer ones are cut.
pub const ATTRIBUTE_BYTES_MAX: usize = 16 * 1024;
/// Longest name of an attribute, span, event or scope in bytes; longer ones are cut.
pub const NAME_BYTES_MAX: usize = 512;
/// Most events of one span, and most links; more are dropped.
pub const SPAN_PARTS_MAX: usize = 128;
/// Most buckets of one histogram point; a point with more is refused.
pub const BUCKETS_MAX: usize = 512;
/// How far ahead of the receiver's clock a row's time may be, in milliseconds.
pub const AHEAD_MS_MAX: u64 = 10 * 60 * 1000;

/// Why a row was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A span without a trace id or span id of the right length.
    BadId,
    /// Its time lies more than [`AHEAD_MS_MAX`] ahead.
    AheadOfTime,
    /// A metric without name.
    NoName,
    /// A data point without value, or a metric without data.
    NoValue,
    /// A sum or histogram that doesn't say whether it is delta or cumulative.
    NoTemporality,
    /// A histogram whose buckets don't fit its bounds, or whose bounds don't ascend.
    BadBuckets,
    /// A histogram with more than [`BUCKETS_MAX`] buckets.
    TooManyBuckets,
    /// Too many labels, or one too long.
    BadLabels,
    /// A delta that is older than one already counted.
    OldDelta,
    /// More delta series than [`DELTA_SERIES_MAX`].
    TooManyDeltaSeries,
}

impl Reason {
    /// A short name, for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::BadId => "bad_id",
            Reason::AheadOfTime => "ahead_of_time",
            Reason::NoName => "no_name",
            Reason::NoValue => "no_value",
            Reason::NoTemporality => "no_temporality",
            Reason::BadBuckets => "bad_buckets",
            Reason::TooManyBuckets => "too_many_buckets",
            Reason::BadLabels => "bad_labels",
            Reason::OldDelta => "old_delta",
            Reason::TooManyDeltaSeries => "too_many_delta_series",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = AHEAD_MS_MAX / 60_000;
        match self {
            Reason::BadId => {
                f.write_str("the trace id is not 16 bytes or the span id not 8, or one is all zero")
            }
            Reason::AheadOfTime => write!(
                f,
                "the time lies more than {minutes} minutes ahead: check the clock"
            ),
            Reason::NoName => f.write_str("the metric has no name"),
            Reason::NoValue => f.write_str("the data point has no value"),
            Reason::NoTemporality => {
                f.write_str("the aggregation temporality is neither delta nor cumulative")
            }
            Reason::BadBuckets => {
                f.write_str("the buckets don't fit their bounds, or the bounds don't ascend")
            }
            Reason::TooManyBuckets => write!(f, "the histogram has more than {BUCKETS_MAX} buckets"),
            Reason::BadLabels => write!(
                f,
                "the series has more than {} labels, or one whose name or value is too long",
                crate::LABELS_MAX
            ),
            Reason::OldDelta => f.write_str("the delta is not newer than one already counted"),
            Reason::TooManyDeltaSeries => write!(
                f,
                "more than {DELTA_SERIES_MAX} series of delta temporality: send cumulative ones"
            ),
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// The rows that were taken, identity stamped.
    pub batch: Batch,
    /// How many rows were refused: log records, spans, or data points of metrics.
    pub rejected: u64,
    /// Why, and how many of each.
    pub reasons: BTreeMap<Reason, u64>,
    /// How many texts were cut or attributes dropped because of a limit; their rows were taken.
    pub cut: u64,
}

impl Decoded {
    /// The reasons as one line for the sender; empty when nothing was refused.
    pub fn message(&self) -> String {
        let lines: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} refused: {reason}"))
            .collect();
        lines.join("; ")
    }

    fn reject(&mut self, reason: Reason, rows: u64) {
        if rows > 0 {
            self.rejected += rows;
            *self.reasons.entry(reason).or_default() += rows;
        }
    }
}

/// Why a body could not be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the protobuf message that was expected.
    #[error("failed to read the protobuf body: {0}")]
    Protobuf(String),
    /// Not JSON.
    #[error("failed to read the JSON body: {0}")]
    Json(String),
    /// JSON, but not the message that was expected.
    #[error("failed to read the JSON body: {path}: {problem}")]
    Field {
        /// Where, for example `resourceLogs[0].scopeLogs[1].scope`.
        path: String,
        /// What is wrong there.
        problem: String,
    },
}

/// Rows of a logs request.
pub fn logs(request: ExportLogsServiceRequest, identity: &Identity, received_nanos: u64) -> Decoded {
    logs::decode(request, identity, received_nanos)
}

/// Rows of a traces request.
pub fn traces(request: ExportTraceServiceRequest, identity: &Identity, received_nanos: u64) -> Decoded {
    traces::decode(request, identity, received_nanos)
}

/// Rows of a metrics request. `deltas` remembers the running totals of delta series.
pub fn metrics(
    request: ExportMetricsServiceRequest,
    identity: &Identity,
    received_nanos: u64,
    deltas: &mut DeltaKeeper,
) -> Decoded {
    metrics::decode(request, identity, received_nanos, deltas)
}

fn protobuf<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|error| DecodeError::Protobuf(error.to_string()))
}

/// Reads a logs request in protobuf.
pub fn decode_logs_protobuf(
    bytes: &[u8],
    identity: &Identity,
    received_nanos: u64,
) -> Result<Decoded, DecodeError> {
    Ok(logs(protobuf(bytes)?, identity, received_nanos))
}

/// Reads a logs request in JSON.
pub fn decode_logs_json(
    bytes: &[u8],
    identity: &Identity,
    received_nanos: u64,
) -> Result<Decoded, DecodeError> {
    Ok(logs(json::logs::request(bytes)?, identity, received_nanos))
}

/// Reads a traces request in protobuf.
pub fn decode_traces_protobuf(
    bytes: &[u8],
    identity: &Identity,
    received_nanos: u64,
) -> Result<Decoded, DecodeError> {
    Ok(traces(protobuf(bytes)?, identity, received_nanos))
}

/// Reads a traces request in JSON.
pub fn decode_traces_json(
    bytes: &[u8],
    identity: &Identity,
    received_nanos: u64,
) -> Result<Decoded, DecodeError> {
    Ok(traces(json::traces::request(bytes)?, identity, received_nanos))
}

/// Reads a metrics request in protobuf.
pub fn decode_metrics_protobuf(
    bytes: &[u8],
    identity: &Identity,
    received_nanos: u64,
    deltas: &mut DeltaKeeper,
) -> Result<Decoded, DecodeError> {
    Ok(metrics(protobuf(bytes)?, identity, received_nanos, deltas))
}

/// Reads a metrics request in JSON.
pub fn decode_metrics_json(
    bytes: &[u8],
    identity: &Identity,
    received_nanos: u64,
    deltas: &mut DeltaKeeper,
) -> Result<Decoded, DecodeError> {
    Ok(metrics(
        json::metrics::request(bytes)?,
        identity,
        received_nanos,
        deltas,
    ))
}
