//! One operation within a trace.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trimtab_model::Identity;

use crate::{Attributes, SpanId, TraceId};

/// What part an operation plays between processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Within one process; also what says nothing about itself.
    #[default]
    Internal,
    /// Answers a request from elsewhere.
    Server,
    /// Asks elsewhere.
    Client,
    /// Puts a message into a queue.
    Producer,
    /// Takes a message from a queue.
    Consumer,
}

impl SpanKind {
    /// The kind's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        }
    }
}

impl fmt::Display for SpanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanStatus {
    /// Nobody said; taken as well.
    #[default]
    Unset,
    /// Said to be well.
    Ok,
    /// Failed.
    Error,
}

impl SpanStatus {
    /// The status' name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            SpanStatus::Unset => "unset",
            SpanStatus::Ok => "ok",
            SpanStatus::Error => "error",
        }
    }
}

/// Something that happened within a span, for example an exception.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanEvent {
    /// When, nanoseconds since the epoch.
    pub at_nanos: u64,
    /// What, for example `exception`.
    pub name: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// A span of another trace that this one has to do with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpanLink {
    /// The other trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// More about the link.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// One operation within a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Who did it, as Trimtab knows.
    #[serde(with = "crate::shared")]
    pub identity: Arc<Identity>,
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The span that caused it; none for a trace's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<SpanId>,
    /// The operation.
    pub name: String,
    /// Its part between processes.
    #[serde(default)]
    pub kind: SpanKind,
    /// When it began, nanoseconds since the epoch.
    pub start_nanos: u64,
    /// When it ended, nanoseconds since the epoch; never before it began.
    pub end_nanos: u64,
    /// How it ended.
    #[serde(default)]
    pub status: SpanStatus,
    /// What was said about how it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status_message: String,
    /// The name of the instrumentation scope; empty when unsaid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Attributes of this span.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Attributes of its sender, with the identity stamped over them.
    #[serde(with = "crate::shared", default)]
    pub resource: Arc<Attributes>,
    /// What happened within it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<SpanEvent>,
    /// Spans elsewhere it has to do with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SpanLink>,
}

impl Span {
    /// How long it took, in nanoseconds.
    pub fn duration_nanos(&self) -> u64 {
        self.end_nanos.saturating_sub(self.start_nanos)
    }
}
