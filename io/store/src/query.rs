//! What can be asked of the store.

use trimtab_model::{EnvironmentName, Identity, InstanceId, ReleaseId, ServiceName};
use trimtab_telemetry::{
    AttributeValue, Attributes, Batch, Event, Level, LogRecord, Span, SpanStatus, TraceId,
};

/// Most rows that one query returns; higher limits are cut to it.
pub const ROWS_MAX: usize = 10_000;
/// Rows returned when a query names no limit.
pub const ROWS_DEFAULT: usize = 100;

/// The attribute that holds a log line's template id. It is a column of its own in the files.
pub const TEMPLATE_ATTRIBUTE: &str = "trimtab.template";

/// Nanoseconds since the epoch, from included, to excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first instant inside.
    pub from_nanos: u64,
    /// The first instant after.
    pub to_nanos: u64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: TimeRange = TimeRange {
        from_nanos: 0,
        to_nanos: u64::MAX,
    };

    /// Between two times in milliseconds since the epoch.
    pub fn from_millis(from_ms: i64, to_ms: i64) -> Self {
        let nanos = |ms: i64| u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000);
        TimeRange {
            from_nanos: nanos(from_ms),
            to_nanos: nanos(to_ms),
        }
    }

    /// Whether an instant lies inside.
    pub fn contains(&self, nanos: u64) -> bool {
        self.from_nanos <= nanos && nanos < self.to_nanos
    }

    /// Whether anything between two instants, both included, lies inside.
    pub fn overlaps(&self, least: u64, greatest: u64) -> bool {
        self.from_nanos <= greatest && least < self.to_nanos
    }
}

impl Default for TimeRange {
    fn default() -> Self {
        TimeRange::ALL
    }
}

/// Who a row comes from; an absent part matches everyone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Only this service.
    pub service: Option<ServiceName>,
    /// Only this environment.
    pub environment: Option<EnvironmentName>,
    /// Only this release.
    pub release: Option<ReleaseId>,
    /// Only this instance.
    pub instance: Option<InstanceId>,
}

impl Origin {
    /// Whether a row of this identity is meant.
    pub fn matches(&self, identity: &Identity) -> bool {
        fn fits<T: PartialEq>(wanted: &Option<T>, own: &Option<T>) -> bool {
            wanted.is_none() || wanted == own
        }
        fits(&self.service, &identity.service)
            && fits(&self.environment, &identity.environment)
            && fits(&self.release, &identity.release)
            && fits(&self.instance, &identity.instance)
    }
}

/// An attribute (of the record, else of its sender) that must have this value, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFilter {
    /// The attribute's name.
    pub name: String,
    /// Its value as [`AttributeValue`] displays it.
    pub value: String,
}

impl AttributeFilter {
    fn matches(&self, attributes: &Attributes, resource: &Attributes) -> bool {
        let own = attributes.get(&self.name).or_else(|| resource.get(&self.name));
        own.is_some_and(|value| match value {
            AttributeValue::Text(text) => *text == self.value,
            other => other.to_string() == self.value,
        })
    }
}

/// Which end of the time range is returned when there are more rows than the limit, and the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest, newest first.
    #[default]
    NewestFirst,
    /// The oldest, oldest first.
    OldestFirst,
}

/// Log records wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogQuery {
    /// When they were said.
    pub range: TimeRange,
    /// By whom.
    pub origin: Origin,
    /// At least this loud.
    pub level_min: Option<Level>,
    /// The body contains this, letter case aside.
    pub contains: Option<String>,
    /// Of this template.
    pub template: Option<String>,
    /// Of this trace.
    pub trace_id: Option<TraceId>,
    /// All must hold.
    pub attributes: Vec<AttributeFilter>,
    /// Which end and order.
    pub order: Order,
    /// Most rows; 0 means [`ROWS_DEFAULT`], more than [`ROWS_MAX`] means that.
    pub limit: usize,
}

impl LogQuery {
    /// Whether a record is wanted, the limit aside.
    pub fn matches(&self, log: &LogRecord) -> bool {
        self.range.contains(log.at_nanos)
            && self.origin.matches(&log.identity)
            && self.level_min.is_none_or(|least| log.level >= least)
            && self.trace_id.is_none_or(|id| log.trace_id == Some(id))
            && self.template.as_ref().is_none_or(|wanted| {
                log.attributes
                    .get(TEMPLATE_ATTRIBUTE)
                    .is_some_and(|own| own.as_str() == Some(wanted))
            })
            && self
                .contains
                .as_ref()
                .is_none_or(|text| contains_ignoring_case(&log.body, text))
            && self
                .attributes
                .iter()
                .all(|filter| filter.matches(&log.attributes, &log.resource))
    }
}

