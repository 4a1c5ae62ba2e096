//! What one request, scrape or pump carries.

use serde::{Deserialize, Serialize};

use crate::{Event, LogRecord, Sample, Span};

/// Signals that arrived together; they are stored together and shown to the analysers together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Samples of metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// Log records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogRecord>,
    /// Spans of traces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

impl Batch {
    /// How many rows of all kinds it holds.
    pub fn rows(&self) -> usize {
        self.samples.len() + self.logs.len() + self.spans.len() + self.events.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Adds everything of `other` behind what is here.
    pub fn extend(&mut self, other: Batch) {
        self.samples.extend(other.samples);
        self.logs.extend(other.logs);
        self.spans.extend(other.spans);
        self.events.extend(other.events);
    }
}
