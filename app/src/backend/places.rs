//! Services, releases, and the examination of the program itself.

use trimtab_api as api;
use trimtab_api::{
    Check, CheckState, Doctor, Environment, Fault, HealthStatus, Release, ReleaseState, Service,
};
use trimtab_control::clock;
use trimtab_control::world::{PRODUCTION, STAGING, environment};
use trimtab_model::ServiceName;
use trimtab_runtime::InstanceState;

use super::{AppBackend, moment, unavailable};

impl AppBackend {
    pub(super) async fn service_list(&self) -> Result<Vec<Service>, Fault> {
        let running = self.world.fleet.runtime().list().await.map_err(unavailable)?;
        let mut services = Vec::new();
        for name in self.services_known() {
            let repository = self.world.repository(&name);
            services.push(Service {
                repository: repository.map(|found| found.path.display().to_string()),
                branch: repository.map(|found| found.branch.clone()),
                environments: [PRODUCTION, STAGING]
                    .into_iter()
                    .map(|place| self.place(&name, place, &running))
                    .collect(),
                name: name.to_string(),
            });
        }
        Ok(services)
    }

    fn place(
        &self,
        service: &ServiceName,
        place: &'static str,
        running: &[trimtab_runtime::Instance],
    ) -> Environment {
        let wanted = environment(place);
        let rollouts = self.world.rollouts_of(service, &wanted);
        let stable = self.world.stable(service, &wanted);
        let deployed = rollouts
            .iter()
            .rev()
            .find(|rollout| Some(&rollout.plan.candidate) == stable.as_ref());
        let under_way = rollouts
            .iter()
            .rev()
            .find(|rollout| rollout.state.end().is_none());
        let own: Vec<_> = running
            .iter()
            .filter(|instance| instance.service == *service && instance.environment == wanted)
            .collect();
        let serving = own
            .iter()
            .filter(|instance| {
                instance.state == InstanceState::Running && Some(&instance.release) == stable.as_ref()
            })
            .count();
        let health = match (&stable, serving) {
            (None, _) => HealthStatus::Unknown,
            (Some(_), 0) => HealthStatus::Critical,
            (Some(_), _) => HealthStatus::Healthy,
        };
        let recorded = stable
            .as_ref()
            .and_then(|release| self.world.releases.get(release));
        Environment {
            name: place.to_owned(),
            commit: recorded.map(|recorded| recorded.release.commit),
            since: deployed.map(|rollout| moment(rollout.changed_at)),
            release: stable.map(|release| release.to_string()),
            url: None,
            rollout: under_way.map(|rollout| rollout.id.clone()),
            health,
            instances: own.into_iter().map(instance).collect(),
        }
    }

    pub(super) fn release_list(&self, service: Option<&str>) -> Vec<Release> {
        let rollouts = self.world.machines().rollouts.list();
        let incidents = self.world.machines().incidents.list();
        let mut all = self.world.releases.all();
        all.retain(|recorded| service.is_none_or(|wanted| wanted == recorded.release.service.as_str()));
        all.sort_by_key(|recorded| std::cmp::Reverse(recorded.release.created_at));
        let view = |recorded: trimtab_control::releases::Recorded| {
            let release = recorded.release;
            let own: Vec<_> = rollouts
                .iter()
                .filter(|r| r.plan.candidate == release.id)
                .collect();
            let (state, state_text) = self.release_state(&release, &own);
            Release {
                rollouts: own.iter().map(|rollout| rollout.id.clone()).collect(),
                incidents: incidents
                    .iter()
                    .filter(|incident| incident.plan.suspect.as_ref() == Some(&release.id))
                    .map(|incident| incident.id.clone())
                    .collect(),
                provenance: Some(self.provenance(recorded.run.as_str())),
                id: release.id.to_string(),
                service: release.service.to_string(),
                commit: release.commit,
                title: release.title,
                artifact: release.artifact.0,
                artifact_bytes: None,
                created_at: moment(release.created_at),
                state,
                state_text,
            }
        };
        all.into_iter().map(view).collect()
    }

