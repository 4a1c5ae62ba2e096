//! Starts rollouts: for a run, back to an earlier release, or as a person asks.

use std::sync::Arc;

use trimtab_model::{Actor, EnvironmentName, ReleaseId, RolloutId, RunId, ServiceName};
use trimtab_pipeline::{Plan as RunPlan, RolloutOutcome, State as RunState};
use trimtab_rollout::direct::Direct;
use trimtab_rollout::group::{Member, Membership};
use trimtab_rollout::{End, Event, Freeze, Hooks, Instances, Limits, Plan, Strategy};

use crate::blueprint;
use crate::clock;
use crate::flag_hands::{self, Before};
use crate::forecast;
use crate::host::{Snapshot, number_of};
use crate::machines::Rollouts;
use crate::world::{PRODUCTION, World};

/// Starts the rollout of a run's release, or finds the one that was started before a crash, and
/// waits for its end.
pub(crate) async fn for_run(
    world: &Arc<World>,
    plan: &RunPlan,
    state: &RunState,
    environment: &EnvironmentName,
) -> RolloutOutcome {
    let Some(release) = &state.release else {
        return RolloutOutcome::Failed {
            reason: "the run has no release".to_owned(),
        };
    };
    let started = world
        .rollouts_of(&plan.service, environment)
        .into_iter()
        .find(|rollout| rollout.plan.run.as_ref() == Some(&plan.run) && rollout.plan.candidate == *release);
    if started.is_none()
        && environment.as_str() == PRODUCTION
        && let Some(joined) = crate::groups::join(world, plan, release).await
    {
        return match joined {
            Ok(rollout) => ended(world, &rollout).await,
            Err(reason) => RolloutOutcome::Failed { reason },
        };
    }
    let rollout = match started {
        Some(rollout) => rollout,
        None => match start(
            world,
            environment,
            release,
            Some(plan.run.clone()),
            &Actor::trimtab(),
            false,
        )
        .await
        {
            Ok(rollout) => rollout,
            Err(reason) => return RolloutOutcome::Failed { reason },
        },
    };
    ended(world, &rollout.id).await
}

/// Starts a rollout of `release`; one that is under way there is superseded first. `direct` skips
/// tests, watch and holdback: a return to a release that is known good.
pub async fn start(
    world: &Arc<World>,
    environment: &EnvironmentName,
    release: &ReleaseId,
    run: Option<RunId>,
    by: &Actor,
    direct: bool,
) -> Result<Snapshot<Rollouts>, String> {
    start_as(world, environment, release, run, by, direct, None).await
}

/// Starts the rollout of a member of a group.
pub(crate) async fn start_member(
    world: &Arc<World>,
    environment: &EnvironmentName,
    wanted: &Member,
    by: &Actor,
    membership: Membership,
) -> Result<Snapshot<Rollouts>, String> {
    let run = wanted.run.clone();
    start_as(
        world,
        environment,
        &wanted.release,
        run,
        by,
        false,
        Some(membership),
    )
    .await
}

async fn start_as(
    world: &Arc<World>,
    environment: &EnvironmentName,
    release: &ReleaseId,
    run: Option<RunId>,
    by: &Actor,
    direct: bool,
    group: Option<Membership>,
) -> Result<Snapshot<Rollouts>, String> {
    let (recorded, project) = world.release(release).map_err(|error| error.to_string())?;
    let service = recorded.release.service.clone();
    if let Some(quarantine) = world.releases.quarantined(release) {
        return Err(format!(
            "{release} is quarantined ({}); `trimtab` deploys it again once a person clears it",
            quarantine.reason
        ));
    }
    bound(world, &service, environment, release)?;
    let plain = direct || environment.as_str() != PRODUCTION;
    let problems = world.grants.problems_of_hooks(&project);
    if !plain && !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    let place = (service.clone(), environment.clone());
    let _unscaled = world.scales.interrupt(&place).await;
    supersede(world, &service, environment).await?;
    let baseline = world
        .stable(&service, environment)
        .filter(|stable| stable != release);
    let (strategy, hooks, freezes) = match plain {
        true => direct_way(&project),
        false => full_way(world, (&service, environment), &project, baseline.as_ref())?,
    };
    let strategy = match group {
        Some(_) => strategy.in_group(),
        None => strategy,
    };
    let limits = Limits {
        hook_ms: hook_ms(&project),
        ..Limits::default()
    };
    let now = clock::now();
    let before = match plain {
        true => None,
        false => forecast::traffic_before(world, &service, environment, now).await,
    };
    let made = world.machines().rollouts.create(by, |number| Plan {
        rollout: rollout_id(number),
        service,
        environment: environment.clone(),
        run,
        candidate: release.clone(),
        candidate_digest: recorded.release.artifact.clone(),
        baseline,
        started_at: now,
        strategy,
        limits,
        hooks,
        freezes,
        group,
        before,
    });
    made.await.map_err(|error| error.to_string())
}

