//! One timeline of changes and incidents: the journal as people read it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// What an entry is, for its icon and for filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelineKind {
    /// Of a run.
    Pipeline,
    /// Of a rollout.
    Rollout,
    /// Traffic moved.
    Traffic,
    /// An anomaly was seen.
    Anomaly,
    /// Of an incident.
    Incident,
    /// Something was done about an incident.
    Action,
    /// A message left.
    Notification,
    /// A gate was answered.
    Approval,
    /// Code changed hands: push, merge request, review.
    Code,
    /// Something was learnt.
    Learning,
    /// A setting, a token, a silence.
    Configuration,
    /// Something else, also from outside.
    Other,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// When.
    pub at: Moment,
    /// What it is.
    pub kind: TimelineKind,
    /// How it colours: `info`, `good`, `warning` or `critical`.
    pub tone: String,
    /// One sentence.
    pub text: String,
    /// More, if there is.
    #[serde(default)]
    pub detail: String,
    /// Who.
    pub actor: String,
    /// The service it is about.
    #[serde(default)]
    pub service: Option<String>,
    /// Path of the page that shows it.
    #[serde(default)]
    pub link: Option<String>,
    /// Position in the journal, for reading on; none for events from outside.
    #[serde(default)]
    pub position: Option<u64>,
}

/// Which entries to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TimelineQuery {
    /// Only of this service.
    pub service: Option<String>,
    /// Only before this position, for the next page.
    pub before: Option<u64>,
    /// At most so many; 100 when absent.
    pub limit: Option<usize>,
}
