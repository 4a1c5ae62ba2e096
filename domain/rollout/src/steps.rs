//! The traffic steps that every strategy is made of.

use serde::{Deserialize, Serialize};
use trimtab_model::Weight;

use crate::OnInconclusive;

/// One step of traffic on the way forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficStep {
    /// The candidate's share.
    pub weight: Weight,
    /// The share of users who have the flag on, in a step of a flag.
    pub flag: Option<Weight>,
    /// How long it is watched in milliseconds; 0 is not at all.
    pub watch_ms: u64,
    /// What must happen after the watch, before the next step.
    pub gate: Gate,
    /// Requests that the candidate must have answered in this step for a verdict to count as healthy.
    pub requests_min: u64,
    /// What an inconclusive watch leads to.
    pub on_inconclusive: OnInconclusive,
    /// Which instances are replaced, when traffic moves by replacing them.
    pub replacement: Option<Replacement>,
}

impl TrafficStep {
    /// A step without gates.
    pub fn plain(weight: Weight, watch_ms: u64, on_inconclusive: OnInconclusive) -> Self {
        TrafficStep {
            weight,
            flag: None,
            watch_ms,
            gate: Gate::default(),
            requests_min: 0,
            on_inconclusive,
            replacement: None,
        }
    }
}

/// What must happen after a step's watch, in this order: the job passes, a person says yes, time goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Gate {
    /// True when a job of the team must pass.
    pub job: bool,
    /// True when a person must say yes.
    pub approval: bool,
    /// How long the step is held after that, in milliseconds.
    pub hold_ms: u64,
}

/// How many instances of each release there are after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replacement {
    /// Of the candidate.
    pub candidate: u32,
    /// Of the baseline.
    pub baseline: u32,
    /// True when the baseline's go before the candidate's come.
    pub retire_first: bool,
}

/// How many instances of each release take traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instances {
    /// Of the candidate: those numbered 1 to this.
    pub candidate: u32,
    /// Of the baseline: those numbered 1 to this.
    pub baseline: u32,
}

impl Instances {
    /// The candidate's share when each instance takes the same.
    pub fn weight(self) -> Weight {
        let all = u64::from(self.candidate) + u64::from(self.baseline);
        match (self.candidate, self.baseline) {
            (0, _) => Weight::ZERO,
            (_, 0) => Weight::FULL,
            (candidate, _) => {
                // Between one instance of many and all but one, so that neither arm vanishes in rounding.
                let points = (u64::from(candidate) * 10_000 / all).clamp(1, 9_999);
                u16::try_from(points)
                    .ok()
                    .and_then(|points| Weight::from_basis_points(points).ok())
                    .unwrap_or(Weight::ZERO)
            }
        }
    }
}
