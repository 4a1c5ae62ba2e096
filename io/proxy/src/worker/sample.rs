//! Which requests are reported in full.

use std::cmp::Reverse;

use crate::RequestRecord;

/// Failed requests kept per lane and tick.
const ERRORS_MAX: usize = 20;
/// Slow ones kept per lane and tick.
const SLOW_MAX: usize = 10;
/// Requests reported in one frame.
pub(super) const RECORDS_MAX: usize = 60;

/// The most telling requests since the last tick.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    errors: Vec<RequestRecord>,
    slow: Vec<RequestRecord>,
}

impl Sampler {
    /// Whether a request would be kept: asked before the record is built.
    pub(super) fn wants(&self, failed: bool, duration_nanos: u64) -> bool {
        (failed && self.errors.len() < ERRORS_MAX)
            || self.slow.len() < SLOW_MAX
            || self
                .slow
                .last()
                .is_some_and(|fastest| fastest.duration_nanos < duration_nanos)
    }

    /// Keeps a request.
    pub(super) fn keep(&mut self, failed: bool, record: RequestRecord) {
        if failed && self.errors.len() < ERRORS_MAX {
            self.errors.push(record);
            return;
        }
        let at = self
            .slow
            .partition_point(|other| other.duration_nanos >= record.duration_nanos);
        self.slow.insert(at, record);
        self.slow.truncate(SLOW_MAX);
    }

    /// Takes what was kept: failures, then the slowest.
    pub(super) fn take(&mut self) -> Vec<RequestRecord> {
        let mut records = std::mem::take(&mut self.errors);
        records.append(&mut self.slow);
        records
    }
}

/// Puts the records of several lanes into one bounded list: failures first, then the slowest.
pub(super) fn merge(mut records: Vec<RequestRecord>) -> Vec<RequestRecord> {
    records.sort_by_key(|record| (!is_failure(record), Reverse(record.duration_nanos)));
    records.truncate(RECORDS_MAX);
    records
}

fn is_failure(record: &RequestRecord) -> bool {
    record.status >= 500 || record.error.is_some()
}