/// Spans wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpanQuery {
    /// When they began.
    pub range: TimeRange,
    /// Whose.
    pub origin: Origin,
    /// Of exactly this operation.
    pub name: Option<String>,
    /// Ended so.
    pub status: Option<SpanStatus>,
    /// Took at least this long, nanoseconds.
    pub duration_min_nanos: Option<u64>,
    /// Only spans without a parent.
    pub roots_only: bool,
    /// All must hold.
    pub attributes: Vec<AttributeFilter>,
    /// Which end and order.
    pub order: Order,
    /// Most rows, as in [`LogQuery::limit`].
    pub limit: usize,
}

impl SpanQuery {
    /// Whether a span is wanted, the limit aside.
    pub fn matches(&self, span: &Span) -> bool {
        self.range.contains(span.start_nanos)
            && self.origin.matches(&span.identity)
            && self.name.as_ref().is_none_or(|name| *name == span.name)
            && self.status.is_none_or(|status| status == span.status)
            && self
                .duration_min_nanos
                .is_none_or(|least| span.duration_nanos() >= least)
            && (!self.roots_only || span.parent_span_id.is_none())
            && self
                .attributes
                .iter()
                .all(|filter| filter.matches(&span.attributes, &span.resource))
    }
}

/// Events wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventQuery {
    /// When they happened.
    pub range: TimeRange,
    /// What they concern.
    pub origin: Origin,
    /// The kind begins with this, for example `rollout.`.
    pub kind_prefix: Option<String>,
    /// Which end and order.
    pub order: Order,
    /// Most rows, as in [`LogQuery::limit`].
    pub limit: usize,
}

impl EventQuery {
    /// Whether an event is wanted, the limit aside.
    pub fn matches(&self, event: &Event) -> bool {
        self.range.contains(event.at_nanos)
            && self.origin.matches(&event.identity)
            && self
                .kind_prefix
                .as_ref()
                .is_none_or(|prefix| event.kind.starts_with(prefix.as_str()))
    }
}

/// What a live tail shows; the range and limits of its parts do not count.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TailFilter {
    /// Log records, if any.
    pub logs: Option<LogQuery>,
    /// Spans, if any.
    pub spans: Option<SpanQuery>,
    /// Events, if any.
    pub events: Option<EventQuery>,
}

impl TailFilter {
    /// Everything.
    pub fn everything() -> Self {
        TailFilter {
            logs: Some(LogQuery::default()),
            spans: Some(SpanQuery::default()),
            events: Some(EventQuery::default()),
        }
    }

    /// The part of a batch that is wanted.
    pub fn pick(&self, batch: &Batch) -> Batch {
        fn some<T: Clone>(rows: &[T], wanted: impl Fn(&T) -> bool) -> Vec<T> {
            rows.iter().filter(|row| wanted(row)).cloned().collect()
        }
        Batch {
            samples: Vec::new(),
            logs: some(&batch.logs, |row| {
                self.logs.as_ref().is_some_and(|query| query.matches(row))
            }),
            spans: some(&batch.spans, |row| {
                self.spans.as_ref().is_some_and(|query| query.matches(row))
            }),
            events: some(&batch.events, |row| {
                self.events.as_ref().is_some_and(|query| query.matches(row))
            }),
        }
    }
}

/// The limit that counts for what a query asks.
pub(crate) fn effective_limit(asked: usize) -> usize {
    if asked == 0 {
        ROWS_DEFAULT
    } else {
        asked.min(ROWS_MAX)
    }
}

/// Whether a text contains another, letter case aside.
pub(crate) fn contains_ignoring_case(text: &str, wanted: &str) -> bool {
    if text.contains(wanted) {
        return true;
    }
    if wanted.is_ascii() {
        let wanted = wanted.as_bytes();
        return text
            .as_bytes()
            .windows(wanted.len().max(1))
            .any(|window| window.eq_ignore_ascii_case(wanted));
    }
    text.to_lowercase().contains(&wanted.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_in_any_case() {
        for (text, wanted, found) in [
            ("Cannot open Store", "open store", true),
            ("Größe", "GRÖSSE", false),
            ("ПРИВЕТ", "привет", true),
            ("", "", true),
            ("x", "", true),
            ("short", "longer than it", false),
        ] {
            assert_eq!(contains_ignoring_case(text, wanted), found, "{text} {wanted}");
        }
    }

    #[test]
    fn a_range_ends_before_its_end() {
        let range = TimeRange::from_millis(1, 2);
        assert!(range.contains(1_000_000) && range.contains(1_999_999) && !range.contains(2_000_000));
        assert!(!range.overlaps(2_000_000, 3_000_000) && range.overlaps(0, 1_000_000));
        assert_eq!(TimeRange::from_millis(-5, 1).from_nanos, 0);
    }
}
