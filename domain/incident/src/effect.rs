//! What an incident owes the world.

use serde::{Deserialize, Serialize};
use trimtab_model::{Generation, ReleaseId, RolloutId, Severity, Timestamp};

use crate::Event;

/// Carried out by the shell; each may be repeated without harm. The doc comment of each names the
/// event that discharges it; all but `Notify` and `Timer` are discharged by one that carries an
/// [`crate::Outcome`] for the same generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "generation, release and rollout mean the same in each variant"
)]
pub enum Effect {
    /// Put the notice into the outbox for these channels (E.5, E.6, E.16, E.20, E.21, E.26).
    /// Discharged by [`Event::Notified`].
    Notify {
        what: Notice,
        channels: Vec<Channel>,
        severity: Severity,
        generation: Generation,
    },
    /// Send the rollout `Protected` (design.md §5: protect first). Discharged by
    /// [`Event::ProtectionEnded`] when traffic is off the candidate.
    Protect {
        rollout: RolloutId,
        generation: Generation,
    },
    /// Is the suspect well (E.8, E.9, E.11)? Probes *and* the verdict on what it served since
    /// `since`; `off_traffic` says to judge by a mirrored sample. Discharged by
    /// [`Event::HealthChecked`].
    CheckHealth {
        release: ReleaseId,
        off_traffic: bool,
        since: Timestamp,
        generation: Generation,
    },
    /// Restart the suspect's instances (E.10). Discharged by [`Event::Restarted`] when they run again.
    Restart {
        release: ReleaseId,
        generation: Generation,
    },
    /// Send the rollout `Condemned` and wait for its end (E.12, E.13). Discharged by
    /// [`Event::RollbackEnded`].
    RollBack {
        rollout: RolloutId,
        generation: Generation,
    },
    /// Start the previous release's artifact, move traffic to it and quarantine the suspect (E.12,
    /// E.13, no warm release). Discharged by [`Event::RollbackEnded`].
    StartPrevious {
        release: ReleaseId,
        generation: Generation,
    },
    /// Send the rollout `Cleared`: the restart healed the candidate. Discharged by
    /// [`Event::ProtectionEnded`].
    ClearRollout {
        rollout: RolloutId,
        generation: Generation,
    },
    /// Have the metrics improved since `since` (E.14, E.15)? Discharged by [`Event::MetricsVerified`].
    VerifyMetrics {
        since: Timestamp,
        generation: Generation,
    },
    /// Recommend fixes (E.22, E.23). Discharged by [`Event::FixesProposed`].
    ProposeFixes { generation: Generation },
    /// Watch for the metrics to be back to normal (E.25). Discharged by [`Event::MetricsCleared`].
    WatchMetrics { generation: Generation },
    /// Rank the causes with their numbers (E.17, E.18). Discharged by [`Event::CausesReported`].
    ReportCauses { generation: Generation },
    /// Write the postmortem (E.27). Discharged by [`Event::PostmortemWritten`].
    WritePostmortem { generation: Generation },
    /// Learn from the incident (E.28 to E.30). Discharged by [`Event::Learned`].
    Learn { generation: Generation },
    /// Wait until `at`. Discharged by [`Event::TimerFired`].
    Timer {
        name: TimerName,
        generation: Generation,
        at: Timestamp,
    },
}

impl Effect {
    /// The decision it belongs to.
    pub fn generation(&self) -> Generation {
        match self {
            Effect::Notify { generation, .. }
            | Effect::Protect { generation, .. }
            | Effect::CheckHealth { generation, .. }
            | Effect::Restart { generation, .. }
            | Effect::RollBack { generation, .. }
            | Effect::StartPrevious { generation, .. }
            | Effect::ClearRollout { generation, .. }
            | Effect::VerifyMetrics { generation, .. }
            | Effect::ProposeFixes { generation }
            | Effect::WatchMetrics { generation }
            | Effect::ReportCauses { generation }
            | Effect::WritePostmortem { generation }
            | Effect::Learn { generation }
            | Effect::Timer { generation, .. } => *generation,
        }
    }

    /// True when `event` reports this effect's result, so that it need not be carried out again.
    pub fn is_discharged_by(&self, event: &Event) -> bool {
        if event.generation() != Some(self.generation()) {
            return false;
        }
        match (self, event) {
            (Effect::Notify { what, .. }, Event::Notified { what: told, .. }) => what == told,
            (Effect::Timer { name, .. }, Event::TimerFired { name: fired, .. }) => name == fired,
            (Effect::Protect { .. } | Effect::ClearRollout { .. }, Event::ProtectionEnded { .. })
            | (Effect::CheckHealth { .. }, Event::HealthChecked { .. })
            | (Effect::Restart { .. }, Event::Restarted { .. })
            | (Effect::RollBack { .. } | Effect::StartPrevious { .. }, Event::RollbackEnded { .. })
            | (Effect::VerifyMetrics { .. }, Event::MetricsVerified { .. })
            | (Effect::ProposeFixes { .. }, Event::FixesProposed { .. })
            | (Effect::WatchMetrics { .. }, Event::MetricsCleared { .. })
            | (Effect::ReportCauses { .. }, Event::CausesReported { .. })
            | (Effect::WritePostmortem { .. }, Event::PostmortemWritten { .. })
            | (Effect::Learn { .. }, Event::Learned { .. }) => true,
            (_, _) => false,
        }
    }
}

/// The timers of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerName {
    /// The present phase is given up, or people are reminded.
    Deadline,
    /// A low incident was not seen again.
    Quiet,
}

/// What the team is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A critical incident was opened (E.5, E.6).
    Raised,
    /// An important or medium one was (E.20, E.21).
    Warning,
    /// The rollback succeeded and the metrics improved (E.16).
    RolledBack,
    /// A restart healed it, and the metrics improved.
    Restarted,
    /// Trimtab cannot or may not go on: people must act.
    PeopleNeeded,
    /// People must still act.
    Reminder,
    /// The metrics are back to normal (E.26).
    ProblemSolved,
}

/// How a notice leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A text message.
    Sms,
    /// An email.
    Email,
    /// A Slack message.
    Slack,
}
