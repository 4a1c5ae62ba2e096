//! What the baseline has shown so far: the guesses that the next batch is bet on.

use serde::{Deserialize, Serialize};
use trimtab_model::LatencyHistogram;

use super::process::Tally;
use super::{Outcomes, Past};

/// Latency thresholds come from the last so many of the baseline's requests, at most twice as many.
const LATENCY_REQUESTS: u64 = 5_000;
/// With fewer there is no threshold yet.
const LATENCY_REQUESTS_MIN: u64 = 30;
/// Rates forget half of what they saw each time they have seen so many.
const RATE_REQUESTS_MAX: f64 = 20_000.0;
/// The past before the rollout counts for at most so many requests.
const PAST_REQUESTS_MAX: f64 = 5_000.0;
/// Before anything was seen a rate is guessed at this, with the weight of so many requests.
const PRIOR_RATE: f64 = 0.005;
const PRIOR_REQUESTS: f64 = 20.0;

/// A running rate with a prior.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    units: f64,
    bad: f64,
}

impl Rate {
    fn seeded(past: Tally) -> Self {
        let scale = (PAST_REQUESTS_MAX / (past.units as f64).max(1.0)).min(1.0);
        Rate {
            units: past.units as f64 * scale,
            bad: past.bad as f64 * scale,
        }
    }

    pub(crate) fn value(&self) -> f64 {
        (self.bad + PRIOR_RATE * PRIOR_REQUESTS) / (self.units + PRIOR_REQUESTS)
    }

    pub(crate) fn add(&mut self, tally: Tally) {
        self.units += tally.units as f64;
        self.bad += tally.bad as f64;
        if self.units > RATE_REQUESTS_MAX {
            self.units /= 2.0;
            self.bad /= 2.0;
        }
    }
}

/// The baseline's running rates and its latest latencies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    pub(crate) errors: Rate,
    pub(crate) client_errors: Rate,
    window: LatencyHistogram,
    newest: LatencyHistogram,
}

impl History {
    pub(crate) fn new(past: Option<&Past>) -> Self {
        let Some(past) = past else {
            return History::default();
        };
        let total = past.total();
        let mut window = LatencyHistogram::default();
        for outcomes in past.windows.iter().rev() {
            window.merge(&outcomes.latency);
            if window.total() >= LATENCY_REQUESTS {
                break;
            }
        }
        History {
            errors: Rate::seeded(errors(&total)),
            client_errors: Rate::seeded(client_errors(&total)),
            window,
            newest: LatencyHistogram::default(),
        }
    }

    pub(crate) fn add(&mut self, baseline: &Outcomes) {
        self.errors.add(errors(baseline));
        self.client_errors.add(client_errors(baseline));
        self.window.merge(&baseline.latency);
        self.newest.merge(&baseline.latency);
        if self.newest.total() >= LATENCY_REQUESTS {
            self.window = std::mem::take(&mut self.newest);
        }
    }

    /// The first bucket above the baseline's quantile and the share of its requests there; none before
    /// enough was seen.
    pub(crate) fn threshold(&self, quantile: f64) -> Option<(u16, f64)> {
        let total = self.window.total();
        if total < LATENCY_REQUESTS_MIN {
            return None;
        }
        let above = above(&self.window, quantile)?;
        let share = (self.window.at_or_above(above) as f64 + 0.5) / (total as f64 + 1.0);
        Some((above, share))
    }
}

/// Requests faster than this are fast, whatever the baseline's are: a tenth of a millisecond more is
/// nothing that anybody waits for.
const FAST_MICROS: u64 = 1_000;

/// The first bucket whose requests count as slow beside the quantile of `seen`.
pub(crate) fn above(seen: &LatencyHistogram, quantile: f64) -> Option<u16> {
    let above = seen.quantile_bucket(quantile)? + 1;
    Some(above.max(LatencyHistogram::bucket_of(FAST_MICROS)))
}

/// Failed requests of an arm.
pub(crate) fn errors(outcomes: &Outcomes) -> Tally {
    Tally::new(outcomes.requests, outcomes.errors)
}

/// Requests of an arm that were answered with 4xx.
pub(crate) fn client_errors(outcomes: &Outcomes) -> Tally {
    Tally::new(outcomes.requests, outcomes.client_errors)
}

/// Requests of an arm in bucket `above` or higher; those without a latency are counted as above.
pub(crate) fn slower(outcomes: &Outcomes, above: u16) -> Tally {
    let total = outcomes.latency.total();
    let missing = outcomes.requests.saturating_sub(total);
    Tally::new(total + missing, outcomes.latency.at_or_above(above) + missing)
}
