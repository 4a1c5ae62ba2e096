//! Where a rollout stands.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, Generation, IncidentId, RolloutId, Timestamp, Weight};

use crate::{Notice, Verdict};

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Grows with every phase entered and every attempt in it.
    pub generation: Generation,
    /// What the rollout is doing.
    pub phase: Phase,
    /// When the present attempt of the phase began.
    pub since: Timestamp,
    /// Attempts of the present phase, from 1.
    pub attempt: u32,
    /// When the phase is tried again; set after a failure of what must happen.
    pub retry_at: Option<Timestamp>,
    /// True when the phase is done and only the pause holds the rollout.
    pub ready: bool,
    /// The pause, if a person paused.
    pub paused: Option<Pause>,
    /// The candidate's share.
    pub traffic: Traffic,
    /// True once the candidate may have served users.
    pub exposed: bool,
    /// False once stopping the baseline was asked for.
    pub baseline_warm: bool,
    /// The comparison under way or last made.
    pub watch: Option<Watch>,
    /// Set while the candidate is kept off traffic for an incident.
    pub protection: Option<Protection>,
    /// How often an incident found the candidate well; stops counting at 2.
    pub cleared: u32,
    /// Who promoted without waiting for the verdict.
    pub promoted_by: Option<Actor>,
    /// Why the candidate goes back, once that is settled.
    pub cause: Option<Cause>,
    /// Notices that the outbox does not have yet.
    pub owed: Vec<Owed>,
}

/// A person's pause.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
}

/// The candidate's share of traffic as last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Traffic {
    /// The share.
    pub weight: Weight,
    /// True when every proxy has it in force.
    pub acknowledged: bool,
}

impl Traffic {
    /// True when it is known that nothing reaches the candidate.
    pub fn is_off(self) -> bool {
        self.weight == Weight::ZERO && self.acknowledged
    }
}

/// A comparison of candidate and baseline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watch {
    /// Whose evidence it is; the same for the whole way forward.
    pub generation: Generation,
    /// Counts the windows asked for.
    pub round: u32,
    /// Extensions of the present step.
    pub extensions: u32,
    /// The end of the present window.
    pub until: Timestamp,
    /// What the present window said, if it has.
    pub verdict: Option<Verdict>,
}

/// Why the candidate is kept off traffic, warm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Protection {
    /// The incident in charge; none until one takes charge.
    pub incident: Option<IncidentId>,
    /// For people.
    pub reason: String,
    /// True when the incident found the candidate well before traffic was off it.
    pub cleared: bool,
}

/// A notice that the outbox does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owed {
    /// Which.
    pub what: Notice,
    /// The decision it belongs to.
    pub generation: Generation,
}

/// What a rollout is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// Forward: the candidate's instances start beside the baseline's (B.BG2).
    Starting,
    /// Forward: the candidate is tested off-traffic (B.BG3, B.BG4).
    Testing,
    /// Forward: traffic goes over (A.P2, B.BG5).
    Shifting {
        /// Index into the strategy's traffic steps.
        step: usize,
    },
    /// Forward: the candidate's health is checked under traffic (A.P3, A.P4).
    Checking {
        /// Index into the strategy's traffic steps.
        step: usize,
    },
    /// Forward: candidate and baseline are compared (A.P6 to A.P8, B.BG7, B.BG8).
    Watching {
        /// Index into the strategy's traffic steps.
        step: usize,
    },
    /// Forward: the watch was inconclusive and a person is asked.
    Asking {
        /// Index into the strategy's traffic steps.
        step: usize,
        /// What the watch lacked.
        reason: String,
    },
    /// Forward: the holdback goes over too.
    Finishing,
    /// Forward: the baseline's last requests end.
    DrainingBaseline,
    /// Forward: the baseline stays warm a little longer.
    Lingering,
    /// Forward: the baseline stops (B.BG10).
    Decommissioning,
    /// Back: the baseline had been stopped and is started again.
    Restoring,
    /// Back: traffic leaves the candidate (A.P5, B.BG9).
    Withdrawing,
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

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum End {
    /// The candidate serves.
    Deployed,
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

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Deployed => f.write_str("deployed"),
            End::RolledBack { reason } => write!(f, "rolled back: {reason}"),
            End::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}

/// Why a candidate goes back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[expect(missing_docs, reason = "reason and by mean the same in each variant")]
pub enum Cause {
    /// Its instances did not start or become healthy.
    NotStarted { reason: String },
    /// The off-traffic tests failed.
    TestsFailed { reason: String },
    /// Traffic could not be shifted.
    NotShifted { reason: String },
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
            | Cause::NotShifted { .. }
            | Cause::Inconclusive { .. }
            | Cause::TimedOut { .. }
            | Cause::Aborted { .. }
            | Cause::Superseded { .. } => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NotStarted { reason } => write!(f, "did not start: {reason}"),
            Cause::TestsFailed { reason } => write!(f, "tests failed: {reason}"),
            Cause::NotShifted { reason } => write!(f, "traffic could not be shifted: {reason}"),
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
            Cause::Superseded { by } => write!(f, "superseded by {by}"),
        }
    }
}

impl State {
    /// The end, once the rollout is over.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended { end } => Some(end),
            _ => None,
        }
    }

    /// True while traffic may reach the candidate.
    pub fn is_on_traffic(&self) -> bool {
        !self.traffic.is_off()
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let weight = self.traffic.weight;
        let what = match &self.phase {
            Phase::Starting => "starting the candidate".to_owned(),
            Phase::Testing => "testing the candidate off-traffic".to_owned(),
            Phase::Shifting { .. } => format!("shifting {weight} to the candidate"),
            Phase::Checking { .. } => format!("checking health at {weight}"),
            Phase::Watching { .. } => format!("watching at {weight}"),
            Phase::Asking { reason, .. } => format!("waiting for a person at {weight}: {reason}"),
            Phase::Finishing => "shifting the holdback".to_owned(),
            Phase::DrainingBaseline => "draining the baseline".to_owned(),
            Phase::Lingering => "keeping the baseline warm".to_owned(),
            Phase::Decommissioning => "stopping the baseline".to_owned(),
            Phase::Restoring => "starting the baseline again".to_owned(),
            Phase::Withdrawing => "taking traffic off the candidate".to_owned(),
            Phase::Protected => match self.protection.as_ref().and_then(|p| p.incident.as_ref()) {
                Some(incident) => format!("off traffic for {incident}"),
                None => "off traffic".to_owned(),
            },
            Phase::DrainingCandidate => "draining the candidate".to_owned(),
            Phase::Quarantining => "quarantining the candidate".to_owned(),
            Phase::Stopping => "stopping the candidate".to_owned(),
            Phase::Announcing { end } => return format!("{end}; telling the team"),
            Phase::Ended { end } => return end.to_string(),
        };
        let reason = match (&self.cause, &self.protection) {
            (Some(cause), _) => format!(" ({cause})"),
            (None, Some(protection)) => format!(" ({})", protection.reason),
            (None, None) => String::new(),
        };
        match &self.paused {
            Some(pause) => format!("paused by {}: {what}{reason}", pause.by),
            None => format!("{what}{reason}"),
        }
    }
}
