//! Runs cron jobs: the stable release of each service that is one, in production, when its schedule says.
//!
//! What is done is in the journal first, in a stream `job/<service>`: `job.started`, `job.finished`, `job.failed`,
//! `job.skipped`, `job.missed`.

mod due;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use trimtab_journal::{Expected, NewEvent};
use trimtab_model::{
    Actor, EnvironmentName, Generation, Identity, InstanceId, ServiceName, Severity, Timestamp,
};
use trimtab_notify::Channel;
use trimtab_project::{Overlap, Project, RunKind};
use trimtab_runtime::{Instance, InstanceState};
use trimtab_telemetry::{Batch, stamped_sample};

use crate::clock;
use crate::cron::due::{Due, due};
use crate::releases::Recorded;
use crate::world::{PRODUCTION, World};

/// Between looks at the clock.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Between looks at what is deployed.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);
/// Where people are told.
const PLACES: [Channel; 2] = [Channel::Slack, Channel::Email];

/// One job's runs.
#[derive(Debug, Default)]
struct Job {
    /// Up to when its schedule was looked at.
    seen: Option<Timestamp>,
    running: Option<Running>,
    runs: u64,
    failures: u64,
    skipped: u64,
    missed: u64,
    /// Whether the last run failed, which people were told.
    failed: bool,
}

#[derive(Debug, Clone)]
struct Running {
    id: InstanceId,
    since: Timestamp,
    /// Why it was ended by us.
    ended: Option<&'static str>,
}

/// Looks after all jobs for as long as the control process runs.
pub(crate) async fn keep(world: Arc<World>) {
    let Ok(environment) = EnvironmentName::new(PRODUCTION) else {
        return;
    };
    let mut jobs: BTreeMap<ServiceName, Job> = BTreeMap::new();
    let mut known: Vec<(ServiceName, Recorded, Project)> = Vec::new();
    let mut looked: Option<tokio::time::Instant> = None;
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        // Finding what is deployed goes through every rollout: not at each look at the clock.
        if looked.is_none_or(|looked| looked.elapsed() >= REFRESH_PAUSE) {
            known = deployed(&world, &environment);
            looked = Some(tokio::time::Instant::now());
        }
        for (service, recorded, project) in &known {
            let job = jobs.entry(service.clone()).or_default();
            let turn = Turn {
                world: &world,
                service,
                environment: &environment,
                recorded,
                project,
            };
            turn.take(job).await;
        }
    }
}

/// The cron jobs among what is deployed.
fn deployed(world: &World, environment: &EnvironmentName) -> Vec<(ServiceName, Recorded, Project)> {
    let services = world.repositories.iter().map(|repository| &repository.service);
    let jobs = services.filter_map(|service| {
        let release = world.stable(service, environment)?;
        let (recorded, project) = world.release(&release).ok()?;
        (project.run.kind == RunKind::Cron).then(|| (service.clone(), recorded, project))
    });
    jobs.collect()
}

struct Turn<'a> {
    world: &'a Arc<World>,
    service: &'a ServiceName,
    environment: &'a EnvironmentName,
    recorded: &'a Recorded,
    project: &'a Project,
}

