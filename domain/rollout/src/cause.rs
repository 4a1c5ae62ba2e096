//! Why a candidate goes back.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, IncidentId, RolloutId};

/// Why a candidate goes back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[expect(missing_docs, reason = "reason and by mean the same in each variant")]
pub enum Cause {
    /// Its instances did not start or become healthy.
    NotStarted { reason: String },
    /// The off-traffic tests failed.
    TestsFailed { reason: String },
    /// A hook before the first instance failed.
    HookFailed { reason: String },
    /// The job between two steps failed.
    GateFailed { reason: String },
    /// Traffic could not be shifted.
    NotShifted { reason: String },
    /// The baseline's instances could not be taken away.
    NotReplaced { reason: String },
    /// Unhealthy under traffic.
    Unhealthy { reason: String },
    /// Worse than the baseline.
    Regressed { reason: String },
    /// Inconclusive, and nobody promoted it.
    Inconclusive { reason: String },
    /// A phase or pause outlasted its limit.
    TimedOut { reason: String },
    /// An incident found it bad.
    Condemned { incident: IncidentId, reason: String },
    /// An incident kept it off traffic and never said what it found.
    NotCleared { incident: IncidentId, reason: String },
    /// A person condemned it.
    RolledBack { by: Actor, reason: String },
    /// A person stopped the rollout.
    Aborted { by: Actor },
    /// Another member of its group went back, or the group was called off.
    Recalled { group: String, reason: String },
    /// A newer rollout took over.
    Superseded { by: RolloutId },
}

impl Cause {
    /// True when the candidate is known bad. An abort, a superseding release, a test that failed before
    /// any traffic or a want of evidence says nothing against a second try.
    pub fn quarantines(&self) -> bool {
        match self {
            Cause::Unhealthy { .. }
            | Cause::Regressed { .. }
            | Cause::Condemned { .. }
            | Cause::NotCleared { .. }
            | Cause::RolledBack { .. } => true,
            Cause::NotStarted { .. }
            | Cause::TestsFailed { .. }
            | Cause::HookFailed { .. }
            | Cause::GateFailed { .. }
            | Cause::NotShifted { .. }
            | Cause::NotReplaced { .. }
            | Cause::Inconclusive { .. }
            | Cause::TimedOut { .. }
            | Cause::Aborted { .. }
            | Cause::Recalled { .. }
            | Cause::Superseded { .. } => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NotStarted { reason } => write!(f, "did not start: {reason}"),
            Cause::TestsFailed { reason } => write!(f, "tests failed: {reason}"),
            Cause::HookFailed { reason } => write!(f, "hook failed: {reason}"),
            Cause::GateFailed { reason } => write!(f, "gate failed: {reason}"),
            Cause::NotShifted { reason } => write!(f, "traffic could not be shifted: {reason}"),
            Cause::NotReplaced { reason } => write!(f, "instances could not be replaced: {reason}"),
            Cause::Unhealthy { reason } => write!(f, "unhealthy: {reason}"),
            Cause::Regressed { reason } => write!(f, "regression: {reason}"),
            Cause::Inconclusive { reason } => write!(f, "inconclusive: {reason}"),
            Cause::TimedOut { reason } => write!(f, "took too long: {reason}"),
            Cause::Condemned { incident, reason } => write!(f, "{incident}: {reason}"),
            Cause::NotCleared { incident, reason } => {
                write!(f, "{incident} did not clear it in time: {reason}")
            }
            Cause::RolledBack { by, reason } if reason.is_empty() => write!(f, "by {by}"),
            Cause::RolledBack { by, reason } => write!(f, "by {by}: {reason}"),
            Cause::Aborted { by } => write!(f, "aborted by {by}"),
            Cause::Recalled { group, reason } => write!(f, "recalled by {group}: {reason}"),
            Cause::Superseded { by } => write!(f, "superseded by {by}"),
        }
    }
}
