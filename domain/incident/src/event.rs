//! What happened to an incident.

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, Generation, Severity, Timestamp};

use crate::{Notice, TimerName};

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// Done; for checks: healthy, improved.
    Done {
        /// What was found, for people; may be empty.
        detail: String,
    },
    /// Not done; for checks: unhealthy, not improved.
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
    reason = "at, by, generation and outcome mean the same in each variant"
)]
pub enum Event {
    /// The notice is in the outbox.
    Notified {
        at: Timestamp,
        what: Notice,
        generation: Generation,
    },
    /// Traffic is off the candidate, or the rollout was told that it is well; or the rollout refused.
    ProtectionEnded {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The health check ended (E.9, E.11).
    HealthChecked {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The restart ended.
    Restarted {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The previous release serves again, or does not (E.13).
    RollbackEnded {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The metrics improved, or did not (E.15).
    MetricsVerified {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// Proposals are on the incident's page (E.23).
    FixesProposed {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The metrics are back to normal by themselves or by a fix (E.25).
    MetricsCleared {
        at: Timestamp,
        generation: Generation,
        detail: String,
    },
    /// The report on the causes is on the incident's page (E.18).
    CausesReported {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The postmortem is written (E.27).
    PostmortemWritten {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// The models were changed, or the change was refused (E.29, E.30).
    Learned {
        at: Timestamp,
        generation: Generation,
        outcome: Outcome,
    },
    /// A timer's time has come.
    TimerFired {
        at: Timestamp,
        name: TimerName,
        generation: Generation,
    },
    /// The same problem was seen again.
    Seen { at: Timestamp },
    /// The problem grew.
    Escalated {
        at: Timestamp,
        severity: Severity,
        reason: String,
    },
    /// A person knows of it: reminders become rare.
    Acknowledged { at: Timestamp, by: Actor },
    /// A person takes over: Trimtab does nothing more by itself.
    TakenOver { at: Timestamp, by: Actor },
    /// A person applied a fix (E.24): it is verified.
    FixApplied { at: Timestamp, by: Actor, what: String },
    /// A person says that it is over.
    Resolved {
        at: Timestamp,
        by: Actor,
        reason: String,
    },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Event::Notified { at, .. }
            | Event::ProtectionEnded { at, .. }
            | Event::HealthChecked { at, .. }
            | Event::Restarted { at, .. }
            | Event::RollbackEnded { at, .. }
            | Event::MetricsVerified { at, .. }
            | Event::FixesProposed { at, .. }
            | Event::MetricsCleared { at, .. }
            | Event::CausesReported { at, .. }
            | Event::PostmortemWritten { at, .. }
            | Event::Learned { at, .. }
            | Event::TimerFired { at, .. }
            | Event::Seen { at }
            | Event::Escalated { at, .. }
            | Event::Acknowledged { at, .. }
            | Event::TakenOver { at, .. }
            | Event::FixApplied { at, .. }
            | Event::Resolved { at, .. } => *at,
        }
    }

    /// The decision it answers; none for what comes from outside.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Event::Notified { generation, .. }
            | Event::ProtectionEnded { generation, .. }
            | Event::HealthChecked { generation, .. }
            | Event::Restarted { generation, .. }
            | Event::RollbackEnded { generation, .. }
            | Event::MetricsVerified { generation, .. }
            | Event::FixesProposed { generation, .. }
            | Event::MetricsCleared { generation, .. }
            | Event::CausesReported { generation, .. }
            | Event::PostmortemWritten { generation, .. }
            | Event::Learned { generation, .. }
            | Event::TimerFired { generation, .. } => Some(*generation),
            Event::Seen { .. }
            | Event::Escalated { .. }
            | Event::Acknowledged { .. }
            | Event::TakenOver { .. }
            | Event::FixApplied { .. }
            | Event::Resolved { .. } => None,
        }
    }
}
