//! What a rollout is doing.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

/// What a rollout is doing. `step` is an index into the strategy's traffic steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[expect(missing_docs, reason = "step and until mean the same in each variant")]
pub enum Phase {
    /// A job of the team runs.
    Hooking {
        /// Which.
        hook: Hook,
    },
    /// Forward: the candidate's instances start beside the baseline's (B.BG2).
    Starting,
    /// Forward: the candidate is tested off-traffic (B.BG3, B.BG4).
    Testing,
    /// Forward: a freeze holds the step; one past the last is what is left of the traffic.
    Frozen { step: usize, until: Timestamp },
    /// Forward: the baseline's next instances leave the traffic before the candidate's come.
    Retiring { step: usize },
    /// Forward: the candidate's next instances start (B.R1, B.R5).
    Growing { step: usize },
    /// Forward: traffic goes over (A.P2, B.BG5, B.C1, B.C5, B.C8).
    Shifting { step: usize },
    /// Forward: the flag goes on for the step's share of users (B.F2, B.F6, B.F7).
    Raising { step: usize },
    /// Forward: the candidate's health is checked under traffic (A.P3, A.P4, B.R2, B.R3).
    Checking { step: usize },
    /// Forward: the last requests on the baseline's replaced instances end.
    DrainingPart { step: usize },
    /// Forward: the baseline's replaced instances stop.
    StoppingPart { step: usize },
    /// Forward: candidate and baseline are compared (A.P6 to A.P8, B.BG7, B.BG8, B.C2, B.C3).
    Watching { step: usize },
    /// Forward: the watch was inconclusive and a person is asked.
    Asking {
        step: usize,
        /// What the watch lacked.
        reason: String,
    },
    /// Forward: the step needs a person's yes.
    Approving { step: usize },
    /// Forward: the step is held for a while.
    Holding { step: usize, until: Timestamp },
    /// Forward: what is left of the traffic goes over too.
    Finishing,
    /// Forward: the flag goes off for everyone; the candidate stays (B.F5).
    Disabling,
    /// Forward: the baseline's last requests end.
    DrainingBaseline,
    /// Forward: the baseline stays warm a little longer.
    Lingering,
    /// Forward: the baseline stops (B.BG10).
    Decommissioning,
    /// Back: the baseline had been stopped and is started again.
    Restoring,
    /// Back: traffic leaves the candidate (A.P5, B.BG9, B.C4, B.R4).
    Withdrawing,
    /// Back: the flag goes off as well, traffic being off the candidate.
    Lowering,
    /// Off traffic, warm, until an incident condemns or clears the candidate.
    Protected,
    /// Back: the candidate's last requests end.
    DrainingCandidate,
    /// Back: the candidate is put on record as known bad.
    Quarantining,
    /// Back: the candidate stops.
    Stopping,
    /// The end is settled; the team is being told.
    Announcing {
        /// The end to come.
        end: End,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
    },
}

/// The places where a job of the team may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum Hook {
    /// Before anything else.
    Before,
    /// Before the first instance starts: what the new release needs is added to the database.
    Expand,
    /// After the watch of a step.
    Gate {
        /// The step.
        step: usize,
    },
    /// Where a member of a group waits for the others: before its traffic goes to `step`; one past the
    /// steps is what is left of the traffic, and one more the baseline's end.
    Barrier {
        /// The step.
        step: usize,
    },
    /// After the baseline is gone: what only it needed is taken out of the database. From here on
    /// nothing leads back.
    Contract,
    /// After everything else.
    After,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hook::Before => f.write_str("the hook before the rollout"),
            Hook::Expand => f.write_str("the migration that expands"),
            Hook::Gate { step } => write!(f, "the job after step {}", step + 1),
            Hook::Barrier { step } => write!(f, "the group's barrier {}", step + 1),
            Hook::Contract => f.write_str("the migration that contracts"),
            Hook::After => f.write_str("the hook after the rollout"),
        }
    }
}

