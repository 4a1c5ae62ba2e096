//! Overall health (D) and the short status of everything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Approval, IncidentSummary, Moment, RolloutSummary, RunSummary, Service};

/// Overall health; unknown only while nothing is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Nothing is measured yet.
    Unknown,
    /// Green.
    Healthy,
    /// Yellow.
    Degraded,
    /// Red.
    Critical,
}

impl HealthStatus {
    /// The status in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Unknown => "unknown",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Degraded => "degraded",
            HealthStatus::Critical => "critical",
        }
    }
}

/// One fact that overall health rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReason {
    /// What this fact alone would make of health.
    pub status: HealthStatus,
    /// What it is about, for example `blocks in production`.
    pub subject: String,
    /// The fact with its number, for example `error rate 4.1 %, objective 0.5 %`.
    pub text: String,
    /// Path of the page that shows more.
    #[serde(default)]
    pub link: Option<String>,
}

/// What is left of the errors that the objective allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBudget {
    /// The objective in per cent, for example 99.5.
    pub objective_percent: f64,
    /// The window it is counted over, for example `30d`.
    pub window: String,
    /// What is left in per cent of the budget: 100 untouched, negative when overspent; none without requests.
    pub left_percent: Option<f64>,
    /// How many times faster than allowed it burns now; none without requests.
    pub burn_rate: Option<f64>,
}

/// Overall health with why it is so, the worst reason first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// One sentence that states the main reason.
    pub reason: String,
    /// Every fact that counted.
    #[serde(default)]
    pub reasons: Vec<HealthReason>,
    /// The tightest error budget, if an objective is declared.
    #[serde(default)]
    pub budget: Option<ErrorBudget>,
    /// When it was judged.
    pub as_of: Moment,
}

/// `GET /api/v1/status`: everything that is under way, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// When `serve` started.
    pub started_at: Moment,
    /// Overall health.
    pub health: Health,
    /// Every service with where it runs.
    pub services: Vec<Service>,
    /// Pipeline runs under way.
    pub runs: Vec<RunSummary>,
    /// Rollouts under way.
    pub rollouts: Vec<RolloutSummary>,
    /// Incidents that are open.
    pub incidents: Vec<IncidentSummary>,
    /// Gates that wait for a person.
    pub approvals: Vec<Approval>,
}
