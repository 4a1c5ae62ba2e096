//! What a rollout owes the world.

use serde::{Deserialize, Serialize};
use trimtab_model::{Digest, Generation, ReleaseId, Timestamp, Weight};

use crate::Event;

/// Carried out by the shell; each may be repeated without harm, and is refused by whoever has seen a
/// newer `generation`. The doc comment of each names the event that discharges it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "release and generation mean the same in each variant")]
pub enum Effect {
    /// See that the instances of `release` run and are healthy. Discharged by [`Event::Started`].
    StartInstances {
        release: ReleaseId,
        generation: Generation,
    },
    /// Run the off-traffic tests against the candidate. Discharged by [`Event::Tested`].
    Test {
        release: ReleaseId,
        generation: Generation,
    },
    /// Give the candidate this share and the baseline the rest (without a baseline the rest meets the
    /// maintenance page). Discharged by [`Event::Shifted`] when every proxy has it in force.
    ShiftTraffic {
        candidate_weight: Weight,
        generation: Generation,
    },
    /// Probe the candidate's instances. Discharged by [`Event::HealthChecked`].
    CheckHealth {
        release: ReleaseId,
        generation: Generation,
    },
    /// Judge the candidate against the baseline until `until`, and report a regression as soon as it
    /// is seen. Evidence belongs to `generation`: an effect with the same one and a later `round` goes
    /// on with the evidence gathered. Discharged by [`Event::Observed`].
    Observe {
        generation: Generation,
        round: u32,
        until: Timestamp,
    },
    /// Ask people to promote or to roll back. Discharged by [`Event::Promoted`], [`Event::Aborted`],
    /// [`Event::RolledBack`], a healthy [`Event::Observed`] or the deadline.
    AskPerson {
        generation: Generation,
        until: Timestamp,
    },
    /// Wait until nothing is in flight on `release`, at most until `until`. Discharged by
    /// [`Event::Drained`].
    Drain {
        release: ReleaseId,
        generation: Generation,
        until: Timestamp,
    },
    /// Stop the instances of `release`. Discharged by [`Event::Stopped`].
    StopInstances {
        release: ReleaseId,
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
            Effect::StartInstances { generation, .. }
            | Effect::Test { generation, .. }
            | Effect::ShiftTraffic { generation, .. }
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
        if let (F::AskPerson { .. }, E::Promoted { .. }) = (self, event) {
            return true;
        }
        if event.generation() != Some(self.generation()) {
            return false;
        }
        match (self, event) {
            (F::StartInstances { release: asked, .. }, E::Started { release, .. })
            | (F::Drain { release: asked, .. }, E::Drained { release, .. })
            | (F::StopInstances { release: asked, .. }, E::Stopped { release, .. }) => asked == release,
            (F::Test { .. }, E::Tested { .. })
            | (F::ShiftTraffic { .. }, E::Shifted { .. })
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
    /// A step of the way back fails again and again; it is retried, and people should look.
    Stuck,
    /// The candidate serves (B.BG10).
    Deployed,
    /// The candidate had traffic and was taken off (B.BG9).
    RolledBack,
    /// The candidate never had traffic (B.BG6).
    Failed,
}
