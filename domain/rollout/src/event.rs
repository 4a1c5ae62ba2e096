//! What happened to a rollout.

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, Generation, IncidentId, ReleaseId, RolloutId, Timestamp};

use crate::{Hook, Notice, TimerName, Verdict};

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// Done; for tests and health checks: passed, healthy.
    Done,
    /// Not done; for tests and health checks: failed, unhealthy.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// What happened; results name the generation of the effect that they answer, and answers to older
/// ones change nothing. Commands of people name who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "at, by, generation, release and outcome mean the same in each variant"
)]
pub enum Event {
    /// The instances of `release` run and are healthy, or do not.
    Started {
        at: Timestamp,
        release: ReleaseId,
        generation: Generation,
        outcome: Outcome,
    },
    /// A job of the team ended; `said` is what it told people who passed it.
    HookRan {
        at: Timestamp,
        hook: Hook,
        generation: Generation,
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<String>,
    },
    /// The off-traffic tests ended.
    Tested {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// Every proxy has the weight in force, or it is not known that they have.
    Shifted {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The flag is on for the share asked for, or it is not known that it is.
    FlagSet {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The health check of the candidate ended.
    HealthChecked {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The verdict of a watch. `round` counts the extensions; a regression counts from any round.
    Observed {
        at: Timestamp,
        generation: Generation,
        round: u32,
        verdict: Verdict,
    },
    /// No request is in flight on `release`, or the drain limit passed; `in_flight` says what was left.
    Drained {
        at: Timestamp,
        release: ReleaseId,
        generation: Generation,
        in_flight: u64,
    },
    /// The instances of `release` are stopped, or are not.
    Stopped {
        at: Timestamp,
        release: ReleaseId,
        generation: Generation,
        outcome: Outcome,
    },
    /// The release is on record as known bad, by its digest.
    Quarantined {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The notice is in the outbox.
    Notified {
        at: Timestamp,
        what: Notice,
        generation: Generation,
    },
    /// A timer's time has come.
    TimerFired {
        at: Timestamp,
        name: TimerName,
        generation: Generation,
    },
    /// Finish what is under way, then hold. Guards keep working.
    Paused { at: Timestamp, by: Actor },
    /// Go on after a pause.
    Resumed { at: Timestamp, by: Actor },
    /// A person takes the verdict upon themselves: all traffic to the candidate now. Counts while the
    /// candidate is watched or a person was asked.
    Promoted { at: Timestamp, by: Actor },
    /// A person says yes to what follows `step`, be it the step's approval or its want of a verdict.
    Approved { at: Timestamp, by: Actor, step: usize },
    /// Begin anew: traffic off the candidate, then the way forward from its first step, with evidence
    /// started anew.
    Restarted { at: Timestamp, by: Actor },
    /// Try again now what failed and waits to be tried again.
    Retried { at: Timestamp, by: Actor },
    /// Stop trying: back to the baseline, without a quarantine.
    Aborted { at: Timestamp, by: Actor },
    /// A person condemns the candidate: back to the baseline, with a quarantine.
    RolledBack {
        at: Timestamp,
        by: Actor,
        reason: String,
    },
    /// An incident takes charge: traffic off the candidate at once, its instances stay warm until
    /// [`Event::Condemned`] or [`Event::Cleared`].
    Protected {
        at: Timestamp,
        incident: IncidentId,
        reason: String,
    },
    /// The incident found the candidate bad: roll back and quarantine.
    Condemned {
        at: Timestamp,
        incident: IncidentId,
        reason: String,
    },
    /// The incident found the candidate well: it goes forward anew, with evidence started anew.
    Cleared {
        at: Timestamp,
        incident: IncidentId,
        by: Actor,
        reason: String,
    },
    /// Its group goes back, because of another member or because a person said so: back to the baseline,
    /// without a quarantine.
    Recalled {
        at: Timestamp,
        group: String,
        reason: String,
    },
    /// A newer rollout of the service takes over: back to the baseline, without a quarantine.
    Superseded { at: Timestamp, by: RolloutId },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Event::Started { at, .. }
            | Event::HookRan { at, .. }
            | Event::Approved { at, .. }
            | Event::Restarted { at, .. }
            | Event::Retried { at, .. }
            | Event::Tested { at, .. }
            | Event::Shifted { at, .. }
            | Event::FlagSet { at, .. }
            | Event::HealthChecked { at, .. }
            | Event::Observed { at, .. }
            | Event::Drained { at, .. }
            | Event::Stopped { at, .. }
            | Event::Quarantined { at, .. }
            | Event::Notified { at, .. }
            | Event::TimerFired { at, .. }
            | Event::Paused { at, .. }
            | Event::Resumed { at, .. }
            | Event::Promoted { at, .. }
            | Event::Aborted { at, .. }
            | Event::RolledBack { at, .. }
            | Event::Protected { at, .. }
            | Event::Condemned { at, .. }
            | Event::Cleared { at, .. }
            | Event::Recalled { at, .. }
            | Event::Superseded { at, .. } => *at,
        }
    }
    /// The decision it answers; none for commands.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Event::Started { generation, .. }
            | Event::HookRan { generation, .. }
            | Event::Tested { generation, .. }
            | Event::Shifted { generation, .. }
            | Event::FlagSet { generation, .. }
            | Event::HealthChecked { generation, .. }
            | Event::Observed { generation, .. }
            | Event::Drained { generation, .. }
            | Event::Stopped { generation, .. }
            | Event::Quarantined { generation, .. }
            | Event::Notified { generation, .. }
            | Event::TimerFired { generation, .. } => Some(*generation),
            Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::Promoted { .. }
            | Event::Approved { .. }
            | Event::Restarted { .. }
            | Event::Retried { .. }
            | Event::Aborted { .. }
            | Event::RolledBack { .. }
            | Event::Protected { .. }
            | Event::Condemned { .. }
            | Event::Cleared { .. }
            | Event::Recalled { .. }
            | Event::Superseded { .. } => None,
        }
    }
}
