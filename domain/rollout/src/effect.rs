//! What a rollout owes the world.

use serde::{Deserialize, Serialize};
use trimtab_model::{Digest, Generation, ReleaseId, Timestamp, Weight};

use crate::{Event, Hook, Instances};

/// Carried out by the shell; each may be repeated without harm, and is refused by whoever has seen a
/// newer `generation`. The doc comment of each names the event that discharges it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "release and generation mean the same in each variant")]
pub enum Effect {
    /// Run a job of the team. Discharged by [`Event::HookRan`].
    RunHook { hook: Hook, generation: Generation },
    /// See that the instances of `release` run and are healthy: the first `count` of them, or all.
    /// Discharged by [`Event::Started`].
    StartInstances {
        release: ReleaseId,
        count: Option<u32>,
        generation: Generation,
    },
    /// Run the off-traffic tests against the candidate. Discharged by [`Event::Tested`].
    Test {
        release: ReleaseId,
        generation: Generation,
    },
    /// Give the candidate this share and the baseline the rest (without a baseline the rest meets the
    /// maintenance page). Discharged by [`Event::Shifted`] when every proxy has it in force.
    ///
    /// `instances` says which of each release take part, when they are being replaced.
    ShiftTraffic {
        candidate_weight: Weight,
        instances: Option<Instances>,
        generation: Generation,
    },
    /// Have the rollout's flag on for this share of users; zero disables it. Discharged by
    /// [`Event::FlagSet`].
    SetFlag { share: Weight, generation: Generation },
    /// Probe the candidate's instances. Discharged by [`Event::HealthChecked`].
    CheckHealth {
        release: ReleaseId,
        generation: Generation,
    },
    /// Judge the candidate against the baseline until `until`, and report a regression as soon as it
    /// is seen. Evidence belongs to `generation`: an effect with the same one and a later `round` goes
    /// on with the evidence gathered. Discharged by [`Event::Observed`].
    ///
    /// A verdict is not healthy before the candidate has answered `requests_min` requests at `weight`.
    /// With `flag` the users who have the flag on are judged instead, at that share of all.
    Observe {
        generation: Generation,
        round: u32,
        until: Timestamp,
        weight: Weight,
        requests_min: u64,
        #[serde(default)]
        flag: bool,
    },
    /// Ask people to go on or to roll back. Discharged by [`Event::Approved`], [`Event::Promoted`],
    /// [`Event::Aborted`], [`Event::RolledBack`], a healthy [`Event::Observed`] or the deadline.
    AskPerson {
        generation: Generation,
        until: Timestamp,
    },
    /// Wait until nothing is in flight on `release`, at most until `until`; on its instances after the
    /// first `keep`, if that is said. Discharged by [`Event::Drained`].
    Drain {
        release: ReleaseId,
        keep: Option<u32>,
        generation: Generation,
        until: Timestamp,
    },
    /// Stop the instances of `release`; those after the first `keep`, if that is said. Discharged by
    /// [`Event::Stopped`].
    StopInstances {
        release: ReleaseId,
        keep: Option<u32>,
        generation: Generation,
    },
    /// Put the release on record as known bad. Discharged by [`Event::Quarantined`].
    Quarantine {
        release: ReleaseId,
        digest: Digest,
        reason: String,
        generation: Generation,
    },
    /// Put the notice into the outbox. Discharged by [`Event::Notified`].
    Notify { what: Notice, generation: Generation },
    /// Wait until `at`. Discharged by [`Event::TimerFired`].
    Timer {
        name: TimerName,
        generation: Generation,
        at: Timestamp,
    },
}

impl Effect {
    /// The decision it belongs to; for [`Effect::Observe`] the one that its evidence belongs to.
    pub fn generation(&self) -> Generation {
        match self {
            Effect::RunHook { generation, .. }
            | Effect::StartInstances { generation, .. }
            | Effect::Test { generation, .. }
            | Effect::ShiftTraffic { generation, .. }
            | Effect::SetFlag { generation, .. }
            | Effect::CheckHealth { generation, .. }
            | Effect::Observe { generation, .. }
            | Effect::AskPerson { generation, .. }
            | Effect::Drain { generation, .. }
            | Effect::StopInstances { generation, .. }
            | Effect::Quarantine { generation, .. }
            | Effect::Notify { generation, .. }
            | Effect::Timer { generation, .. } => *generation,
        }
    }

    /// True when `event` reports this effect's result, so that it need not be carried out again.
    /// Commands end effects by changing the state, not by reporting a result.
    pub fn is_discharged_by(&self, event: &Event) -> bool {
        use {Effect as F, Event as E};
        if let (F::AskPerson { .. }, E::Promoted { .. } | E::Approved { .. }) = (self, event) {
            return true;
        }
        if event.generation() != Some(self.generation()) {
            return false;
        }
        match (self, event) {
            (F::StartInstances { release: asked, .. }, E::Started { release, .. })
            | (F::Drain { release: asked, .. }, E::Drained { release, .. })
            | (F::StopInstances { release: asked, .. }, E::Stopped { release, .. }) => asked == release,
            (F::RunHook { hook: asked, .. }, E::HookRan { hook, .. }) => asked == hook,
            (F::Test { .. }, E::Tested { .. })
            | (F::ShiftTraffic { .. }, E::Shifted { .. })
            | (F::SetFlag { .. }, E::FlagSet { .. })
            | (F::CheckHealth { .. }, E::HealthChecked { .. })
            | (F::Quarantine { .. }, E::Quarantined { .. }) => true,
            (F::Observe { round: asked, .. }, E::Observed { round, .. }) => asked == round,
            (F::Notify { what: asked, .. }, E::Notified { what, .. }) => asked == what,
            (F::Timer { name: asked, .. }, E::TimerFired { name, .. }) => asked == name,
            (_, _) => false,
        }
    }
}

/// The timers of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerName {
    /// The present phase is given up, or, for what must happen, tried again.
    Deadline,
    /// What failed is tried again.
    Retry,
}

/// What the team is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The watch ended without a verdict: a person is asked.
    Asked,
    /// The step needs a person's yes.
    Approval,
    /// The watch ended without a verdict, and the rollout goes on as the team asked for.
    Inconclusive,
    /// Shadow mode: it would have been rolled back.
    WouldRollBack,
    /// A job of the team failed where it changes nothing any more.
    HookFailed,
    /// Going back was asked for where nothing leads back.
    CannotRollBack,
    /// A step of the way back fails again and again; it is retried, and people should look.
    Stuck,
    /// The candidate serves (B.BG10).
    Deployed,
    /// The candidate had traffic and was taken off (B.BG9).
    RolledBack,
    /// The candidate never had traffic (B.BG6).
    Failed,
    /// The flag was disabled; the candidate serves without it (B.F5).
    FlagDisabled,
}
