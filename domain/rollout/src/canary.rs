//! Canary: a few users first, then more, each step gated (B.C1 to C8).

use serde::{Deserialize, Serialize};
use trimtab_model::Weight;

use crate::{Gate, OnInconclusive, OnRegressed, TrafficStep};

/// Traffic goes over in steps. Each is watched against the baseline under the same traffic, and the
/// evidence goes on from step to step. Promotion starts, stops and reconfigures no instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// True when the candidate is tested off-traffic first.
    pub test: bool,
    /// The steps, their weights growing; all traffic follows the last of them.
    pub steps: Vec<CanaryStep>,
    /// How long a release that lost its traffic may drain, in milliseconds.
    pub drain_ms: u64,
    /// How long the baseline stays warm after it has drained, in milliseconds.
    pub decommission_after_ms: u64,
    /// How often an inconclusive watch is extended before a person is asked.
    pub extensions_max: u32,
    /// What a regression leads to.
    pub on_regressed: OnRegressed,
}

/// One step of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStep {
    /// The candidate's share.
    pub weight: Weight,
    /// How long it is watched, in milliseconds; 0 is not at all.
    pub watch_ms: u64,
    /// What must happen before the next step.
    #[serde(default)]
    pub gate: Gate,
    /// Requests that the candidate must have answered in this step to be called healthy.
    #[serde(default)]
    pub requests_min: u64,
    /// What a watch without a verdict leads to.
    pub on_inconclusive: OnInconclusive,
}

impl Canary {
    /// The steps; a list without any is one step to everything.
    pub fn steps(&self) -> Vec<TrafficStep> {
        let mut steps: Vec<TrafficStep> = self
            .steps
            .iter()
            .map(|step| TrafficStep {
                weight: step.weight,
                flag: None,
                watch_ms: step.watch_ms,
                gate: step.gate,
                requests_min: step.requests_min,
                on_inconclusive: step.on_inconclusive,
                replacement: None,
            })
            .collect();
        // Whatever the last step is, health is checked once more with everyone on the candidate.
        if steps.last().is_none_or(|last| last.weight != Weight::FULL) {
            steps.push(TrafficStep::plain(Weight::FULL, 0, OnInconclusive::Pass));
        }
        steps
    }
}
