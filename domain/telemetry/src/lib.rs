//! Samples, logs, spans and events; how they are decoded from what services send (OTLP,
//! Prometheus' text, lines on standard output); and the query language over samples.
//!
//! Pure: the time now, the identity of the sender and the limits are arguments.

mod attributes;
mod batch;
mod event;
mod identity_labels;
mod ids;
mod labels;
pub mod log_line;
mod log_record;
mod matcher;
pub mod otlp;
pub mod prometheus;
pub mod promql;
mod sample;
mod shared;
mod span;

pub use attributes::{ATTRIBUTE_DEPTH_MAX, AttributeValue, Attributes};
pub use batch::Batch;
pub use event::Event;
pub use identity_labels::{IDENTITY_LABELS, identity_attributes, stamped_sample};
pub use ids::{IdError, SpanId, TraceId};
pub use labels::{LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, LabelError, Labels, METRIC_NAME};
pub use log_record::{Level, LogRecord};
pub use matcher::{MatchOp, Matcher, MatcherError, PATTERN_BYTES_MAX, PATTERN_PROGRAM_BYTES_MAX, Selector};
pub use sample::{STALE_NAN_BITS, Sample, SeriesData, is_stale, stale_marker};
pub use span::{Span, SpanEvent, SpanKind, SpanLink, SpanStatus};
