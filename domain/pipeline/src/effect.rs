//! What a run owes the world.

use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, Generation, Role, Timestamp};

use crate::{Event, Stage};

/// Carried out by the shell; each may be repeated without harm. The doc comment of each names the
/// event that discharges it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Effect {
    /// Run the stage's command. Discharged by [`Event::JobFinished`] with the same attempt; a job
    /// found dead after a restart is reported [`crate::JobOutcome::Lost`].
    RunJob {
        /// The stage; [`Stage::is_job`] holds.
        stage: Stage,
        /// Counts from 1.
        attempt: u32,
    },
    /// Pack the artifact and record it as a release. Discharged by [`Event::ArtifactRecorded`], or
    /// by [`Event::JobFinished`] of [`Stage::Artifact`] when it could not be.
    RecordArtifact {
        /// Counts from 1.
        attempt: u32,
    },
    /// Start a rollout of the run's release unless the one for this run, environment and attempt
    /// exists. Discharged by [`Event::RolloutEnded`].
    StartRollout {
        /// Where to.
        environment: EnvironmentName,
        /// Always 1 now.
        attempt: u32,
    },
    /// Take the run's release off the environment: end its rollout if that is under way, else return
    /// to the release before it. Discharged by [`Event::EnvironmentRolledBack`].
    RollBackEnvironment {
        /// Where.
        environment: EnvironmentName,
        /// The decision it belongs to.
        generation: Generation,
    },
    /// Show people that the run waits for a yes or no. Discharged by [`Event::Approved`],
    /// [`Event::Rejected`], [`Event::Cancelled`] or the deadline.
    AskApproval {
        /// The least role that may answer.
        role: Role,
        /// When the question lapses.
        until: Timestamp,
    },
    /// Put the notice into the outbox. Discharged by [`Event::Notified`].
    Notify {
        /// What happened.
        what: Notice,
        /// The decision it belongs to.
        generation: Generation,
    },
    /// Wait until `at`. Discharged by [`Event::TimerFired`].
    Timer {
        /// Which timer.
        name: TimerName,
        /// The decision it belongs to.
        generation: Generation,
        /// When it fires; at once if that has passed.
        at: Timestamp,
    },
}

impl Effect {
    /// True when `event` reports this effect's result, so that it need not be carried out again.
    pub fn is_discharged_by(&self, event: &Event) -> bool {
        use {Effect as F, Event as E};
        match (self, event) {
            (
                F::RunJob { stage, attempt },
                E::JobFinished {
                    stage: s, attempt: a, ..
                },
            ) => stage == s && attempt == a,
            (
                F::RecordArtifact { attempt },
                E::JobFinished {
                    stage: Stage::Artifact,
                    attempt: a,
                    ..
                },
            )
            | (F::RecordArtifact { attempt }, E::ArtifactRecorded { attempt: a, .. }) => attempt == a,
            (
                F::StartRollout { environment, attempt },
                E::RolloutEnded {
                    environment: e,
                    attempt: a,
                    ..
                },
            ) => environment == e && attempt == a,
            (
                F::RollBackEnvironment {
                    environment,
                    generation,
                },
                E::EnvironmentRolledBack {
                    environment: e,
                    generation: g,
                    ..
                },
            ) => environment == e && generation == g,
            (F::AskApproval { .. }, E::Approved { .. } | E::Rejected { .. }) => true,
            (
                F::Notify { what, generation },
                E::Notified {
                    what: w,
                    generation: g,
                    ..
                },
            ) => what == w && generation == g,
            (
                F::Timer { name, generation, .. },
                E::TimerFired {
                    name: n,
                    generation: g,
                    ..
                },
            ) => name == n && generation == g,
            (_, _) => false,
        }
    }
}

/// The timers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerName {
    /// The present phase is given up.
    Deadline,
}

/// What the team is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A stage before staging failed (A.B8).
    StageFailed,
    /// The run waits for a person (A.S7).
    ApprovalWanted,
    /// A gate of staging failed or was rejected; staging runs the release before (A.S6).
    StagingRolledBack,
    /// The rollout to production failed or was rolled back (A.P5, A.P9).
    ProductionRolledBack,
    /// A person stopped the run.
    Cancelled,
    /// The release serves in production (A.P10).
    Deployed,
}
