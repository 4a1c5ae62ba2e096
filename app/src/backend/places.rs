//! Services, releases, and the examination of the program itself.

use std::collections::BTreeMap;

use trimtab_api as api;
use trimtab_api::{
    Check, CheckState, Doctor, Environment, Fault, HealthStatus, Release, ReleaseState, Service,
};
use trimtab_control::clock;
use trimtab_control::world::{PRODUCTION, STAGING, environment};
use trimtab_model::{ServiceName, Severity};
use trimtab_proxy::Health;
use trimtab_runtime::InstanceState;
use trimtab_telemetry::promql::Value;

use super::forge::Told;
use super::{AppBackend, moment, unavailable};

impl AppBackend {
    pub(super) async fn service_list(&self) -> Result<Vec<Service>, Fault> {
        let running = self.world.fleet.runtime().list().await.map_err(unavailable)?;
        let seen = self.seen_of_instances().await;
        let mut services = Vec::new();
        for name in self.services_known() {
            let repository = self.world.repository(&name);
            services.push(Service {
                repository: repository.map(|found| found.path.display().to_string()),
                branch: repository.map(|found| found.branch.clone()),
                environments: [PRODUCTION, STAGING]
                    .into_iter()
                    .map(|place| self.place(&name, place, &running, &seen))
                    .collect(),
                name: name.to_string(),
            });
        }
        Ok(services)
    }

    /// What series and probes tell of instances, by instance.
    async fn seen_of_instances(&self) -> BTreeMap<String, Seen> {
        let mut all: BTreeMap<String, Seen> = BTreeMap::new();
        let now = clock::now();
        for (name, is_cpu) in [("cpu_percent", true), ("memory_bytes", false)] {
            let query = format!("last_over_time(trimtab_instance_{name}[15s])");
            let Ok(Value::Vector(found)) = self.value(&query, now).await else {
                continue;
            };
            for sample in found {
                let Some(instance) = sample.labels.get("instance") else {
                    continue;
                };
                let seen = all.entry(instance.to_owned()).or_default();
                if is_cpu {
                    seen.cpu_percent = Some(sample.value);
                } else {
                    seen.memory_bytes = Some(sample.value.max(0.0) as u64);
                }
            }
        }
        if let Ok(status) = self.world.traffic.proxy().status().await {
            for endpoint in status.endpoints {
                let seen = all.entry(endpoint.instance.to_string()).or_default();
                seen.probe = Some(match endpoint.health {
                    Health::Healthy => "passes its probes".to_owned(),
                    other => format!("probes: {other:?}").to_lowercase(),
                });
            }
        }
        all
    }

    fn place(
        &self,
        service: &ServiceName,
        place: &'static str,
        running: &[trimtab_runtime::Instance],
        seen: &BTreeMap<String, Seen>,
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
        let incidents = self.world.machines().incidents.list();
        let worst = incidents
            .iter()
            .filter(|incident| incident.plan.service == *service && incident.plan.environment == wanted)
            .filter(|incident| incident.state.end().is_none())
            .map(|incident| incident.state.severity)
            .max();
        let health = match (&stable, serving, worst) {
            (None, _, _) => HealthStatus::Unknown,
            (Some(_), 0, _) | (Some(_), _, Some(Severity::Critical)) => HealthStatus::Critical,
            (Some(_), _, Some(Severity::High | Severity::Medium)) => HealthStatus::Degraded,
            (Some(_), _, Some(Severity::Low) | None) => HealthStatus::Healthy,
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
            entrance: self.entrance_state(service, &wanted),
            scale: self.scale_state(service, &wanted),
            health,
            instances: own
                .into_iter()
                .map(|found| instance(found, seen.get(found.id.as_str())))
                .collect(),
        }
    }

