//! Silences keep notices quiet; they never stop an action.

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, EnvironmentName, IncidentId, ServiceName, Severity, Timestamp};

use crate::{Class, Plan};

/// A person's wish not to be told, for a reason and until an end. A field that is none matches all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Who wants it.
    pub author: Actor,
    /// Why.
    pub reason: String,
    /// From when.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    /// Which incident.
    #[serde(default)]
    pub incident: Option<IncidentId>,
    /// Which service.
    pub service: Option<ServiceName>,
    /// Which environment.
    pub environment: Option<EnvironmentName>,
    /// Which kind of problem.
    pub class: Option<Class>,
    /// The worst severity it covers.
    pub severity_max: Severity,
}

impl Silence {
    /// True when the silence covers an incident of `plan` at `severity`, at that moment.
    pub fn covers(&self, plan: &Plan, severity: Severity, at: Timestamp) -> bool {
        (self.from..self.until).contains(&at)
            && severity <= self.severity_max
            && self.incident.as_ref().is_none_or(|i| *i == plan.incident)
            && self.service.as_ref().is_none_or(|s| *s == plan.service)
            && self.environment.as_ref().is_none_or(|e| *e == plan.environment)
            && self.class.is_none_or(|c| c == plan.class)
    }
}

/// The silence that keeps notices of this incident quiet now, if one does.
pub fn silenced<'a>(
    silences: &'a [Silence],
    plan: &Plan,
    severity: Severity,
    at: Timestamp,
) -> Option<&'a Silence> {
    silences.iter().find(|silence| silence.covers(plan, severity, at))
}
