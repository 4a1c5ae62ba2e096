//! What control takes from a release's `trimtab.yaml`, beside the parsed file itself.

use std::time::Duration;

use trimtab_detection::verdict::Config;
use trimtab_incident::GuardRails;
use trimtab_model::Weight;
use trimtab_pipeline::{Stage, StagePlan};
use trimtab_project::{Command, Inconclusive, Project};
use trimtab_rollout::blue_green::BlueGreen;
use trimtab_rollout::{OnInconclusive, OnRegressed, Strategy};
use trimtab_runtime::HealthCheck;

/// Beyond its own limit, how long a step may take to be killed and reported.
const STEP_GRACE: Duration = Duration::from_secs(30);
const ARTIFACT_LIMIT: Duration = Duration::from_secs(120);
const STAGING_LIMIT: Duration = Duration::from_secs(300);
/// A rollout has deadlines of its own in every phase; this one only bounds their sum.
const PRODUCTION_LIMIT: Duration = Duration::from_secs(72 * 3600);
/// How often an inconclusive watch is extended before a person is asked.
const EXTENSIONS_MAX: u32 = 3;

/// Reads a project file kept with a release; its problems as one text.
pub fn parse(text: &str) -> Result<Project, String> {
    trimtab_project::parse("trimtab.yaml", text).map_err(|problems| {
        problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// The shell line of a job stage, if the project has one.
pub fn command(project: &Project, stage: Stage) -> Option<&Command> {
    let staging = project.staging.as_ref();
    match stage {
        Stage::Install => project.pipeline.install.as_ref(),
        Stage::Build => project.pipeline.build.as_ref(),
        Stage::Unit => project.pipeline.unit.as_ref(),
        Stage::Integration => project.pipeline.integration.as_ref(),
        Stage::E2e => project.pipeline.e2e.as_ref(),
        Stage::Smoke => staging?.smoke.as_ref(),
        Stage::StagingIntegration => staging?.integration.as_ref(),
        Stage::Performance => staging?.performance.as_ref(),
        Stage::Artifact | Stage::DeployStaging | Stage::Approval | Stage::DeployProduction => None,
    }
}

/// The stages of a run. What must pass to get to the commit's artifact is the commit's own; gates and
/// approvers are those of the protected branch.
pub fn stages(commit: &Project, protected: &Project) -> Vec<StagePlan> {
    let limit = |stage: Stage| match stage {
        Stage::Artifact => Some(ARTIFACT_LIMIT),
        Stage::DeployStaging => protected.staging.as_ref().map(|_| STAGING_LIMIT),
        Stage::DeployProduction => Some(PRODUCTION_LIMIT),
        Stage::Approval => protected
            .staging
            .as_ref()?
            .approval
            .as_ref()
            .map(|approval| approval.timeout.0),
        gate if gate.is_staging_gate() => command(protected, gate).map(|step| step.timeout.0 + STEP_GRACE),
        job => command(commit, job).map(|step| step.timeout.0 + STEP_GRACE),
    };
    Stage::ALL
        .into_iter()
        .filter_map(|stage| {
            limit(stage).map(|limit| StagePlan {
                stage,
                deadline_ms: millis(limit),
            })
        })
        .collect()
}

/// How production is rolled out to.
pub fn strategy(project: &Project) -> Strategy {
    let production = &project.production;
    Strategy::BlueGreen(BlueGreen {
        test: production.test.is_some(),
        holdback: Weight::from_percent(production.holdback.percent()).unwrap_or(Weight::ZERO),
        watch_ms: production.watch.as_millis(),
        drain_ms: production.drain.as_millis(),
        decommission_after_ms: production.decommission_after.as_millis(),
        on_inconclusive: match production.verdict.on_inconclusive {
            Inconclusive::Pass => OnInconclusive::Pass,
            Inconclusive::Extend => OnInconclusive::Extend,
            Inconclusive::Ask => OnInconclusive::Ask,
            Inconclusive::Rollback => OnInconclusive::RollBack,
        },
        extensions_max: EXTENSIONS_MAX,
        on_regressed: OnRegressed::Protect,
    })
}

/// The team's settings of the verdict.
pub fn verdict_config(project: &Project) -> Config {
    let verdict = &project.production.verdict;
    Config {
        alpha: verdict.alpha.fraction(),
        tolerance: verdict.tolerance.fraction(),
        requests_enough: (verdict.requests_min > 0).then_some(verdict.requests_min),
        ..Config::default()
    }
}

/// Limits on acting by itself.
pub fn guard_rails(project: &Project) -> GuardRails {
    let actions = &project.actions;
    GuardRails {
        automatic: actions.automatic,
        dry_run: actions.dry_run,
        per_hour_max: actions.per_hour_max,
        cooldown_ms: actions.cooldown.as_millis(),
    }
}

/// How instances are asked whether they are well.
pub fn health_check(project: &Project) -> HealthCheck {
    let health = &project.run.health;
    HealthCheck {
        path: health.path.clone(),
        interval: health.interval.0,
        timeout: health.timeout.0,
        healthy_after: health.healthy_after,
        unhealthy_after: health.unhealthy_after,
        start_timeout: health.start_timeout.0,
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
