//! Releases and where they came from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// What a release does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    /// Built, runs nowhere.
    Built,
    /// In staging.
    Staging,
    /// On its way into production.
    RollingOut,
    /// Serves production.
    Live,
    /// Served before.
    Retired,
    /// Was rolled back and may not be deployed until a person clears it.
    Quarantined,
}

/// How a test stage of the release ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepResult {
    /// The stage.
    pub stage: String,
    /// Ended well.
    pub passed: bool,
    /// How long it took in milliseconds.
    pub duration_ms: u64,
}

/// Where a release came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The run that built it.
    pub run: String,
    /// The merge request, if known.
    #[serde(default)]
    pub merge_request: Option<String>,
    /// Who wrote the commit.
    #[serde(default)]
    pub author: Option<String>,
    /// Who reviewed it.
    #[serde(default)]
    pub reviewers: Vec<String>,
    /// Who approved it for production.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// How its tests ended.
    #[serde(default)]
    pub results: Vec<StepResult>,
}

/// One built version of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// `blocks-r2`.
    pub id: String,
    /// The service.
    pub service: String,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// First line of the commit's message.
    pub title: String,
    /// SHA-256 of the artifact.
    pub artifact: String,
    /// Size of the artifact in bytes.
    pub artifact_bytes: Option<u64>,
    /// When the artifact was recorded.
    pub created_at: Moment,
    /// What it does now.
    pub state: ReleaseState,
    /// One sentence: where it serves, or why it is quarantined.
    #[serde(default)]
    pub state_text: String,
    /// Where it came from.
    pub provenance: Option<Provenance>,
    /// Its rollouts, newest first.
    #[serde(default)]
    pub rollouts: Vec<String>,
    /// Incidents that name it.
    #[serde(default)]
    pub incidents: Vec<String>,
}
