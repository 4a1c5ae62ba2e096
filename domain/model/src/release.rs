//! A release and what says that something belongs to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, InstanceId, ReleaseId, RolloutId, ServiceName, Timestamp};

/// SHA-256 of an artifact's bytes, as 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// The first twelve digits, enough for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One built version of a service, ready to run anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its id, given in order of building.
    pub id: ReleaseId,
    /// The service it is a version of.
    pub service: ServiceName,
    /// The git commit it was built from, 40 hex digits.
    pub commit: String,
    /// First line of the commit's message.
    pub title: String,
    /// The artifact's digest.
    pub artifact: Digest,
    /// When the artifact was recorded.
    pub created_at: Timestamp,
}

/// The two sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The release that served before.
    Baseline,
    /// The release on trial.
    Candidate,
}

impl Arm {
    /// `baseline` or `candidate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Arm::Baseline => "baseline",
            Arm::Candidate => "candidate",
        }
    }
}

/// Counts decisions of one machine. An effect carries the generation it was decided in; whoever
/// carries effects out refuses one older than the newest it has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after this.
    pub fn next(self) -> Self {
        Generation(self.0 + 1)
    }
}

/// Where a signal comes from, as Trimtab knows it from the token or socket it came in by, never as
/// the sender claims it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The service, if it is one of Trimtab's.
    pub service: Option<ServiceName>,
    /// The environment the instance runs in.
    pub environment: Option<EnvironmentName>,
    /// The release the instance runs.
    pub release: Option<ReleaseId>,
    /// The instance.
    pub instance: Option<InstanceId>,
    /// The rollout under way, if any.
    pub rollout: Option<RolloutId>,
    /// The arm the instance belongs to in that rollout.
    pub cohort: Option<Arm>,
}
