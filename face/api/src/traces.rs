//! Traces.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LogLine, Moment};

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpanStatus {
    /// Not said.
    Unset,
    /// Well.
    Ok,
    /// Badly.
    Error,
}

/// Which spans to find, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SpanQuery {
    /// Only of this service.
    pub service: Option<String>,
    /// Only of this environment.
    pub environment: Option<String>,
    /// Only of this release.
    pub release: Option<String>,
    /// Only with this name.
    pub operation: Option<String>,
    /// Only at least so long, in milliseconds.
    pub duration_min_ms: Option<f64>,
    /// Only those that ended badly.
    pub errors: Option<bool>,
    /// From then on; an hour ago when absent.
    pub from: Option<Moment>,
    /// Until then; now when absent.
    pub to: Option<Moment>,
    /// At most so many; 100 when absent.
    pub limit: Option<usize>,
}

/// A span in lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanSummary {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// Its name.
    pub name: String,
    /// Service, as stamped.
    pub service: Option<String>,
    /// Release, as stamped.
    pub release: Option<String>,
    /// When it began.
    pub started_at: Moment,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// How it ended.
    pub status: SpanStatus,
}

/// Answer of a span search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanPage {
    /// The spans.
    pub spans: Vec<SpanSummary>,
    /// There are more within the time asked for.
    pub truncated: bool,
}

/// A span of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanDetail {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: SpanSummary,
    /// Its parent, 16 hex digits; none for the root.
    pub parent_span_id: Option<String>,
    /// `server`, `client`, `internal`, `producer`, `consumer`.
    pub kind: String,
    /// Milliseconds from the beginning of the trace.
    pub offset_ms: f64,
    /// What its status says.
    #[serde(default)]
    pub status_message: String,
    /// Whatever else it carries.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// A trace, its spans by their beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// 32 hex digits.
    pub trace_id: String,
    /// When it began.
    pub started_at: Moment,
    /// How long in all, in milliseconds.
    pub duration_ms: f64,
    /// Its spans.
    pub spans: Vec<SpanDetail>,
    /// Log lines of the trace, oldest first.
    #[serde(default)]
    pub logs: Vec<LogLine>,
}
