//! What a rollout sets out to do.

use serde::{Deserialize, Serialize};
use trimtab_model::{Digest, EnvironmentName, ReleaseId, RolloutId, RunId, ServiceName, Timestamp, Weight};

use crate::{blue_green::BlueGreen, direct::Direct};

/// What a rollout sets out to do; fixed when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The rollout.
    pub rollout: RolloutId,
    /// The service.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
    /// The pipeline run that asked for it, if one did.
    pub run: Option<RunId>,
    /// The release on trial.
    pub candidate: ReleaseId,
    /// Its artifact, by which it is quarantined.
    pub candidate_digest: Digest,
    /// The release that serves now; none for a service's first.
    pub baseline: Option<ReleaseId>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// How traffic goes over.
    pub strategy: Strategy,
    /// How long each phase may take.
    pub limits: Limits,
}

/// How traffic goes over to the candidate. Canary, rolling and flag rollouts each become one more
/// variant with a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Strategy {
    /// Start, check, switch, stop the old: for staging.
    Direct(Direct),
    /// Green beside blue, tested off-traffic, switched in one step, watched, blue decommissioned.
    BlueGreen(BlueGreen),
}

/// One step of traffic on the way forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficStep {
    /// The candidate's share.
    pub weight: Weight,
    /// How long it is watched in milliseconds; 0 is not at all.
    pub watch_ms: u64,
}

impl Strategy {
    /// The traffic steps; never empty. Without a baseline there is nobody to share traffic with.
    pub fn steps(&self, has_baseline: bool) -> Vec<TrafficStep> {
        let steps = match self {
            Strategy::Direct(direct) => direct.steps(),
            Strategy::BlueGreen(blue_green) => blue_green.steps(),
        };
        if has_baseline {
            return steps;
        }
        let watch_ms = steps.iter().map(|step| step.watch_ms).max().unwrap_or(0);
        vec![TrafficStep {
            weight: Weight::FULL,
            watch_ms,
        }]
    }

    /// True when the candidate is tested off-traffic first (B.BG3).
    pub fn tests(&self) -> bool {
        match self {
            Strategy::Direct(_) => false,
            Strategy::BlueGreen(blue_green) => blue_green.test,
        }
    }

    /// How long a release may drain in milliseconds.
    pub fn drain_ms(&self) -> u64 {
        match self {
            Strategy::Direct(direct) => direct.drain_ms,
            Strategy::BlueGreen(blue_green) => blue_green.drain_ms,
        }
    }

    /// How long a drained baseline stays warm in milliseconds.
    pub fn decommission_after_ms(&self) -> u64 {
        match self {
            Strategy::Direct(_) => 0,
            Strategy::BlueGreen(blue_green) => blue_green.decommission_after_ms,
        }
    }

    /// What an inconclusive watch leads to.
    pub fn on_inconclusive(&self) -> OnInconclusive {
        match self {
            Strategy::Direct(_) => OnInconclusive::Pass,
            Strategy::BlueGreen(blue_green) => blue_green.on_inconclusive,
        }
    }

    /// What a regression leads to.
    pub fn on_regressed(&self) -> OnRegressed {
        match self {
            Strategy::Direct(_) => OnRegressed::RollBack,
            Strategy::BlueGreen(blue_green) => blue_green.on_regressed,
        }
    }

    /// How often an inconclusive watch may be extended.
    pub fn extensions_max(&self) -> u32 {
        match self {
            Strategy::Direct(_) => 0,
            Strategy::BlueGreen(blue_green) => blue_green.extensions_max,
        }
    }
}

/// What a watch that ends without a verdict leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInconclusive {
    /// Go on: the team says that no alarm is enough.
    Pass,
    /// Watch as long again, then ask.
    Extend,
    /// Ask a person.
    Ask,
    /// Take the candidate back.
    RollBack,
}

/// What a regression leads to; traffic leaves the candidate at once either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRegressed {
    /// Keep the candidate warm and off-traffic for an incident that tries a restart (E.10); roll back
    /// when none takes charge within [`Limits::incident_wait_ms`].
    Protect,
    /// Roll back and quarantine.
    RollBack,
}

/// How long each phase may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Starting instances until they are healthy.
    pub start_ms: u64,
    /// The off-traffic tests.
    pub test_ms: u64,
    /// A shift of traffic until every proxy has acknowledged it.
    pub shift_ms: u64,
    /// The health check after a shift.
    pub health_ms: u64,
    /// What the observer may take beyond the end of a watch.
    pub verdict_grace_ms: u64,
    /// Stopping instances, and marking a release quarantined.
    pub stop_ms: u64,
    /// A pause with nothing under way.
    pub pause_ms: u64,
    /// A question to people.
    pub ask_ms: u64,
    /// An incident's work on a protected candidate.
    pub protect_ms: u64,
    /// Until an incident takes charge of a regression that the rollout saw itself.
    pub incident_wait_ms: u64,
    /// Putting a notice into the outbox.
    pub notify_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const SECOND: u64 = 1000;
        const HOUR: u64 = 3600 * SECOND;
        Limits {
            start_ms: 60 * SECOND,
            test_ms: 10 * 60 * SECOND,
            shift_ms: 15 * SECOND,
            health_ms: 30 * SECOND,
            verdict_grace_ms: 30 * SECOND,
            stop_ms: 60 * SECOND,
            pause_ms: 24 * HOUR,
            ask_ms: 24 * HOUR,
            protect_ms: 5 * 60 * SECOND,
            incident_wait_ms: 10 * SECOND,
            notify_ms: 60 * SECOND,
        }
    }
}