/// What returns to a known release asks nobody: no steps, no analysis, no gates, no freezes.
fn direct_way(project: &trimtab_project::Project) -> (Strategy, Hooks, Vec<Freeze>) {
    let drain_ms = project.production.drain.as_millis();
    let strategy = Strategy::Direct(Direct { drain_ms });
    (strategy, Hooks::default(), Vec::new())
}

fn full_way(
    world: &World,
    place: (&ServiceName, &EnvironmentName),
    project: &trimtab_project::Project,
    baseline: Option<&ReleaseId>,
) -> Result<(Strategy, Hooks, Vec<Freeze>), String> {
    let before = baseline.and_then(|release| world.release(release).ok());
    let wanted = |project: &trimtab_project::Project| world.scales.wanted(project, place.1);
    let instances = Instances {
        candidate: wanted(project),
        baseline: before.map_or(1, |(_, before)| wanted(&before)),
    };
    let strategy = match blueprint::strategy(project, instances) {
        Strategy::Flag(flag) => of_flag(world, place, project, flag)?,
        strategy => strategy,
    };
    let freezes = blueprint::freezes(project, clock::now());
    Ok((strategy, blueprint::hooks(project), freezes))
}

/// A flag that everybody has on already has no steps left: only its release is rolled out.
fn of_flag(
    world: &World,
    (service, environment): (&ServiceName, &EnvironmentName),
    project: &trimtab_project::Project,
    flag: trimtab_rollout::flag::Flag,
) -> Result<Strategy, String> {
    let Some(settings) = &project.production.flag else {
        return Ok(Strategy::Flag(flag));
    };
    Ok(match flag_hands::before(world, service, environment, settings)? {
        Before::Off => Strategy::Flag(flag),
        Before::OnForAll => Strategy::BlueGreen(blueprint::blue_green(&project.production)),
    })
}

/// Ends the rollout that is under way in an environment, if one is.
async fn supersede(
    world: &Arc<World>,
    service: &ServiceName,
    environment: &EnvironmentName,
) -> Result<(), String> {
    let rollouts = &world.machines().rollouts;
    for under_way in world.rollouts_of(service, environment) {
        if under_way.state.end().is_some() {
            continue;
        }
        let by =
            RolloutId::new(format!("rollout-{}", rollouts.list().len() + 1)).map_err(|e| e.to_string())?;
        let at = clock::now();
        rollouts
            .send(&under_way.id, Event::Superseded { at, by })
            .await
            .map_err(|error| error.to_string())?;
        ended(world, &under_way.id).await;
    }
    Ok(())
}

/// Refuses a release that lies before a migration which took away what it needs.
fn bound(
    world: &World,
    service: &ServiceName,
    environment: &EnvironmentName,
    release: &ReleaseId,
) -> Result<(), String> {
    let later = |other: &ReleaseId| number_of(&other.as_str().replace("-r", "-"));
    let contracted = world
        .rollouts_of(service, environment)
        .into_iter()
        .find(|rollout| rollout.state.irreversible && later(&rollout.plan.candidate) > later(release));
    match contracted {
        None => Ok(()),
        Some(rollout) => Err(format!(
            "{environment} of {service} cannot be rolled back past {}: its migration took away what {release} \
             needs; deploy a newer release instead",
            rollout.plan.candidate
        )),
    }
}

