//! What control takes from a release's `trimtab.yaml`, beside the parsed file itself.

use std::time::Duration;

use trimtab_detection::verdict::Config;
use trimtab_incident::GuardRails;
use trimtab_model::{Timestamp, Weight};
use trimtab_pipeline::{Stage, StagePlan};
use trimtab_project::{
    Command, FlagRollout, Inconclusive, Job, Production, Project, Regressed, RunKind, Step, StrategyName,
};
use trimtab_rollout::blue_green::BlueGreen;
use trimtab_rollout::canary::{Canary, CanaryStep};
use trimtab_rollout::flag::{Flag, FlagStep};
use trimtab_rollout::rolling::Rolling;
use trimtab_rollout::{Freeze, Gate, Hook, Hooks, Instances, OnInconclusive, OnRegressed, Plan, Strategy};
use trimtab_runtime::{Ask, HealthCheck, Liveness};

use crate::grants::Grants;

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

/// The same of a file that is to be shipped: its queries are read as well, and what its steps and hooks may have.
pub fn parse_new(text: &str, grants: &Grants) -> Result<Project, String> {
    let project = parse(text)?;
    let mut problems = crate::own_metrics::problems(&project);
    problems.extend(grants.problems_of_hooks(&project));
    problems.extend(grants.problems_of_steps(&project));
    if problems.is_empty() {
        Ok(project)
    } else {
        Err(problems.join("\n"))
    }
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

/// How production is rolled out to, with so many instances of each release.
pub fn strategy(project: &Project, instances: Instances) -> Strategy {
    if project.run.kind != RunKind::Service {
        return Strategy::BlueGreen(quiet(&project.production));
    }
    match project.production.strategy {
        StrategyName::BlueGreen => Strategy::BlueGreen(blue_green(&project.production)),
        StrategyName::Canary => Strategy::Canary(canary(&project.production)),
        StrategyName::Rolling => Strategy::Rolling(rolling(&project.production, instances)),
        StrategyName::Flag => match &project.production.flag {
            Some(settings) => Strategy::Flag(flag(&project.production, settings)),
            // The parser refuses it.
            None => Strategy::BlueGreen(blue_green(&project.production)),
        },
    }
}

pub(crate) fn blue_green(production: &Production) -> BlueGreen {
    BlueGreen {
        test: production.test.is_some(),
        holdback: weight(production.holdback),
        watch_ms: production.watch.as_millis(),
        drain_ms: production.drain.as_millis(),
        decommission_after_ms: production.decommission_after.as_millis(),
        on_inconclusive: inconclusive(production.verdict.on_inconclusive),
        extensions_max: EXTENSIONS_MAX,
        on_regressed: on_regressed(production),
    }
}

/// What has no traffic starts beside the old, is watched, and takes its place. There is nothing to protect by
/// taking traffic from it: a bad one goes at once.
fn quiet(production: &Production) -> BlueGreen {
    BlueGreen {
        holdback: Weight::ZERO,
        // Without requests nothing is left to be proven, but for what the team's metrics say.
        on_inconclusive: match production.verdict.metrics.is_empty() {
            true => OnInconclusive::Pass,
            false => inconclusive(production.verdict.on_inconclusive),
        },
        on_regressed: match on_regressed(production) {
            OnRegressed::Protect => OnRegressed::RollBack,
            other => other,
        },
        ..blue_green(production)
    }
}

fn canary(production: &Production) -> Canary {
    let steps = production.steps.iter().map(|step| CanaryStep {
        weight: weight(step.weight),
        watch_ms: step.watch.as_millis(),
        gate: gate(step),
        requests_min: step.requests_min,
        on_inconclusive: inconclusive(step.on_inconclusive.unwrap_or(production.verdict.on_inconclusive)),
    });
    Canary {
        test: production.test.is_some(),
        steps: steps.collect(),
        drain_ms: production.drain.as_millis(),
        decommission_after_ms: production.decommission_after.as_millis(),
        extensions_max: EXTENSIONS_MAX,
        on_regressed: on_regressed(production),
    }
}

fn flag(production: &Production, settings: &FlagRollout) -> Flag {
    let steps = settings.steps.iter().map(|step| FlagStep {
        share: weight(step.weight),
        // Nobody is left to compare with once everyone has it.
        watch_ms: match weight(step.weight) {
            Weight::FULL => 0,
            _ => step.watch.as_millis(),
        },
        gate: gate(step),
        users_min: step.requests_min,
        on_inconclusive: inconclusive(step.on_inconclusive.unwrap_or(production.verdict.on_inconclusive)),
    });
    Flag {
        key: settings.key.clone(),
        test: production.test.is_some(),
        holdback: weight(production.holdback),
        watch_ms: production.watch.as_millis(),
        on_inconclusive: inconclusive(production.verdict.on_inconclusive),
        steps: steps.collect(),
        drain_ms: production.drain.as_millis(),
        decommission_after_ms: production.decommission_after.as_millis(),
        extensions_max: EXTENSIONS_MAX,
        on_regressed: on_regressed(production),
    }
}

fn gate(step: &Step) -> Gate {
    Gate {
        job: step.job.is_some(),
        approval: step.approval,
        hold_ms: step.pause.as_millis(),
    }
}

fn rolling(production: &Production, instances: Instances) -> Rolling {
    let settings = &production.rolling;
    let Instances { candidate, baseline } = instances;
    Rolling {
        test: production.test.is_some(),
        instances: candidate,
        baseline_instances: baseline,
        surge_max: settings.surge_max.of(candidate, true),
        unavailable_max: settings.unavailable_max.of(candidate, false),
        ready_ms_min: settings.ready_min.as_millis(),
        progress_ms: settings.progress.as_millis(),
        drain_ms: production.drain.as_millis(),
        on_inconclusive: inconclusive(settings.on_inconclusive),
        // Its baseline is being taken apart: there is nothing whole to wait beside.
        on_regressed: match on_regressed(production) {
            OnRegressed::Protect => OnRegressed::RollBack,
            other => other,
        },
    }
}

fn weight(share: trimtab_project::Percent) -> Weight {
    Weight::from_percent(share.percent()).unwrap_or(Weight::ZERO)
}

/// What a watch without a verdict leads to.
pub(crate) fn inconclusive(choice: Inconclusive) -> OnInconclusive {
    match choice {
        Inconclusive::Pass => OnInconclusive::Pass,
        Inconclusive::Extend => OnInconclusive::Extend,
        Inconclusive::Ask => OnInconclusive::Ask,
        Inconclusive::Rollback => OnInconclusive::RollBack,
        Inconclusive::Report => OnInconclusive::Report,
    }
}

fn on_regressed(production: &Production) -> OnRegressed {
    regressed(production.verdict.on_regressed)
}

/// What a regression leads to.
pub(crate) fn regressed(choice: Regressed) -> OnRegressed {
    match choice {
        Regressed::Protect => OnRegressed::Protect,
        Regressed::Rollback => OnRegressed::RollBack,
        Regressed::Extend => OnRegressed::Extend,
        Regressed::Ask => OnRegressed::Ask,
        Regressed::Report => OnRegressed::Report,
    }
}

/// The jobs that run on a rollout's way to production.
pub fn hooks(project: &Project) -> Hooks {
    let hooks = &project.production.hooks;
    Hooks {
        before: hooks.before.is_some(),
        expand: hooks.expand.is_some(),
        contract: hooks.contract.is_some(),
        after: hooks.after.is_some(),
    }
}

/// What a hook of a rollout does, if the project has it.
pub fn hook<'a>(project: &'a Project, plan: &Plan, hook: Hook) -> Option<&'a Job> {
    let hooks = &project.production.hooks;
    match hook {
        Hook::Before => hooks.before.as_ref(),
        Hook::Expand => hooks.expand.as_ref(),
        Hook::Contract => hooks.contract.as_ref(),
        Hook::After => hooks.after.as_ref(),
        Hook::Barrier { .. } => None,
        Hook::Gate { step } => match &plan.strategy {
            Strategy::Flag(_) => {
                // The flag's steps come after those of the release.
                let of_release = plan.steps().iter().filter(|step| step.flag.is_none()).count();
                let settings = project.production.flag.as_ref()?;
                settings.steps.get(step.checked_sub(of_release)?)?.job.as_ref()
            }
            _ => project.production.steps.get(step)?.job.as_ref(),
        },
    }
}

