//! What a rollout sets out to do.

use serde::{Deserialize, Serialize};
use trimtab_model::{Digest, EnvironmentName, ReleaseId, RolloutId, RunId, ServiceName, Timestamp, Weight};

use crate::{
    TrafficStep, blue_green::BlueGreen, canary::Canary, direct::Direct, flag::Flag, group::Membership,
    rolling::Rolling,
};

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
    /// Its artifact.
    pub candidate_digest: Digest,
    /// The release that serves now; none for a service's first.
    pub baseline: Option<ReleaseId>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// How traffic goes over.
    pub strategy: Strategy,
    /// How long each phase may take.
    pub limits: Limits,
    /// The jobs of the team that run on the way.
    #[serde(default)]
    pub hooks: Hooks,
    /// When no traffic may go forward. Nothing on the way back heeds it.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
    /// The group that it is released with, if it is.
    #[serde(default)]
    pub group: Option<Membership>,
    /// What the place's traffic was when it was asked for; none when there was none, or no telling.
    #[serde(default)]
    pub before: Option<TrafficBefore>,
}

/// The latest traffic of a place, by which waits for verdicts are forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficBefore {
    /// How long it was looked at, in milliseconds.
    pub window_ms: u64,
    /// Requests of users.
    pub requests: u64,
    /// Failures among them.
    pub errors: u64,
}

/// The jobs of the team that run on the way; what they are is the shell's to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hooks {
    /// True when one runs before anything else.
    pub before: bool,
    /// True when a migration runs before the first instance.
    pub expand: bool,
    /// True when a migration runs after the baseline is gone; nothing leads back from there.
    pub contract: bool,
    /// True when one runs after everything else.
    pub after: bool,
}

/// A stretch of time in which no traffic goes forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

impl Plan {
    /// When the freeze that holds at `at` ends, if one does; freezes that follow at once count as one.
    pub fn frozen_until(&self, at: Timestamp) -> Option<Timestamp> {
        let mut until = at;
        // Each may be passed through once, so this ends.
        for _ in 0..self.freezes.len() {
            let held = self
                .freezes
                .iter()
                .filter(|freeze| freeze.from <= until && until < freeze.until);
            until = held.map(|freeze| freeze.until).max().unwrap_or(until);
        }
        (until > at).then_some(until)
    }
}

/// How traffic goes over to the candidate; each has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Strategy {
    /// Start, check, switch, stop the old: for staging.
    Direct(Direct),
    /// Green beside blue, tested off-traffic, switched in one step, watched, blue decommissioned.
    BlueGreen(BlueGreen),
    /// A few users first, then more, each step gated.
    Canary(Canary),
    /// Instances replaced batch by batch.
    Rolling(Rolling),
    /// Deployed with a flag off, which then goes on for more and more users.
    Flag(Flag),
}

/// How the strategies differ, beside their traffic steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// True when the candidate is tested off-traffic first (B.BG3).
    pub(crate) tests: bool,
    /// How long a release may drain in milliseconds.
    pub(crate) drain_ms: u64,
    /// How long a drained baseline stays warm in milliseconds.
    pub(crate) decommission_after_ms: u64,
    /// What a regression leads to.
    pub(crate) on_regressed: OnRegressed,
    /// How often an inconclusive watch may be extended.
    pub(crate) extensions_max: u32,
}

impl Strategy {
    /// The traffic steps; never empty. Without a baseline there is nobody to share traffic with.
    pub fn steps(&self, has_baseline: bool) -> Vec<TrafficStep> {
        let steps = match self {
            Strategy::Direct(direct) => direct.steps(),
            Strategy::BlueGreen(blue_green) => blue_green.steps(),
            Strategy::Canary(canary) => canary.steps(),
            Strategy::Rolling(rolling) => rolling.steps(),
            Strategy::Flag(flag) => flag.steps(),
        };
        if has_baseline {
            return steps;
        }
        // Nor is there anything to compare with, or to return to: what serves well goes on serving.
        let (of_flag, of_release): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.flag.is_some());
        let watch_ms = of_release.iter().map(|step| step.watch_ms).max().unwrap_or(0);
        let mut steps = vec![TrafficStep::plain(Weight::FULL, watch_ms, OnInconclusive::Pass)];
        steps.extend(of_flag);
        steps
    }

    /// True when the candidate is tested off-traffic first (B.BG3).
    pub fn tests(&self) -> bool {
        self.manner().tests
    }

    /// How long a drained baseline stays warm in milliseconds.
    pub fn decommission_after_ms(&self) -> u64 {
        self.manner().decommission_after_ms
    }

    pub(crate) fn manner(&self) -> Manner {
        match self {
            Strategy::Direct(direct) => Manner {
                tests: false,
                drain_ms: direct.drain_ms,
                decommission_after_ms: 0,
                on_regressed: OnRegressed::RollBack,
                extensions_max: 0,
            },
            Strategy::BlueGreen(blue_green) => Manner {
                tests: blue_green.test,
                drain_ms: blue_green.drain_ms,
                decommission_after_ms: blue_green.decommission_after_ms,
                on_regressed: blue_green.on_regressed,
                extensions_max: blue_green.extensions_max,
            },
            Strategy::Canary(canary) => Manner {
                tests: canary.test,
                drain_ms: canary.drain_ms,
                decommission_after_ms: canary.decommission_after_ms,
                on_regressed: canary.on_regressed,
                extensions_max: canary.extensions_max,
            },
            Strategy::Rolling(rolling) => Manner {
                tests: rolling.test,
                drain_ms: rolling.drain_ms,
                decommission_after_ms: 0,
                on_regressed: rolling.on_regressed,
                extensions_max: 0,
            },
            Strategy::Flag(flag) => Manner {
                tests: flag.test,
                drain_ms: flag.drain_ms,
                decommission_after_ms: flag.decommission_after_ms,
                on_regressed: flag.on_regressed,
                extensions_max: flag.extensions_max,
            },
        }
    }
}

/// What a watch that ends without a verdict leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Go on, and tell the team.
    Report,
}

/// What a regression leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRegressed {
    /// Keep the candidate warm and off-traffic for an incident that tries a restart (E.10); roll back
    /// when none takes charge within [`Limits::incident_wait_ms`].
    Protect,
    /// Roll back and quarantine.
    RollBack,
    /// Leave traffic where it is and watch as long again; ask a person when that has not cleared it.
    Extend,
    /// Leave traffic where it is and ask a person.
    Ask,
    /// Shadow mode: only say that it would have been rolled back.
    Report,
}

/// How long each phase may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    /// A job of the team.
    pub hook_ms: u64,
    /// Waiting for the other members of a group.
    #[serde(default = "barrier_ms")]
    pub barrier_ms: u64,
}

/// The others have pauses, questions and freezes of their own.
fn barrier_ms() -> u64 {
    72 * 3600 * 1000
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
            hook_ms: 15 * 60 * SECOND,
            barrier_ms: barrier_ms(),
        }
    }
}
