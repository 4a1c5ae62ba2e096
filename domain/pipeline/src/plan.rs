//! What a run sets out to do.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, Role, RunId, ServiceName, Timestamp};

/// The stages of a run in their order; a run passes those that its plan names and skips the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Fetch what the build needs (A.B2).
    Install,
    /// Compile (A.B3).
    Build,
    /// Unit tests (A.B4).
    Unit,
    /// Integration tests in the checkout (A.B5).
    Integration,
    /// End-to-end tests in the checkout (A.B6).
    E2e,
    /// Pack and record the artifact (A.B9).
    Artifact,
    /// Roll the release out to staging (A.S1).
    DeployStaging,
    /// Smoke tests against staging (A.S2).
    Smoke,
    /// Integration tests against staging (A.S3).
    StagingIntegration,
    /// Performance tests against staging (A.S4).
    Performance,
    /// A named person says yes or no (A.S7, A.S8).
    Approval,
    /// Roll the release out to production by its strategy (A.P1 to A.P8).
    DeployProduction,
}

impl Stage {
    /// All stages, first to last.
    pub const ALL: [Stage; 12] = [
        Stage::Install,
        Stage::Build,
        Stage::Unit,
        Stage::Integration,
        Stage::E2e,
        Stage::Artifact,
        Stage::DeployStaging,
        Stage::Smoke,
        Stage::StagingIntegration,
        Stage::Performance,
        Stage::Approval,
        Stage::DeployProduction,
    ];

    /// The stage as its field in serialized form: `install`, `deploy_staging`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Install => "install",
            Stage::Build => "build",
            Stage::Unit => "unit",
            Stage::Integration => "integration",
            Stage::E2e => "e2e",
            Stage::Artifact => "artifact",
            Stage::DeployStaging => "deploy_staging",
            Stage::Smoke => "smoke",
            Stage::StagingIntegration => "staging_integration",
            Stage::Performance => "performance",
            Stage::Approval => "approval",
            Stage::DeployProduction => "deploy_production",
        }
    }

    /// The stage as people read it.
    pub fn title(self) -> &'static str {
        match self {
            Stage::Install => "install dependencies",
            Stage::Build => "build",
            Stage::Unit => "unit tests",
            Stage::Integration => "integration tests",
            Stage::E2e => "end-to-end tests",
            Stage::Artifact => "create artifact",
            Stage::DeployStaging => "deploy to staging",
            Stage::Smoke => "smoke tests",
            Stage::StagingIntegration => "staging integration tests",
            Stage::Performance => "performance tests",
            Stage::Approval => "approval",
            Stage::DeployProduction => "deploy to production",
        }
    }

    /// True for stages that run a command of the project's own.
    pub fn is_job(self) -> bool {
        match self {
            Stage::Install
            | Stage::Build
            | Stage::Unit
            | Stage::Integration
            | Stage::E2e
            | Stage::Smoke
            | Stage::StagingIntegration
            | Stage::Performance => true,
            Stage::Artifact | Stage::DeployStaging | Stage::Approval | Stage::DeployProduction => false,
        }
    }

    /// True for the stages whose failure takes the release off staging again (A.S6).
    pub fn is_staging_gate(self) -> bool {
        match self {
            Stage::Smoke | Stage::StagingIntegration | Stage::Performance | Stage::Approval => true,
            Stage::Install
            | Stage::Build
            | Stage::Unit
            | Stage::Integration
            | Stage::E2e
            | Stage::Artifact
            | Stage::DeployStaging
            | Stage::DeployProduction => false,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// One stage of a run and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    /// Which one.
    pub stage: Stage,
    /// Milliseconds after which the stage is given up. For a job this is a backstop over the
    /// runner's own limit, so leave it some seconds longer.
    pub deadline_ms: u64,
}

/// What a run sets out to do; fixed when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The run.
    pub run: RunId,
    /// The service it builds.
    pub service: ServiceName,
    /// The commit it builds, 40 hex digits.
    pub commit: String,
    /// First line of the commit's message.
    pub title: String,
    /// When the run was asked for.
    pub started_at: Timestamp,
    /// The environment of [`Stage::DeployStaging`].
    pub staging: EnvironmentName,
    /// The environment of [`Stage::DeployProduction`].
    pub production: EnvironmentName,
    /// Who may approve; used when the stages hold [`Stage::Approval`].
    pub approver: Role,
    /// The stages to pass; their order and repeats here do not matter, the order is [`Stage::ALL`].
    pub stages: Vec<StagePlan>,
}

impl Plan {
    /// The first stage after `stage` that this run has; with none given, its very first.
    pub fn next_after(&self, stage: Option<Stage>) -> Option<Stage> {
        self.stages
            .iter()
            .map(|plan| plan.stage)
            .filter(|next| stage.is_none_or(|stage| *next > stage))
            .min()
    }

    /// True when the run has this stage.
    pub fn has(&self, stage: Stage) -> bool {
        self.stages.iter().any(|plan| plan.stage == stage)
    }

    /// Milliseconds after which `stage` is given up.
    pub fn deadline_ms(&self, stage: Stage) -> u64 {
        self.stages
            .iter()
            .find(|plan| plan.stage == stage)
            .map_or(0, |plan| plan.deadline_ms)
    }

    /// The environment that a deploying stage rolls out to.
    pub fn environment(&self, stage: Stage) -> Option<&EnvironmentName> {
        match stage {
            Stage::DeployStaging => Some(&self.staging),
            Stage::DeployProduction => Some(&self.production),
            Stage::Install
            | Stage::Build
            | Stage::Unit
            | Stage::Integration
            | Stage::E2e
            | Stage::Artifact
            | Stage::Smoke
            | Stage::StagingIntegration
            | Stage::Performance
            | Stage::Approval => None,
        }
    }
}
