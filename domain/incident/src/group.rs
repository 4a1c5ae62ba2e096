//! Problems become incidents: what hits the same service, by the same suspect, at about the same time
//! is one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, IncidentId, ReleaseId, ServiceName, Severity, Timestamp};

use crate::Class;

/// How far apart two sightings of one incident may be.
pub const GROUP_WINDOW: Duration = Duration::from_secs(5 * 60);

/// A problem as detection reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Who suffers, and by whom.
    pub key: GroupKey,
    /// What kind.
    pub class: Class,
    /// How much it matters.
    pub severity: Severity,
    /// One line for people.
    pub title: String,
    /// When it was seen.
    pub at: Timestamp,
}

/// What problems of one incident share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKey {
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The release thought to cause it; none joins any.
    pub suspect: Option<ReleaseId>,
}

impl GroupKey {
    /// True when both may be one incident: same place, and no two different suspects.
    pub fn meets(&self, other: &GroupKey) -> bool {
        let suspects_agree = match (&self.suspect, &other.suspect) {
            (Some(mine), Some(theirs)) => mine == theirs,
            (Some(_) | None, None) | (None, Some(_)) => true,
        };
        self.service == other.service && self.environment == other.environment && suspects_agree
    }
}

/// An incident that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIncident {
    /// Which.
    pub incident: IncidentId,
    /// Whose.
    pub key: GroupKey,
    /// When its problem was last seen.
    pub seen_at: Timestamp,
    /// True once it is healed and only being written up: what comes then is a new incident.
    pub healed: bool,
}

/// The open incident that `problem` belongs to: of those that meet it, one with the very suspect, then
/// the one last seen. An incident stays open
/// to its problem however long it lasts, for people work on it.
pub fn joins<'a>(open: &'a [OpenIncident], problem: &Problem) -> Option<&'a OpenIncident> {
    open.iter()
        .filter(|incident| !incident.healed && incident.key.meets(&problem.key))
        .max_by_key(|incident| (incident.key.suspect == problem.key.suspect, incident.seen_at))
}

/// Problems that are one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Whose; the suspect is the first that a problem named.
    pub key: GroupKey,
    /// The members, oldest first.
    pub problems: Vec<Problem>,
}

impl Group {
    /// The worst severity of its problems.
    pub fn severity(&self) -> Severity {
        self.problems
            .iter()
            .map(|problem| problem.severity)
            .max()
            .unwrap_or(Severity::Low)
    }
}

/// Groups a batch of problems; two that meet within `window` of each other are one incident.
pub fn group(problems: &[Problem], window: Duration) -> Vec<Group> {
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| problem.at);
    let mut groups: Vec<Group> = Vec::new();
    for problem in sorted {
        let place = groups.iter().position(|group| {
            let last = group.problems.last().map_or(problem.at, |last| last.at);
            group.key.meets(&problem.key) && problem.at.since(last) <= window
        });
        match place {
            Some(index) => {
                let group = &mut groups[index];
                if group.key.suspect.is_none() {
                    group.key.suspect.clone_from(&problem.key.suspect);
                }
                group.problems.push(problem.clone());
            }
            None => groups.push(Group {
                key: problem.key.clone(),
                problems: vec![problem.clone()],
            }),
        }
    }
    groups
}
