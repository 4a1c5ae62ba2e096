//! What the judge is fed: counts of both arms over one short stretch of time at one weight.

use serde::{Deserialize, Serialize};
use trimtab_model::{LatencyHistogram, Timestamp, Weight};

/// What one arm's requests came to.
///
/// Left out of both arms: health probes, mirrored and tester traffic, warm-up. A request still open
/// at the route's time-out is an error at that moment, with the time-out as its latency.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Requests that were answered, failed or timed out.
    pub requests: u64,
    /// Of these: answered with 5xx, timed out, or cut off by the instance.
    pub errors: u64,
    /// Of these: answered with 4xx. They are no errors, and have a process of their own.
    pub client_errors: u64,
    /// How long they took; requests that are missing here count as slower than any threshold.
    pub latency: LatencyHistogram,
}

impl Outcomes {
    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Outcomes) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.client_errors += other.client_errors;
        self.latency.merge(&other.latency);
    }

    /// Counts one request.
    pub fn record(&mut self, micros: u64, error: bool, client_error: bool) {
        self.requests += 1;
        self.errors += u64::from(error);
        self.client_errors += u64::from(client_error);
        self.latency.record(micros);
    }
}

/// How many requests were sent to each arm, whether or not they have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Sent to the baseline.
    pub baseline: u64,
    /// Sent to the candidate.
    pub candidate: u64,
}

/// Both arms over one stretch of time (a frame of the proxy, or many) in which the weight was fixed.
///
/// When the weight changed inside a frame, make a batch for each weight: it is the probability that
/// was in force when each request's arm was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// When the stretch ended.
    pub at: Timestamp,
    /// The probability with which each request was sent to the candidate.
    pub weight: Weight,
    /// The current release's requests.
    pub baseline: Outcomes,
    /// The candidate's requests.
    pub candidate: Outcomes,
    /// Requests sent to each arm in this stretch, when they are counted at the draw. The ratio check
    /// uses them; without them it uses the requests that ended, which misleads while one arm hangs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<Assigned>,
}

impl Batch {
    /// A batch with empty counts.
    pub fn new(at: Timestamp, weight: Weight) -> Self {
        Batch {
            at,
            weight,
            baseline: Outcomes::default(),
            candidate: Outcomes::default(),
            assigned: None,
        }
    }
}

/// The previous release's recent past, as windows of equal length (for example minutes), oldest
/// first: what the candidate is held against when hardly any traffic is left on the baseline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// One window after the other.
    pub windows: Vec<Outcomes>,
}

impl Past {
    /// Most windows that are kept; older ones are left out.
    pub const WINDOWS_MAX: usize = 240;

    /// Adds the newest window.
    pub fn push(&mut self, window: Outcomes) {
        if self.windows.len() >= Self::WINDOWS_MAX {
            self.windows.remove(0);
        }
        self.windows.push(window);
    }

    /// All windows together.
    pub fn total(&self) -> Outcomes {
        let mut total = Outcomes::default();
        for window in &self.windows {
            total.merge(window);
        }
        total
    }
}
