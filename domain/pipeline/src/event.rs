//! What happened to a run.

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, Digest, EnvironmentName, Generation, ReleaseId, Timestamp};

use crate::{Notice, Stage, TimerName};

/// What happened; each names when, and the attempt or generation that it answers. Answers to older
/// attempts and generations change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A stage's command ended; also reports that the artifact could not be recorded.
    JobFinished {
        /// When.
        at: Timestamp,
        /// Which stage.
        stage: Stage,
        /// The attempt that ended.
        attempt: u32,
        /// How.
        outcome: JobOutcome,
    },
    /// The artifact is stored and the release made.
    ArtifactRecorded {
        /// When.
        at: Timestamp,
        /// The attempt that ended.
        attempt: u32,
        /// The new release.
        release: ReleaseId,
        /// Its artifact.
        digest: Digest,
    },
    /// The run's rollout came to an end.
    RolloutEnded {
        /// When.
        at: Timestamp,
        /// Where.
        environment: EnvironmentName,
        /// The attempt that ended.
        attempt: u32,
        /// How.
        outcome: RolloutOutcome,
    },
    /// The release is off the environment, or could not be taken off.
    EnvironmentRolledBack {
        /// When.
        at: Timestamp,
        /// Where.
        environment: EnvironmentName,
        /// The decision it answers.
        generation: Generation,
        /// How.
        outcome: Outcome,
    },
    /// A person said yes.
    Approved {
        /// When.
        at: Timestamp,
        /// Who.
        by: Actor,
        /// Why, in their words; may be empty.
        reason: String,
    },
    /// A person said no.
    Rejected {
        /// When.
        at: Timestamp,
        /// Who.
        by: Actor,
        /// Why, in their words; may be empty.
        reason: String,
    },
    /// A person stopped the run.
    Cancelled {
        /// When.
        at: Timestamp,
        /// Who.
        by: Actor,
    },
    /// The notice is in the outbox.
    Notified {
        /// When.
        at: Timestamp,
        /// Which notice.
        what: Notice,
        /// The decision it answers.
        generation: Generation,
    },
    /// A timer's time has come.
    TimerFired {
        /// When.
        at: Timestamp,
        /// Which timer.
        name: TimerName,
        /// The decision it answers.
        generation: Generation,
    },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Event::JobFinished { at, .. }
            | Event::ArtifactRecorded { at, .. }
            | Event::RolloutEnded { at, .. }
            | Event::EnvironmentRolledBack { at, .. }
            | Event::Approved { at, .. }
            | Event::Rejected { at, .. }
            | Event::Cancelled { at, .. }
            | Event::Notified { at, .. }
            | Event::TimerFired { at, .. } => *at,
        }
    }
}

/// How a stage's command ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum JobOutcome {
    /// It succeeded.
    Passed,
    /// It failed, took too long or could not be started.
    Failed {
        /// For people: exit code, time limit or what was not found.
        reason: String,
    },
    /// Nobody knows: the control process was killed while it ran. It is run again.
    Lost {
        /// For people.
        reason: String,
    },
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// The release serves.
    Deployed,
    /// It had traffic and was taken off.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// It never had traffic.
    Failed {
        /// Why.
        reason: String,
    },
}

/// How an effect without a finer result ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Done,
    /// Not done.
    Failed {
        /// Why.
        reason: String,
    },
}
