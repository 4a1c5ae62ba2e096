//! What a team may set about a verdict, and what is learned; all of it fixed before a rollout begins.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is compared between the arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Requests that failed: 5xx, time-outs, cut off.
    Errors,
    /// Requests answered with 4xx.
    ClientErrors,
    /// Requests slower than the baseline's own median.
    LatencyP50,
    /// Requests slower than the baseline's own 95th percentile.
    LatencyP95,
    /// Requests slower than the baseline's own 99th percentile.
    LatencyP99,
}

impl Metric {
    /// All metrics, in the order in which they are shown.
    pub const ALL: [Metric; 5] = [
        Metric::Errors,
        Metric::LatencyP50,
        Metric::LatencyP95,
        Metric::LatencyP99,
        Metric::ClientErrors,
    ];

    /// The metric in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::Errors => "errors",
            Metric::ClientErrors => "client errors (4xx)",
            Metric::LatencyP50 => "latency over p50",
            Metric::LatencyP95 => "latency over p95",
            Metric::LatencyP99 => "latency over p99",
        }
    }

    /// The quantile of the baseline that is its threshold; none for counts of errors.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Metric::LatencyP50 => Some(0.50),
            Metric::LatencyP95 => Some(0.95),
            Metric::LatencyP99 => Some(0.99),
            Metric::Errors | Metric::ClientErrors => None,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One alternative that the grid bets on: the candidate's odds are `odds` times the baseline's, or its
/// rate is `rate` whatever the baseline's is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// Ratio of odds, over 1. Beside a `rate` it is that over a baseline of 1 %, and tells lifts apart.
    pub odds: f64,
    /// Its share in the mean; shares are scaled to sum to one.
    pub weight: f64,
    /// The candidate's own rate: a breakage so large that the baseline's rate does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl Lift {
    /// A bet on `odds` times the baseline's odds.
    pub const fn of_odds(odds: f64, weight: f64) -> Self {
        let rate = None;
        Lift { odds, weight, rate }
    }

    /// A bet on the candidate's own rate.
    pub fn of_rate(rate: f64, weight: f64) -> Self {
        Lift {
            odds: (rate / (1.0 - rate) * 99.0).round(),
            weight,
            rate: Some(rate),
        }
    }
}

/// One metric's share of alpha.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The metric.
    pub metric: Metric,
    /// Its share in the mean; shares are scaled to sum to one.
    pub weight: f64,
}

/// The shares over metrics and lifts. Any shares keep alpha exact, as long as they are fixed before
/// the rollout begins: a weighted mean of e-processes is an e-process. Learning moves them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Over metrics. A metric that is not listed is not judged.
    pub metrics: Vec<Share>,
    /// Over lifts of odds.
    pub lifts: Vec<Lift>,
}

impl Default for Mixture {
    fn default() -> Self {
        let share = |metric, weight| Share { metric, weight };
        Mixture {
            metrics: vec![
                share(Metric::Errors, 0.6),
                share(Metric::LatencyP50, 0.14),
                share(Metric::LatencyP95, 0.11),
                share(Metric::LatencyP99, 0.08),
                share(Metric::ClientErrors, 0.07),
            ],
            lifts: vec![
                Lift::of_odds(1.25, 0.02),
                Lift::of_odds(1.7, 0.11),
                Lift::of_odds(2.2, 0.21),
                Lift::of_odds(5.0, 0.15),
                Lift::of_odds(10.0, 0.23),
                Lift::of_rate(0.5, 0.25),
                Lift::of_rate(0.95, 0.03),
            ],
        }
    }
}

/// Everything that a verdict depends on beside the counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The chance that a release no worse than the one before is called a regression at any time in
    /// the whole rollout.
    pub alpha: f64,
    /// The chance that a release worse by `delta_*` is called healthy.
    pub beta: f64,
    /// Regressions of the odds smaller than this share (0.25 = 25 %) are never looked for.
    pub tolerance: f64,
    /// Healthy means: not worse by this much in the share of failed requests (0.02 = 2 points).
    pub delta_errors: f64,
    /// Healthy means: not worse by this much in the share of requests over the baseline's p95.
    pub delta_latency: f64,
    /// When set, this many candidate requests without evidence against it are enough for healthy,
    /// even when the tested claim is still open. The reason says so.
    pub requests_enough: Option<u64>,
    /// Share of alpha that the comparison with the past, when there is a past, gets in a rollout that begins
    /// with all traffic; less in one that begins at a small weight, where the baseline's arm tells as fast.
    pub past_share: f64,
    /// How long the comparison with the past waits for the holdback to show whether the cause is shared; it
    /// asks for less the longer it has waited, and then acts on what it has.
    pub shared_wait_ms: i64,
    /// The holdback is fine, and the cause not shared, once its requests are so many times likelier at the
    /// past's rate than at the candidate's. 200 leaves a shared cause unnoticed in half a per cent of outages, or somewhat more. Trouble
    /// that begins together with the candidate's traffic is hardly a coincidence, and asks for less.
    pub fine_odds: f64,
    /// The chance that the ratio check calls sound routing broken.
    pub ratio_alpha: f64,
    /// The shares over metrics and lifts.
    pub mixture: Mixture,
    /// What is counted, for words.
    #[serde(default)]
    pub unit: Unit,
}

/// The unit of evidence, which is that of assignment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests to the candidate, or first requests of its users, against the baseline's.
    #[default]
    Request,
    /// Users with a flag on, against users with it off.
    FlagUser,
}

impl Unit {
    pub(super) fn plural(self) -> &'static str {
        match self {
            Unit::Request => "requests",
            Unit::FlagUser => "users",
        }
    }

    pub(super) fn of_candidate(self) -> &'static str {
        match self {
            Unit::Request => "the candidate's requests",
            Unit::FlagUser => "the users with the flag on",
        }
    }

    pub(super) fn of_baseline(self) -> &'static str {
        match self {
            Unit::Request => "the baseline's",
            Unit::FlagUser => "those with it off",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            alpha: 0.01,
            beta: 0.05,
            tolerance: 0.25,
            delta_errors: 0.02,
            delta_latency: 0.1,
            requests_enough: None,
            past_share: 0.8,
            shared_wait_ms: 20_000,
            fine_odds: 200.0,
            ratio_alpha: 0.001,
            mixture: Mixture::default(),
            unit: Unit::default(),
        }
    }
}
