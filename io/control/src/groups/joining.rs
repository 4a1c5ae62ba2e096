//! Runs of services that belong together meet before production.

use std::sync::Arc;
use std::time::Duration;

use trimtab_model::{Actor, ReleaseId, RunId, ServiceName};
use trimtab_pipeline::{Plan as RunPlan, Stage};
use trimtab_rollout::End;

use super::{Wanted, start};
use crate::host::Snapshot;
use crate::machines::Groups;
use crate::world::{PRODUCTION, Together, World, environment};

/// Between two looks at the other runs.
const LOOK: Duration = Duration::from_millis(250);

/// Waits for the runs of the other services of its group, and for the rollout that a run's release gets as a
/// member. None: the release goes alone.
pub(crate) async fn join(
    world: &Arc<World>,
    plan: &RunPlan,
    release: &ReleaseId,
) -> Option<Result<String, String>> {
    let has = |together: &&Together| together.services.iter().any(|(name, _)| *name == plan.service);
    let together = world.groups.iter().find(has)?;
    let deadline = tokio::time::Instant::now() + together.wait;
    loop {
        if let Some((group, member)) = group_of(world, &plan.run, release) {
            return Some(member_of(world, &group, member).await);
        }
        let ready = ready(world, together);
        let over = tokio::time::Instant::now() >= deadline;
        if over && ready.len() < 2 {
            return None;
        }
        // One of them makes the group: the first in its order.
        let first = ready.first().is_some_and(|(service, _)| *service == plan.service);
        if first && (over || ready.len() == together.services.len()) {
            let wanted: Vec<Wanted> = ready.into_iter().map(|(_, wanted)| wanted).collect();
            let place = environment(PRODUCTION);
            let made = start(world, &place, &wanted, &Actor::trimtab(), "their runs are ready").await;
            if let Err(reason) = made {
                return Some(Err(reason));
            }
            continue;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The group that a run's release is in, and its place there.
fn group_of(world: &World, run: &RunId, release: &ReleaseId) -> Option<(Snapshot<Groups>, usize)> {
    let all = world.machines().groups.list();
    all.into_iter().rev().find_map(|group| {
        let mut members = group.plan.members.iter();
        let place = members.position(|member| member.run.as_ref() == Some(run) && member.release == *release);
        place.map(|place| (group, place))
    })
}

/// The runs of a group's services that are ready for production, in its order.
fn ready(world: &World, together: &Together) -> Vec<(ServiceName, Wanted)> {
    let runs = world.machines().runs.list();
    let of = |(service, weight): &(ServiceName, u32)| {
        let run = runs.iter().rev().find(|run| run.plan.service == *service)?;
        let waits = run.state.end().is_none() && run.state.stage() == Some(Stage::DeployProduction);
        let release = run.state.release.clone().filter(|_| waits)?;
        let wanted = Wanted {
            release,
            weight: *weight,
            run: Some(run.plan.run.clone()),
        };
        group_of(world, &run.plan.run, &wanted.release)
            .is_none()
            .then(|| (service.clone(), wanted))
    };
    together.services.iter().filter_map(of).collect()
}

/// A member's rollout, once it is started.
async fn member_of(world: &World, group: &Snapshot<Groups>, member: usize) -> Result<String, String> {
    let known = world.machines().groups.watch(&group.id);
    let Some(mut watch) = known else {
        return Err(format!("there is no {}", group.id));
    };
    let seen = watch.wait_for(|group| {
        let progress = group.state.members.get(member);
        progress.is_none_or(|progress| progress.rollout.is_some() || progress.end.is_some())
    });
    let progress = seen
        .await
        .ok()
        .and_then(|group| group.state.members.get(member).cloned());
    match progress.map(|progress| (progress.rollout, progress.end)) {
        Some((Some(rollout), _)) => Ok(rollout.to_string()),
        Some((None, Some(End::Failed { reason } | End::RolledBack { reason }))) => Err(reason),
        Some((None, _)) | None => Err("the control process is stopping".to_owned()),
    }
}
