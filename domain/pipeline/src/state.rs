//! Where a run stands.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{Digest, EnvironmentName, Generation, ReleaseId, Timestamp};

use crate::{Notice, Stage};

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Grows with every phase entered.
    pub generation: Generation,
    /// What the run is doing.
    pub phase: Phase,
    /// When the present phase was entered.
    pub since: Timestamp,
    /// Stages that have ended, in the order they did; a lost attempt is there too.
    pub results: Vec<StageResult>,
    /// The release, once the artifact is recorded.
    pub release: Option<ReleaseId>,
    /// The release's artifact.
    pub digest: Option<Digest>,
    /// True once the wish for approval is in the outbox.
    pub approval_announced: bool,
}

/// What a run is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// A stage is under way.
    Working {
        /// Which.
        stage: Stage,
        /// Counts from 1.
        attempt: u32,
    },
    /// The release is being taken off an environment (A.S6, A.P5).
    RollingBack {
        /// Where.
        environment: EnvironmentName,
        /// The stage that failed.
        stage: Stage,
        /// Why.
        reason: String,
        /// What to tell the team afterwards.
        notice: Notice,
    },
    /// The end is settled; the team is being told.
    Announcing {
        /// The end to come.
        end: End,
        /// What the team is told.
        notice: Notice,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
    },
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StageResult {
    /// The stage.
    pub stage: Stage,
    /// The attempt that ended.
    pub attempt: u32,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it failed; none when it passed.
    pub failure: Option<String>,
}

/// How a run ended (A.E1, A.E2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum End {
    /// The release serves in production (or passed the last stage that the plan has).
    Deployed,
    /// It does not.
    Failed {
        /// The stage that failed.
        stage: Stage,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Deployed => f.write_str("deployed"),
            End::Failed { stage, reason } => write!(f, "failed at {stage}: {reason}"),
        }
    }
}

impl State {
    /// The end, once the run is over.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended { end } => Some(end),
            Phase::Working { .. } | Phase::RollingBack { .. } | Phase::Announcing { .. } => None,
        }
    }

    /// The stage under way.
    pub fn stage(&self) -> Option<Stage> {
        match &self.phase {
            Phase::Working { stage, .. } => Some(*stage),
            Phase::RollingBack { .. } | Phase::Announcing { .. } | Phase::Ended { .. } => None,
        }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        match &self.phase {
            Phase::Working {
                stage: Stage::Approval,
                ..
            } => "waiting for approval".to_owned(),
            Phase::Working { stage, attempt: 1 } => stage.title().to_owned(),
            Phase::Working { stage, attempt } => format!("{stage} (attempt {attempt})"),
            Phase::RollingBack {
                environment,
                stage,
                reason,
                ..
            } => format!("rolling back {environment}: {stage}: {reason}"),
            Phase::Announcing { end, .. } => format!("{end}; telling the team"),
            Phase::Ended { end } => end.to_string(),
        }
    }
}
