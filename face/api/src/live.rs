//! Live updates: what the server says has changed.
//!
//! `GET /live?topics=…` is a stream of server-sent events. Each has an id for `Last-Event-ID`, a name
//! and JSON data: `changed` (`{"topics": ["rollout:rollout-4", …]}`), `figures` (the moving numbers
//! of the overview) and `log` (one line of a live tail). Newest wins: a slow reader gets the
//! present state, not the backlog.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that can change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Overall health.
    Health,
    /// Services, environments, instances, releases.
    Services,
    /// Any run; and the list of runs.
    Runs,
    /// One run: its stages.
    Run(String),
    /// More log lines of a run.
    RunLog(String),
    /// The list of rollouts.
    Rollouts,
    /// One rollout.
    Rollout(String),
    /// The list of incidents.
    Incidents,
    /// One incident.
    Incident(String),
    /// Gates that wait.
    Approvals,
    /// The outbox.
    Notifications,
    /// A new entry on the timeline.
    Timeline,
    /// Merge requests.
    MergeRequests,
    /// Tokens.
    Tokens,
    /// The flags of a `service/environment`.
    Flags(String),
}

impl Topic {
    /// The list that this belongs to, if it is one thing of a list.
    pub fn list(&self) -> Option<Topic> {
        match self {
            Topic::Run(_) => Some(Topic::Runs),
            Topic::Rollout(_) => Some(Topic::Rollouts),
            Topic::Incident(_) => Some(Topic::Incidents),
            _ => None,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Health => f.write_str("health"),
            Topic::Services => f.write_str("services"),
            Topic::Runs => f.write_str("runs"),
            Topic::Run(id) => write!(f, "run:{id}"),
            Topic::RunLog(id) => write!(f, "run-log:{id}"),
            Topic::Rollouts => f.write_str("rollouts"),
            Topic::Rollout(id) => write!(f, "rollout:{id}"),
            Topic::Incidents => f.write_str("incidents"),
            Topic::Incident(id) => write!(f, "incident:{id}"),
            Topic::Approvals => f.write_str("approvals"),
            Topic::Notifications => f.write_str("notifications"),
            Topic::Timeline => f.write_str("timeline"),
            Topic::MergeRequests => f.write_str("merge-requests"),
            Topic::Tokens => f.write_str("tokens"),
            Topic::Flags(place) => write!(f, "flags:{place}"),
        }
    }
}

impl FromStr for Topic {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':') {
            Some(("run", id)) => Topic::Run(id.to_owned()),
            Some(("run-log", id)) => Topic::RunLog(id.to_owned()),
            Some(("rollout", id)) => Topic::Rollout(id.to_owned()),
            Some(("incident", id)) => Topic::Incident(id.to_owned()),
            Some(("flags", place)) => Topic::Flags(place.to_owned()),
            _ => match text {
                "health" => Topic::Health,
                "services" => Topic::Services,
                "runs" => Topic::Runs,
                "rollouts" => Topic::Rollouts,
                "incidents" => Topic::Incidents,
                "approvals" => Topic::Approvals,
                "notifications" => Topic::Notifications,
                "timeline" => Topic::Timeline,
                "merge-requests" => Topic::MergeRequests,
                "tokens" => Topic::Tokens,
                _ => return Err(format!("{text:?} is no topic")),
            },
        })
    }
}

/// Data of a `changed` event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Topics, as text.
    pub topics: Vec<String>,
}