/// The longest that a hook may take, and a little for its end to be reported.
fn hook_ms(project: &trimtab_project::Project) -> u64 {
    const GRACE_MS: u64 = 30_000;
    let jobs = project.production.jobs();
    let longest = jobs.iter().map(|(_, job)| job.longest_ms()).max();
    longest.unwrap_or(0) + GRACE_MS
}

/// Takes `release` off an environment: ends its rollout if that is under way, else returns to the
/// release before it, else stops it.
pub(crate) async fn back_from(
    world: &Arc<World>,
    service: &ServiceName,
    environment: &EnvironmentName,
    release: &ReleaseId,
    run: Option<&RunId>,
) -> Result<RolloutOutcome, String> {
    let rollouts = &world.machines().rollouts;
    let under_way = world
        .rollouts_of(service, environment)
        .into_iter()
        .find(|rollout| rollout.plan.candidate == *release && rollout.state.end().is_none());
    if let Some(rollout) = under_way {
        let aborted = Event::Aborted {
            at: clock::now(),
            by: Actor::trimtab(),
        };
        rollouts
            .send(&rollout.id, aborted)
            .await
            .map_err(|error| error.to_string())?;
        ended(world, &rollout.id).await;
        return Ok(RolloutOutcome::Deployed);
    }
    if world.stable(service, environment).as_ref() != Some(release) {
        return Ok(RolloutOutcome::Deployed);
    }
    match world.previous(service, environment, release) {
        Some(previous) => {
            let rollout = start(
                world,
                environment,
                &previous,
                run.cloned(),
                &Actor::trimtab(),
                true,
            )
            .await?;
            Ok(ended(world, &rollout.id).await)
        }
        None => {
            let place = (service.clone(), environment.clone());
            let _unscaled = world.scales.interrupt(&place).await;
            world
                .traffic
                .forget(service, environment, release)
                .await
                .map_err(|error| error.to_string())?;
            let (_, project) = world.release(release).map_err(|error| error.to_string())?;
            let grace = project.run.stop_grace.0;
            world
                .fleet
                .stop(release, environment, |_| true, grace)
                .await
                .map_err(|error| error.to_string())?;
            if let Some(rollout) = world.deployed_by(service, environment, release) {
                let gone = world.releases.withdraw(release, &rollout, Actor::trimtab());
                gone.await.map_err(|error| error.to_string())?;
            }
            Ok(RolloutOutcome::Deployed)
        }
    }
}

/// Waits for the end of a rollout.
pub(crate) async fn ended(world: &World, id: &str) -> RolloutOutcome {
    let Some(mut watch) = world.machines().rollouts.watch(id) else {
        return RolloutOutcome::Failed {
            reason: format!("there is no {id}"),
        };
    };
    let seen = watch.wait_for(|rollout| rollout.state.end().is_some()).await;
    match seen.ok().and_then(|rollout| rollout.state.end().cloned()) {
        Some(End::Deployed) => RolloutOutcome::Deployed,
        Some(End::FlagDisabled { reason }) => RolloutOutcome::RolledBack {
            reason: format!("its flag was disabled: {reason}"),
        },
        Some(End::RolledBack { reason }) => RolloutOutcome::RolledBack { reason },
        Some(End::Failed { reason }) => RolloutOutcome::Failed { reason },
        None => RolloutOutcome::Failed {
            reason: "the control process is stopping".to_owned(),
        },
    }
}

fn rollout_id(number: u64) -> RolloutId {
    match RolloutId::new(format!("rollout-{number}")) {
        Ok(id) => id,
        // `rollout-` and digits follow the rules of names.
        Err(_) => unreachable!("rollout-{number}"),
    }
}
