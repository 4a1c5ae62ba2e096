//! Services, where they run, and their instances.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EntranceState, HealthStatus, Moment, ScaleState};

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The repository it is built from, as configured.
    #[serde(default)]
    pub repository: Option<String>,
    /// The protected branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// Where it runs, in the order of promotion.
    pub environments: Vec<Environment>,
}

/// A service in one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// For example `production`.
    pub name: String,
    /// The release that serves; none before the first.
    pub release: Option<String>,
    /// Its commit.
    #[serde(default)]
    pub commit: Option<String>,
    /// Since when it serves.
    pub since: Option<Moment>,
    /// Where people reach it.
    #[serde(default)]
    pub url: Option<String>,
    /// The rollout under way.
    #[serde(default)]
    pub rollout: Option<String>,
    /// What a person made of its entrance; none when it is simply open.
    #[serde(default)]
    pub entrance: Option<EntranceState>,
    /// How many instances a person wants; none when it is the project file that says.
    #[serde(default)]
    pub scale: Option<ScaleState>,
    /// Health of the service here.
    pub health: HealthStatus,
    /// Every instance, of all releases.
    pub instances: Vec<Instance>,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Started, not yet healthy.
    Starting,
    /// Serves or is ready to.
    Running,
    /// Waits before it is started again.
    BackOff,
    /// Gave up or ended.
    Exited,
    /// Stopped on purpose.
    Stopped,
    /// What keeps it (the container engine) does not answer: it may run or not.
    Unknown,
}

/// One running copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// For example `blocks-r2-production-1`.
    pub id: String,
    /// Its release.
    pub release: String,
    /// `host:port`.
    pub address: String,
    /// What it does.
    pub state: InstanceState,
    /// Its process; none while it does not run.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// When it was last started.
    pub started_at: Option<Moment>,
    /// Processor use in per cent of one core.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Result of the last health probe in words.
    #[serde(default)]
    pub last_probe: Option<String>,
}