impl Turn<'_> {
    async fn take(&self, job: &mut Job) {
        let now = clock::now();
        let seen = match job.seen {
            Some(seen) => seen,
            None => self.begin(job, now).await,
        };
        self.look(job, now).await;
        let Some(schedule) = &self.project.run.schedule else {
            return;
        };
        match due(schedule, seen, now) {
            Due::Nothing => {}
            Due::Missed(count) => self.miss(job, count).await,
            Due::Run { missed } => {
                if !self.is_deployed() {
                    // Another took its place since the last look; the next look finds it, and it is its turn.
                    job.seen = Some(seen);
                    return;
                }
                if missed > 0 {
                    self.miss(job, missed).await;
                }
                self.start(job, now).await;
            }
        }
        job.seen = Some(now);
    }

    fn is_deployed(&self) -> bool {
        let stable = self.world.stable(self.service, self.environment);
        stable.as_ref() == Some(&self.recorded.release.id)
    }

    /// Takes up where the control process before left off: its last word in the journal.
    async fn begin(&self, job: &mut Job, now: Timestamp) -> Timestamp {
        let events = self
            .world
            .journal
            .read_stream(&self.stream(), 0)
            .await
            .unwrap_or_default();
        let instances = self
            .world
            .fleet
            .instances(&self.recorded.release.id, self.environment)
            .await;
        let running = instances.unwrap_or_default().into_iter().find(is_under_way);
        job.running = running.map(|instance| Running {
            since: instance.started_at.unwrap_or(now),
            id: instance.id,
            ended: None,
        });
        job.failed = events
            .iter()
            .rev()
            .find(|event| event.kind != "job.started")
            .is_some_and(|e| e.kind == "job.failed");
        let last = events
            .iter()
            .rev()
            .find(|event| event.kind == "job.started" || event.kind == "job.missed");
        last.map_or(now, |event| event.at)
    }

    /// Whether the run under way has ended, or must be.
    async fn look(&self, job: &mut Job, now: Timestamp) {
        let Some(running) = job.running.clone() else {
            return;
        };
        let instance = match self.world.fleet.runtime().get(&running.id).await {
            Ok(instance) => instance,
            // Removed with its release.
            Err(_) => return job.running = None,
        };
        if !is_under_way(&instance) {
            job.running = None;
            return self.finish(job, &running, &instance).await;
        }
        let limit = self.project.run.time_limit.0;
        if now.since(running.since) > limit && running.ended.is_none() {
            self.end(job, "it took longer than run.time_limit").await;
            Box::pin(self.look(job, now)).await;
        }
    }

    async fn end(&self, job: &mut Job, reason: &'static str) {
        let Some(running) = &mut job.running else { return };
        running.ended = Some(reason);
        let runtime = self.world.fleet.runtime();
        let Ok(instance) = runtime.get(&running.id).await else {
            return;
        };
        let grace = self.project.run.stop_grace.0;
        if let Err(error) = runtime.stop(&running.id, grace, instance.generation).await {
            tracing::warn!(job = %self.service, %error, "failed to end a run");
        }
    }

    async fn start(&self, job: &mut Job, now: Timestamp) {
        if job.running.is_some() {
            match self.project.run.overlap {
                Overlap::Skip => {
                    job.skipped += 1;
                    let reason = "the run before still goes on";
                    self.say("job.skipped", json!({ "reason": reason })).await;
                    return self.count(job, None).await;
                }
                Overlap::Replace => {
                    self.end(job, "the next run replaced it").await;
                    self.look(job, now).await;
                    job.running = None;
                }
            }
        }
        self.say(
            "job.started",
            json!({ "candidate": self.recorded.release.id.as_str() }),
        )
        .await;
        // Each run is a newer decision than the last; rollouts of jobs start nothing.
        let generation = Generation(u64::try_from(now.0).unwrap_or(0));
        let started = self
            .world
            .fleet
            .run_once(self.recorded, self.project, self.environment, generation)
            .await;
        match started {
            Ok(instance) => {
                job.running = instance.map(|instance| Running {
                    id: instance.id,
                    since: now,
                    ended: None,
                });
            }
            Err(error) => self.fail(job, error.to_string(), None).await,
        }
    }

    async fn finish(&self, job: &mut Job, running: &Running, instance: &Instance) {
        let took = clock::now().since(running.since);
        job.runs += 1;
        let exit = instance.last_exit.as_ref();
        let reason = match (running.ended, exit) {
            (Some(reason), _) => Some(reason.to_owned()),
            (None, Some(exit)) if exit.code == Some(0) => None,
            (None, Some(exit)) => Some(format!("{exit}\n{}", exit.last_lines.join("\n"))),
            (None, None) => Some(
                instance
                    .problem
                    .clone()
                    .unwrap_or_else(|| "it has no exit".to_owned()),
            ),
        };
        let Some(reason) = reason else {
            let body = json!({ "candidate": instance.release.as_str(), "took_ms": millis(took) });
            self.say("job.finished", body).await;
            if std::mem::take(&mut job.failed) {
                self.tell(
                    Severity::Low,
                    format!("{} runs again", self.service),
                    "The last run ended well.".to_owned(),
                )
                .await;
            }
            return self.count(job, Some(took)).await;
        };
        self.fail(job, reason, Some(took)).await;
    }

    async fn fail(&self, job: &mut Job, reason: String, took: Option<Duration>) {
        job.failures += 1;
        let body = json!({ "candidate": self.recorded.release.id.as_str(), "reason": reason, "took_ms": took.map(millis) });
        self.say("job.failed", body).await;
        // The first failure of a row: a job of every minute must not send a message of every minute.
        if !std::mem::replace(&mut job.failed, true) {
            let title = format!("{} failed", self.service);
            self.tell(Severity::Medium, title, reason).await;
        }
        self.count(job, took).await;
    }

    async fn miss(&self, job: &mut Job, count: u32) {
        job.missed += u64::from(count);
        let reason = format!("{count} runs were due while nobody was there to start them");
        self.say("job.missed", json!({ "reason": reason, "count": count }))
            .await;
        let words = format!("{reason}; they are not made up for.");
        self.tell(
            Severity::Medium,
            format!("{} missed {count} runs", self.service),
            words,
        )
        .await;
        self.count(job, None).await;
    }

    fn stream(&self) -> String {
        format!("job/{}", self.service)
    }

    async fn say(&self, kind: &str, mut body: serde_json::Value) {
        (body["service"], body["environment"]) =
            (json!(self.service.as_str()), json!(self.environment.as_str()));
        let event = NewEvent::new(self.stream(), kind, clock::now(), Actor::trimtab(), body);
        if let Err(error) = self.world.journal.append(Expected::Any, vec![event]).await {
            tracing::error!(job = %self.service, kind, %error, "failed to write down what a job did");
        }
    }

    async fn tell(&self, severity: Severity, title: String, body: String) {
        let key = format!("job/{}/{}", self.service, clock::now().0);
        self.world.tell(&key, &PLACES, severity, (title, body), "").await;
    }

    async fn count(&self, job: &Job, took: Option<Duration>) {
        let identity = Identity {
            service: Some(self.service.clone()),
            environment: Some(self.environment.clone()),
            release: Some(self.recorded.release.id.clone()),
            ..Identity::default()
        };
        let mut figures = vec![
            ("trimtab_job_runs_total", job.runs as f64),
            ("trimtab_job_failures_total", job.failures as f64),
            ("trimtab_job_skipped_total", job.skipped as f64),
            ("trimtab_job_missed_total", job.missed as f64),
            ("trimtab_job_success", f64::from(!job.failed)),
        ];
        figures.extend(took.map(|took| ("trimtab_job_duration_seconds", took.as_secs_f64())));
        let at = clock::now().0;
        let samples = figures
            .into_iter()
            .map(|(name, value)| stamped_sample(name, &[], &identity, at, value));
        let batch = Batch {
            samples: samples.collect(),
            ..Batch::default()
        };
        if let Err(error) = self.world.intake.append(batch, "").await {
            tracing::warn!(job = %self.service, %error, "failed to store a job's figures");
        }
    }
}

fn is_under_way(instance: &Instance) -> bool {
    matches!(
        instance.state,
        InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Stopping
            | InstanceState::BackOff
            | InstanceState::Unknown
    )
}

fn millis(duration: Duration) -> u64 {
    crate::blueprint::millis(duration)
}
