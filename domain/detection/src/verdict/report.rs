//! What the judge answers.

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

use super::{CustomEvidence, Metric, Tally};

/// The answer to "is the candidate worse?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Worse than the current release.
    Regressed,
    /// Tested to be not worse by the stated delta.
    Healthy,
    /// Neither is shown yet.
    Inconclusive,
    /// The arms did not get the shares that were configured, so the counts prove nothing.
    RoutingBroken,
}

impl Decision {
    /// The decision in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Regressed => "regressed",
            Decision::Healthy => "healthy",
            Decision::Inconclusive => "inconclusive",
            Decision::RoutingBroken => "routing broken",
        }
    }
}

/// One arm's counts for one metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmEvidence {
    /// Requests counted.
    pub units: u64,
    /// Of these: failed, or slower than the threshold.
    pub bad: u64,
    /// `bad / units`; zero when there are none.
    pub rate: f64,
    /// The quantile itself in milliseconds, for latency metrics.
    pub quantile_ms: Option<f64>,
    /// Anytime-valid 95 % interval of that quantile in milliseconds; none until there is enough to bound it.
    pub quantile_interval_ms: Option<(f64, f64)>,
}

/// The evidence of one metric, both arms side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricEvidence {
    /// The metric.
    pub metric: Metric,
    /// Its share of alpha.
    pub share: f64,
    /// The current release.
    pub baseline: ArmEvidence,
    /// The candidate.
    pub candidate: ArmEvidence,
    /// The candidate's rate less the baseline's, at the weight that has told most so far: pooled over
    /// weights, a drift between steps would pass for an effect.
    pub effect: f64,
    /// Anytime-valid 95 % interval of the effect.
    pub interval: (f64, f64),
    /// The threshold in force in milliseconds, for latency metrics.
    pub threshold_ms: Option<f64>,
    /// The evidence that the candidate is worse: regressed at `1 / alpha` for the weighted mean.
    pub e_value: f64,
    /// Its natural logarithm, exact where `e_value` has overflowed.
    pub log_e: f64,
}

/// The comparison with the past of the previous release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastEvidence {
    /// The metric with the most evidence.
    pub metric: Metric,
    /// The past's rate of that metric.
    pub past_rate: f64,
    /// The past's rate widened to its worst window: what the candidate is held against.
    pub widened_rate: f64,
    /// The candidate's rate since evidence began to rise.
    pub candidate_rate: f64,
    /// The holdback's rate in the same time.
    pub holdback_rate: f64,
    /// The candidate's requests since evidence began to rise.
    pub candidate: Tally,
    /// The holdback's requests in the same time.
    pub holdback: Tally,
    /// The threshold in milliseconds, for latency metrics.
    pub threshold_ms: Option<f64>,
    /// Evidence that the candidate is worse than the widened past.
    pub e_value: f64,
    /// Evidence that the holdback is worse than the same past: the cause is then shared.
    pub holdback_e_value: f64,
    /// Whether the holdback shares the trouble, as far as can be told.
    pub shared: SharedCause,
    /// How far this may be trusted, in words.
    pub note: String,
}

/// Whether the holdback on the previous release shows the candidate's trouble too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedCause {
    /// There is no holdback to ask.
    NoHoldback,
    /// Not enough of the holdback's requests have been seen since.
    Open,
    /// The holdback is fine: the candidate alone is at fault.
    No,
    /// The holdback suffers too: a dependency or the host; moving traffic would not help.
    Yes,
}

/// The verdict on a candidate, to be read at any moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What may be done now.
    pub decision: Decision,
    /// Why, as a sentence with numbers for people.
    pub reason: String,
    /// Each metric's evidence.
    pub metrics: Vec<MetricEvidence>,
    /// That of metrics of the team's own.
    #[serde(default)]
    pub custom: Vec<CustomEvidence>,
    /// The evidence of all together; regressed at `1 / alpha`.
    pub e_value: f64,
    /// Its natural logarithm.
    pub log_e: f64,
    /// The chance of a false call over the whole rollout.
    pub alpha: f64,
    /// What is left of it: all until a call is made, then none.
    pub alpha_left: f64,
    /// Requests of both arms that a call is still expected to take at the rates seen so far; none
    /// when the rates point to no call.
    pub units_needed: Option<u64>,
    /// Evidence for healthy: the tested claim holds at `1 / beta`.
    pub healthy_e_value: f64,
    /// Evidence that the arms' shares are not those configured.
    pub ratio_e_value: f64,
    /// The comparison with the past, when a past was given.
    pub past: Option<PastEvidence>,
    /// When a regression was first called.
    pub called_at: Option<Timestamp>,
    /// The metric that speaks loudest against the candidate.
    pub leading: Option<Metric>,
    /// The metric of the team's own that was called, if it was one.
    #[serde(default)]
    pub leading_custom: Option<String>,
}
