//! What an incident is about; fixed when it is opened.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, IncidentId, ReleaseId, RolloutId, ServiceName, Severity, Timestamp};

/// What an incident is about; fixed when it is opened. What grows later is in [`crate::State`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The incident.
    pub incident: IncidentId,
    /// The service that suffers.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
    /// One line for people: what is wrong, with its number.
    pub title: String,
    /// What kind of problem (E.3).
    pub class: Class,
    /// How much it matters (E.4).
    pub severity: Severity,
    /// The release that is thought to cause it, or that serves.
    pub suspect: Option<ReleaseId>,
    /// The rollout under way, which alone may move traffic.
    pub rollout: Option<RolloutId>,
    /// True while the previous release runs and can take the traffic at once.
    pub warm_previous: bool,
    /// The release to return to, if there is one that is not known bad.
    pub previous: Option<ReleaseId>,
    /// Whether Trimtab may act by itself.
    pub guard: Guard,
    /// When the trouble began, as far as the evidence showed when it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// When it was opened.
    pub opened_at: Timestamp,
}

impl Plan {
    /// The rollout to ask for protection: one under way with a warm release behind it.
    pub fn warm_rollout(&self) -> Option<&RolloutId> {
        self.rollout.as_ref().filter(|_| self.warm_previous)
    }
}

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A release made it worse.
    BadRelease,
    /// Memory, CPU, disk or descriptors run out.
    ResourceExhaustion,
    /// Something that the service calls fails.
    DependencyFailure,
    /// More traffic than it can serve.
    TrafficSurge,
    /// A setting was changed.
    ConfigurationChange,
    /// Data, host or network.
    DataOrInfrastructure,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 6] = [
        Class::BadRelease,
        Class::ResourceExhaustion,
        Class::DependencyFailure,
        Class::TrafficSurge,
        Class::ConfigurationChange,
        Class::DataOrInfrastructure,
    ];

    /// True when a restart or the release before may help. Against a failing dependency, a surge or a
    /// broken host they would only cost capacity.
    pub fn acting_helps(self) -> bool {
        match self {
            Class::BadRelease | Class::ResourceExhaustion | Class::ConfigurationChange => true,
            Class::DependencyFailure | Class::TrafficSurge | Class::DataOrInfrastructure => false,
        }
    }

    /// The class as people read it.
    pub fn title(self) -> &'static str {
        match self {
            Class::BadRelease => "bad release",
            Class::ResourceExhaustion => "resource exhaustion",
            Class::DependencyFailure => "dependency failure",
            Class::TrafficSurge => "traffic surge",
            Class::ConfigurationChange => "configuration change",
            Class::DataOrInfrastructure => "data or infrastructure fault",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// Whether Trimtab may act by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Guard {
    /// It may.
    Allowed,
    /// A guard-rail is in the way; people are called.
    Refused {
        /// Which.
        reason: String,
    },
    /// It only says what it would do.
    DryRun,
}