    fn provenance(&self, run: &str) -> api::Provenance {
        let snapshot = self.world.machines().runs.get(run);
        let results = snapshot.into_iter().flat_map(|run| run.state.results);
        api::Provenance {
            run: run.to_owned(),
            merge_request: None,
            author: None,
            reviewers: Vec::new(),
            approved_by: None,
            results: results
                .map(|result| api::StepResult {
                    stage: result.stage.as_str().to_owned(),
                    passed: result.failure.is_none(),
                    duration_ms: u64::try_from(result.finished_at.since(result.started_at).as_millis())
                        .unwrap_or(u64::MAX),
                })
                .collect(),
        }
    }

    fn release_state(
        &self,
        release: &trimtab_model::Release,
        rollouts: &[&trimtab_control::host::Snapshot<trimtab_control::machines::Rollouts>],
    ) -> (ReleaseState, String) {
        if let Some(quarantine) = self.world.releases.quarantined(&release.artifact) {
            return (
                ReleaseState::Quarantined,
                format!("quarantined: {}", quarantine.reason),
            );
        }
        let stable =
            |place| self.world.stable(&release.service, &environment(place)).as_ref() == Some(&release.id);
        if let Some(under_way) = rollouts.iter().find(|rollout| rollout.state.end().is_none()) {
            let text = format!("{}: {}", under_way.plan.environment, under_way.state.describe());
            return (ReleaseState::RollingOut, text);
        }
        if stable(PRODUCTION) {
            return (ReleaseState::Live, "serves production".to_owned());
        }
        if stable(STAGING) {
            return (ReleaseState::Staging, "serves staging".to_owned());
        }
        if rollouts.is_empty() {
            return (ReleaseState::Built, "built".to_owned());
        }
        (ReleaseState::Retired, "retired".to_owned())
    }

    pub(super) async fn examine(&self) -> Result<Doctor, Fault> {
        let journal = self.world.journal.stats();
        let store = self.world.store.stats();
        let outbox = self.world.outbox.counts().await.map_err(unavailable)?;
        let proxy = self.world.traffic.proxy().status().await;
        let check = |name: &str, fine: bool, text: String, mend: &str| Check {
            name: name.to_owned(),
            state: if fine { CheckState::Ok } else { CheckState::Warning },
            text,
            mend: if fine { String::new() } else { mend.to_owned() },
        };
        let mut checks = vec![
            check(
                "journal",
                true,
                format!("{} events, {} bytes", journal.last_position, journal.file_bytes),
                "",
            ),
            check(
                "signals",
                store.damaged_files == 0,
                format!(
                    "{} rows accepted, {} damaged files",
                    store.accepted, store.damaged_files
                ),
                "look at the server's log: it names each damaged file",
            ),
            check(
                "notifications",
                outbox.dead == 0,
                format!("{} waiting, {} dead letters", outbox.waiting, outbox.dead),
                "correct `notify` in trimtab-server.yaml, then retry them on the notifications page",
            ),
            check(
                "repositories",
                self.world
                    .repositories
                    .iter()
                    .all(|repository| repository.path.exists()),
                format!("{} configured", self.world.repositories.len()),
                "correct the paths of `repositories` in trimtab-server.yaml",
            ),
        ];
        let (fine, text) = match proxy {
            Ok(_) => (true, "it answers".to_owned()),
            Err(error) => (false, error.to_string()),
        };
        checks.push(check(
            "proxy",
            fine,
            text,
            "restart `trimtab serve`: it starts the proxy again",
        ));
        Ok(Doctor {
            checks,
            as_of: moment(clock::now()),
        })
    }
}

fn instance(found: &trimtab_runtime::Instance) -> api::Instance {
    api::Instance {
        id: found.id.to_string(),
        release: found.release.to_string(),
        address: found.address.to_string(),
        state: match found.state {
            InstanceState::Starting => api::InstanceState::Starting,
            InstanceState::Running => api::InstanceState::Running,
            InstanceState::BackOff => api::InstanceState::BackOff,
            InstanceState::Exited | InstanceState::Lost => api::InstanceState::Exited,
            InstanceState::Stopping | InstanceState::Stopped => api::InstanceState::Stopped,
        },
        pid: found.pid,
        restarts: found.restarts,
        started_at: found.started_at.map(moment),
        cpu_percent: None,
        memory_bytes: None,
        last_probe: None,
    }
}
