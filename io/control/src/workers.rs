//! Rollouts of what has no traffic: workers, judged by whether they go on running and by metrics of the team's own,
//! and cron jobs, which only change places.

use std::collections::BTreeMap;
use std::time::Duration;

use trimtab_detection::verdict::{Standing, Subject};
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, Timestamp};
use trimtab_project::RunKind;
use trimtab_rollout::{Instances, Verdict};
use trimtab_runtime::{Instance, InstanceState};

use crate::clock;
use crate::judgement;
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
    pub(crate) async fn observe_quiet(
        &self,
        kind: RunKind,
        generation: Generation,
        until: Timestamp,
    ) -> Verdict {
        if kind == RunKind::Cron {
            // Before it is the stable release it is not its turn to run; its exits are told once it does.
            return Verdict::Healthy;
        }
        let (release, environment) = (&self.plan.candidate, &self.plan.environment);
        let evidence = &self.world.evidence;
        evidence.belongs_to(&self.plan.rollout, generation);
        let mut before = restarts(&self.world, release, environment).await;
        loop {
            if clock::now() >= until {
                return self.conclude_quiet();
            }
            tokio::time::sleep(LOOK_PAUSE).await;
            let waits = |lane| judgement::waits(&self.state, lane);
            if let Some(Standing::Regressed(call)) = evidence.standing(&self.plan.rollout, waits) {
                return judgement::regressed(call);
            }
            let Ok(instances) = self.world.fleet.instances(release, environment).await else {
                continue;
            };
            if let Some(reason) = instances.iter().find_map(|instance| ended(instance, &mut before)) {
                return Verdict::regressed(reason);
            }
        }
    }

    /// Workers of both releases write lines side by side: each as likely as the others.
    pub(crate) async fn compare_workers(&self) -> Result<(), String> {
        let environment = &self.plan.environment;
        let count = |release| async move {
            let side = self.world.fleet.side(release, environment).await;
            let side = side.map_err(|error| error.to_string())?;
            Ok::<_, String>(u32::try_from(side.endpoints.len()).unwrap_or(u32::MAX))
        };
        let instances = Instances {
            candidate: count(&self.plan.candidate).await?,
            baseline: match &self.plan.baseline {
                Some(baseline) => count(baseline).await?,
                None => 0,
            },
        };
        let evidence = &self.world.evidence;
        evidence.works_at(&self.plan.rollout, instances.weight());
        Ok(())
    }

    /// What is said of a worker that ran to the end of its watch: requests prove nothing of it, the team's metrics do.
    fn conclude_quiet(&self) -> Verdict {
        let settled = |lane| judgement::settled(&self.state, lane);
        let standing = self.world.evidence.standing(&self.plan.rollout, settled);
        let open = match standing {
            Some(Standing::Regressed(call)) => return judgement::regressed(call),
            Some(Standing::Open(open)) => open,
            Some(Standing::Healthy) | None => return Verdict::Healthy,
        };
        let own = open
            .into_iter()
            .filter(|open| matches!(open.subject, Subject::Custom(_)));
        let own: Vec<_> = own.collect();
        match self.world.release(&self.plan.candidate) {
            _ if own.is_empty() => Verdict::Healthy,
            Ok((_, project)) => judgement::open(&project, own, self.on_inconclusive()),
            Err(error) => Verdict::inconclusive(error.to_string()),
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