/// How far ahead freezes are laid down in a rollout's plan; no rollout lasts longer.
const FREEZES_AHEAD: Duration = Duration::from_secs(30 * 24 * 3600);

/// When no traffic goes forward.
pub fn freezes(project: &Project, now: Timestamp) -> Vec<Freeze> {
    let freezes = project.production.freezes.iter();
    let stretches = freezes.flat_map(|freeze| freeze.stretches(now, now.plus(FREEZES_AHEAD)));
    stretches.map(|(from, until)| Freeze { from, until }).collect()
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
    let (ask, path) = asked(project.run.asked());
    HealthCheck {
        ask,
        path,
        interval: health.interval.0,
        timeout: health.timeout.0,
        healthy_after: health.healthy_after,
        unhealthy_after: health.unhealthy_after,
        start_timeout: health.start_timeout.0,
    }
}

/// How instances are asked whether they must be restarted.
pub fn liveness(project: &Project) -> Option<Liveness> {
    let liveness = project.run.liveness.as_ref()?;
    let (ask, path) = asked(liveness.ask());
    Some(Liveness {
        check: HealthCheck {
            ask,
            path,
            interval: liveness.interval.0,
            timeout: liveness.timeout.0,
            healthy_after: 1,
            unhealthy_after: liveness.failures,
            ..HealthCheck::default()
        },
        delay: liveness.delay.0,
    })
}

fn asked(wanted: trimtab_project::Ask) -> (Ask, String) {
    use trimtab_project::Ask as Wanted;
    let ask = match wanted {
        Wanted::Path(path) => return (Ask::Http, path),
        Wanted::Tcp => Ask::Tcp,
        Wanted::Command(words) => Ask::Command(words),
        Wanted::Grpc(service) => Ask::Grpc(service),
        Wanted::Running => Ask::Running,
    };
    (ask, HealthCheck::default().path)
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