/// Which way a phase leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Toward the candidate, with the baseline warm (or part of it).
    Forward,
    /// The candidate is settled on; the baseline goes.
    Landing,
    /// Toward the baseline, or off traffic for an incident.
    Back,
    /// The end is settled.
    Over,
}

impl Phase {
    /// Which way it leads.
    pub fn way(&self) -> Way {
        match self {
            Phase::Starting
            | Phase::Testing
            | Phase::Frozen { .. }
            | Phase::Retiring { .. }
            | Phase::Growing { .. }
            | Phase::Shifting { .. }
            | Phase::Raising { .. }
            | Phase::Checking { .. }
            | Phase::DrainingPart { .. }
            | Phase::StoppingPart { .. }
            | Phase::Watching { .. }
            | Phase::Asking { .. }
            | Phase::Approving { .. }
            | Phase::Holding { .. } => Way::Forward,
            Phase::Hooking { hook } => match hook {
                Hook::Before | Hook::Expand | Hook::Gate { .. } | Hook::Barrier { .. } => Way::Forward,
                Hook::Contract | Hook::After => Way::Landing,
            },
            Phase::Finishing
            | Phase::Disabling
            | Phase::DrainingBaseline
            | Phase::Lingering
            | Phase::Decommissioning => Way::Landing,
            Phase::Restoring
            | Phase::Withdrawing
            | Phase::Lowering
            | Phase::Protected
            | Phase::DrainingCandidate
            | Phase::Quarantining
            | Phase::Stopping => Way::Back,
            Phase::Announcing { .. } | Phase::Ended { .. } => Way::Over,
        }
    }

    /// The traffic step that it belongs to.
    pub fn step(&self) -> Option<usize> {
        match self {
            Phase::Frozen { step, .. }
            | Phase::Retiring { step }
            | Phase::Growing { step }
            | Phase::Shifting { step }
            | Phase::Raising { step }
            | Phase::Checking { step }
            | Phase::DrainingPart { step }
            | Phase::StoppingPart { step }
            | Phase::Watching { step }
            | Phase::Asking { step, .. }
            | Phase::Approving { step }
            | Phase::Holding { step, .. }
            | Phase::Hooking {
                hook: Hook::Gate { step },
            } => Some(*step),
            // The step behind it: the one ahead has not begun.
            Phase::Hooking {
                hook: Hook::Barrier { step },
            } => step.checked_sub(1),
            Phase::Hooking { .. }
            | Phase::Starting
            | Phase::Testing
            | Phase::Finishing
            | Phase::Disabling
            | Phase::DrainingBaseline
            | Phase::Lingering
            | Phase::Decommissioning
            | Phase::Restoring
            | Phase::Withdrawing
            | Phase::Lowering
            | Phase::Protected
            | Phase::DrainingCandidate
            | Phase::Quarantining
            | Phase::Stopping
            | Phase::Announcing { .. }
            | Phase::Ended { .. } => None,
        }
    }

    /// True where a person's word is waited for.
    pub fn waits_for_person(&self) -> bool {
        matches!(self, Phase::Asking { .. } | Phase::Approving { .. })
    }
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum End {
    /// The candidate serves.
    Deployed,
    /// The candidate serves with its flag off: that was found bad, or not found good.
    FlagDisabled {
        /// Why.
        reason: String,
    },
    /// The candidate had traffic and was taken off.
    RolledBack {
        /// Why.
        reason: String,
    },
    /// The candidate never had traffic.
    Failed {
        /// Why.
        reason: String,
    },
}

impl End {
    /// True when the candidate serves.
    pub fn serves(&self) -> bool {
        match self {
            End::Deployed | End::FlagDisabled { .. } => true,
            End::RolledBack { .. } | End::Failed { .. } => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Deployed => f.write_str("deployed"),
            End::FlagDisabled { reason } => write!(f, "flag disabled, release deployed: {reason}"),
            End::RolledBack { reason } => write!(f, "rolled back: {reason}"),
            End::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}
