//! Rollouts of what has no traffic: workers, judged by whether they go on running, and cron jobs, which only change
//! places.

use std::collections::BTreeMap;
use std::time::Duration;

use trimtab_model::{EnvironmentName, InstanceId, ReleaseId, Timestamp};
use trimtab_project::RunKind;
use trimtab_rollout::Verdict;
use trimtab_runtime::{Instance, InstanceState};

use crate::clock;
use crate::rollout_hands::Work;
use crate::world::World;

/// Between looks at instances that are watched.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// What kind of program a release is; a service when it is not known any more.
pub(crate) fn kind(world: &World, release: &ReleaseId) -> RunKind {
    world
        .release(release)
        .map_or(RunKind::Service, |(_, project)| project.run.kind)
}

impl Work {
    /// Watches a release without traffic to the end of its time.
    pub(crate) async fn observe_quiet(&self, kind: RunKind, until: Timestamp) -> Verdict {
        if kind == RunKind::Cron {
            // Before it is the stable release it is not its turn to run; its exits are told once it does.
            return Verdict::Healthy;
        }
        let (release, environment) = (&self.plan.candidate, &self.plan.environment);
        let mut before = restarts(&self.world, release, environment).await;
        loop {
            if clock::now() >= until {
                return Verdict::Healthy;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
            let Ok(instances) = self.world.fleet.instances(release, environment).await else {
                continue;
            };
            if let Some(reason) = instances.iter().find_map(|instance| ended(instance, &mut before)) {
                return Verdict::regressed(reason);
            }
        }
    }
}

async fn restarts(
    world: &World,
    release: &ReleaseId,
    environment: &EnvironmentName,
) -> BTreeMap<InstanceId, u32> {
    let instances = world
        .fleet
        .instances(release, environment)
        .await
        .unwrap_or_default();
    instances
        .into_iter()
        .map(|instance| (instance.id, instance.restarts))
        .collect()
}

/// Why a worker that should go on running did not, since `before`.
fn ended(instance: &Instance, before: &mut BTreeMap<InstanceId, u32>) -> Option<String> {
    let restarts = *before.entry(instance.id.clone()).or_insert(instance.restarts);
    // Not to know is no end.
    let runs = matches!(
        instance.state,
        InstanceState::Running | InstanceState::Starting | InstanceState::Unknown
    );
    if runs && instance.restarts <= restarts {
        return None;
    }
    let how = instance
        .last_exit
        .as_ref()
        .map_or_else(|| instance.state.to_string(), ToString::to_string);
    let last = instance
        .last_exit
        .as_ref()
        .and_then(|exit| exit.last_lines.last());
    Some(match last {
        Some(line) => format!("{} ended with {how}: {line}", instance.id),
        None => format!("{} ended with {how}", instance.id),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use trimtab_model::Generation;
    use trimtab_runtime::Exit;

    use super::*;

    #[test]
    fn a_worker_is_judged_by_its_ends() {
        let mut instance = Instance {
            id: InstanceId::new("mail-r2-production-1").unwrap(),
            release: ReleaseId::new("mail-r2").unwrap(),
            environment: EnvironmentName::new("production").unwrap(),
            service: trimtab_model::ServiceName::new("mail").unwrap(),
            generation: Generation(1),
            address: ([127, 0, 0, 1], 1).into(),
            pid: Some(7),
            state: InstanceState::Running,
            restarts: 2,
            started_at: None,
            last_exit: None,
            lines_dropped: 0,
            lines_cut: 0,
            problem: None,
            limits: None,
        };
        let mut before = BTreeMap::new();
        assert_eq!(
            ended(&instance, &mut before),
            None,
            "earlier ends are not this watch's"
        );
        instance.restarts = 3;
        instance.last_exit = Some(Exit {
            at: Timestamp(1),
            code: Some(3),
            signal: None,
            last_lines: vec!["no queue".to_owned()],
            reason: None,
        });
        let reason = ended(&instance, &mut before).unwrap();
        assert_eq!(reason, "mail-r2-production-1 ended with exit code 3: no queue");
        (instance.restarts, instance.state) = (2, InstanceState::BackOff);
        assert!(ended(&instance, &mut before).is_some());
    }
}
