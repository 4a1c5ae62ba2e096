//! Where an incident stands.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, Generation, Severity, Timestamp};

use crate::Notice;

/// Where an incident stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Grows with every phase entered.
    pub generation: Generation,
    /// What the incident is at.
    pub phase: Phase,
    /// When the present phase was entered.
    pub since: Timestamp,
    /// How much it matters now; only grows.
    pub severity: Severity,
    /// True while the rollout keeps the suspect off traffic for this incident.
    pub protected: bool,
    /// When what was last done to heal it was done; health and metrics are judged from here.
    pub acted_at: Timestamp,
    /// When the problem was last seen.
    pub seen_at: Timestamp,
    /// Who knows of it; reminders become rare.
    pub acknowledged_by: Option<Actor>,
    /// Who took over; Trimtab does nothing more by itself.
    pub taken_over_by: Option<Actor>,
    /// Notices that the outbox does not have yet.
    pub owed: Vec<Owed>,
}

/// A notice that the outbox does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owed {
    /// Which.
    pub what: Notice,
    /// How much it mattered when it was decided.
    pub severity: Severity,
    /// The decision it belongs to.
    pub generation: Generation,
}

/// What an incident is at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// Critical: traffic leaves the suspect (design.md §5).
    Protecting,
    /// Critical: the first health check (E.8, E.9).
    Checking,
    /// Critical: the restart (E.10).
    Restarting,
    /// Critical: checked again (E.11).
    Rechecking,
    /// Critical: the rollout is told that the suspect is well.
    Clearing {
        /// What is thought to have healed it.
        way: Way,
    },
    /// Critical: back to the previous release (E.12, E.13).
    RollingBack,
    /// The metrics are checked (E.14, E.15).
    Verifying {
        /// What is thought to have healed it.
        way: Way,
    },
    /// Trimtab cannot or may not go on.
    PeopleNeeded {
        /// Why.
        reason: String,
    },
    /// Not critical: fixes are being proposed (E.22, E.23).
    Proposing,
    /// Not critical: waits for a fix or for the metrics (E.24, E.25).
    AwaitingFix,
    /// Low: on the timeline only, until it is quiet.
    Logged,
    /// Healed; the rest is writing up.
    Closing {
        /// What is being written.
        step: Closing,
        /// What healed it.
        way: Way,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
    },
}

/// What is written up, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// The report on the causes (E.17, E.18).
    Causes,
    /// The postmortem (E.27).
    Postmortem,
    /// The lesson (E.28 to E.30).
    Lesson,
    /// The last notices.
    Notices,
}

/// What healed an incident.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Way {
    /// The return to the previous release.
    Rollback,
    /// The restart.
    Restart,
    /// A person's fix.
    Fix {
        /// Who.
        by: Actor,
        /// What they did.
        what: String,
    },
    /// Nothing that Trimtab knows of: it went by itself.
    Itself,
    /// A person said so.
    Person {
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Rollback => f.write_str("rolled back to the previous release"),
            Way::Restart => f.write_str("healed by a restart"),
            Way::Fix { by, what } => write!(f, "fixed by {by}: {what}"),
            Way::Itself => f.write_str("back to normal by itself"),
            Way::Person { by, reason } if reason.is_empty() => write!(f, "resolved by {by}"),
            Way::Person { by, reason } => write!(f, "resolved by {by}: {reason}"),
        }
    }
}

/// How an incident ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum End {
    /// It is over.
    Resolved {
        /// What healed it.
        way: Way,
    },
}

impl State {
    /// The end, once the incident is over.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended { end } => Some(end),
            _ => None,
        }
    }

    /// True once the problem itself is over, though its writing up may not be.
    pub fn is_healed(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. } | Phase::Ended { .. })
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        match &self.phase {
            Phase::Protecting => "taking traffic off the suspect".to_owned(),
            Phase::Checking => "checking health".to_owned(),
            Phase::Restarting => "trying a restart".to_owned(),
            Phase::Rechecking => "checking health after the restart".to_owned(),
            Phase::Clearing { .. } => "giving the healed release back to its rollout".to_owned(),
            Phase::RollingBack => "rolling back".to_owned(),
            Phase::Verifying { way } => format!("verifying the metrics ({way})"),
            Phase::PeopleNeeded { reason } => format!("people needed: {reason}"),
            Phase::Proposing => "proposing fixes".to_owned(),
            Phase::AwaitingFix => "waiting for a fix".to_owned(),
            Phase::Logged => "logged".to_owned(),
            Phase::Closing { step, way } => {
                let what = match step {
                    Closing::Causes => "reporting the causes",
                    Closing::Postmortem => "writing the postmortem",
                    Closing::Lesson => "learning",
                    Closing::Notices => "telling the team",
                };
                format!("{way}; {what}")
            }
            Phase::Ended {
                end: End::Resolved { way },
            } => format!("resolved: {way}"),
        }
    }
}