    pub(super) async fn release_list(&self, service: Option<&str>) -> Result<Vec<Release>, Fault> {
        let rollouts = self.world.machines().rollouts.list();
        let incidents = self.world.machines().incidents.list();
        let told = self.told_by_forge().await?;
        let mut all = self.world.releases.all();
        all.retain(|recorded| service.is_none_or(|wanted| wanted == recorded.release.service.as_str()));
        all.sort_by_key(|recorded| std::cmp::Reverse(recorded.release.created_at));
        all.truncate(super::ROWS_MAX);
        let mut releases = Vec::new();
        for recorded in all {
            let provenance = self
                .provenance(recorded.run.as_str(), &recorded.release.commit, &told)
                .await?;
            let release = recorded.release;
            let own: Vec<_> = rollouts
                .iter()
                .filter(|r| r.plan.candidate == release.id)
                .collect();
            let (state, state_text) = self.release_state(&release, &own);
            releases.push(Release {
                rollouts: own.iter().rev().map(|rollout| rollout.id.clone()).collect(),
                incidents: incidents
                    .iter()
                    .filter(|incident| incident.plan.suspect.as_ref() == Some(&release.id))
                    .map(|incident| incident.id.clone())
                    .collect(),
                provenance: Some(provenance),
                id: release.id.to_string(),
                service: release.service.to_string(),
                commit: release.commit,
                title: release.title,
                artifact: release.artifact.0,
                artifact_bytes: None,
                created_at: moment(release.created_at),
                state,
                state_text,
            });
        }
        Ok(releases)
    }

    async fn provenance(&self, run: &str, commit: &str, told: &Told) -> Result<api::Provenance, Fault> {
        let snapshot = self.world.machines().runs.get(run);
        let events = self.stream(&format!("run/{run}")).await?;
        let approved = events.iter().rev().find(|event| event.kind == "run.approved");
        let request = told.request(commit);
        let reviews = request.map_or(&[][..], |request| &request.reviews);
        let results = snapshot.into_iter().flat_map(|run| run.state.results);
        Ok(api::Provenance {
            run: run.to_owned(),
            merge_request: request.map(|request| request.id.clone()),
            author: told.author(commit),
            reviewers: reviews.iter().map(|review| review.author.clone()).collect(),
            approved_by: approved.map(|event| event.actor.0.clone()),
            results: results
                .map(|result| api::StepResult {
                    stage: result.stage.as_str().to_owned(),
                    passed: result.failure.is_none(),
                    duration_ms: u64::try_from(result.finished_at.since(result.started_at).as_millis())
                        .unwrap_or(u64::MAX),
                })
                .collect(),
        })
    }

    fn release_state(
        &self,
        release: &trimtab_model::Release,
        rollouts: &[&trimtab_control::host::Snapshot<trimtab_control::machines::Rollouts>],
    ) -> (ReleaseState, String) {
        if let Some(quarantine) = self.world.releases.quarantined(&release.id) {
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

/// What is known of an instance beside its process.
#[derive(Debug, Clone, Default)]
struct Seen {
    cpu_percent: Option<f64>,
    memory_bytes: Option<u64>,
    probe: Option<String>,
}

fn instance(found: &trimtab_runtime::Instance, seen: Option<&Seen>) -> api::Instance {
    let seen = seen.cloned().unwrap_or_default();
    api::Instance {
        id: found.id.to_string(),
        release: found.release.to_string(),
        address: found.address.to_string(),
        state: match found.state {
            InstanceState::Starting => api::InstanceState::Starting,
            InstanceState::Running => api::InstanceState::Running,
            InstanceState::BackOff => api::InstanceState::BackOff,
            InstanceState::Exited | InstanceState::Lost => api::InstanceState::Exited,
            InstanceState::Unknown => api::InstanceState::Unknown,
            InstanceState::Stopping | InstanceState::Stopped => api::InstanceState::Stopped,
        },
        pid: found.pid,
        restarts: found.restarts,
        started_at: found.started_at.map(moment),
        cpu_percent: seen.cpu_percent,
        memory_bytes: seen.memory_bytes,
        last_probe: seen.probe,
    }
}
