//! What came in, and what was not taken and why.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use trimtab_model::Identity;
use trimtab_telemetry::{Sample, stamped_sample};

/// A kind of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Log records.
    Logs,
    /// Samples; refused ones are counted in data points.
    Metrics,
    /// Spans.
    Traces,
    /// Events.
    Events,
}

impl Signal {
    /// Its name, for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
            Signal::Traces => "traces",
            Signal::Events => "events",
        }
    }
}

/// Why a whole request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// No token, or one that is not known.
    Unauthenticated,
    /// More bytes than allowed, before or after decompression.
    TooLarge,
    /// A content type or encoding that is not understood.
    Unsupported,
    /// A body that cannot be read.
    Malformed,
    /// The body did not arrive in time.
    TimedOut,
    /// Too much at once, or the stores cannot keep up.
    Overloaded,
}

impl Trouble {
    /// Its name, for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Trouble::Unauthenticated => "unauthenticated",
            Trouble::TooLarge => "too_large",
            Trouble::Unsupported => "unsupported",
            Trouble::Malformed => "malformed",
            Trouble::TimedOut => "timed_out",
            Trouble::Overloaded => "overloaded",
        }
    }
}

/// Figures since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngestStats {
    /// Rows stored, by signal.
    pub accepted: BTreeMap<Signal, u64>,
    /// Rows refused, by signal and reason.
    pub rejected: BTreeMap<(Signal, &'static str), u64>,
    /// Texts that were cut and attributes that were dropped because of a limit.
    pub cut: BTreeMap<Signal, u64>,
    /// Requests that were not taken.
    pub requests_refused: BTreeMap<Trouble, u64>,
    /// Batches that slow analysers missed.
    pub batches_missed: u64,
}

impl IngestStats {
    /// All refused rows.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// The figures as samples: `trimtab_ingest_rows_total`, `trimtab_ingest_rejected_total`,
    /// `trimtab_ingest_cut_total`, `trimtab_ingest_requests_refused_total` and
    /// `trimtab_ingest_batches_missed_total`.
    pub fn samples(&self, at_ms: i64) -> Vec<Sample> {
        let identity = Identity::default();
        let sample = |metric: &str, labels: &[(&str, &str)], value: u64| {
            stamped_sample(metric, labels, &identity, at_ms, value as f64)
        };
        let mut samples = vec![sample(
            "trimtab_ingest_batches_missed_total",
            &[],
            self.batches_missed,
        )];
        samples.extend(self.accepted.iter().map(|(signal, rows)| {
            sample("trimtab_ingest_rows_total", &[("signal", signal.as_str())], *rows)
        }));
        samples.extend(self.rejected.iter().map(|((signal, reason), rows)| {
            let labels = [("signal", signal.as_str()), ("reason", *reason)];
            sample("trimtab_ingest_rejected_total", &labels, *rows)
        }));
        samples.extend(
            self.cut.iter().map(|(signal, cuts)| {
                sample("trimtab_ingest_cut_total", &[("signal", signal.as_str())], *cuts)
            }),
        );
        samples.extend(self.requests_refused.iter().map(|(trouble, requests)| {
            let labels = [("reason", trouble.as_str())];
            sample("trimtab_ingest_requests_refused_total", &labels, *requests)
        }));
        samples
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<IngestStats>);

impl Counters {
    fn lock(&self) -> MutexGuard<'_, IngestStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> IngestStats {
        self.lock().clone()
    }

    pub(crate) fn accept(&self, signal: Signal, rows: u64) {
        if rows > 0 {
            *self.lock().accepted.entry(signal).or_default() += rows;
        }
    }

    pub(crate) fn reject(&self, signal: Signal, reason: &'static str, rows: u64) {
        if rows > 0 {
            *self.lock().rejected.entry((signal, reason)).or_default() += rows;
        }
    }

    pub(crate) fn cut(&self, signal: Signal, cuts: u64) {
        if cuts > 0 {
            *self.lock().cut.entry(signal).or_default() += cuts;
        }
    }

    pub(crate) fn refuse(&self, trouble: Trouble) {
        *self.lock().requests_refused.entry(trouble).or_default() += 1;
    }
}
