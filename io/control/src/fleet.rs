//! The instances: which run for which release, how they are started, watched and stopped.

mod spec;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use trimtab_ingest::{Identities, Intake, Scraper, log_batch};
use trimtab_model::{
    Arm, EnvironmentName, Generation, Identity, InstanceId, ReleaseId, RolloutId, ServiceName,
};
use trimtab_runner::{ArtifactError, Artifacts};
use trimtab_runtime::{Instance, InstanceState, Runtime, RuntimeError, wait_healthy};
use trimtab_telemetry::Batch;

use crate::grants::Grants;
use crate::host::number_of;
use crate::identity::InstanceTokens;
use crate::releases::Recorded;
use trimtab_project::Project;

use crate::blueprint;
use crate::traffic::Side;

/// Lines that are appended to the store at once.
const LOG_LINES_MAX: usize = 500;
/// How often the fleet is looked over for instances that were lost.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Why instances could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The runtime's.
    #[error("failed to {0}")]
    Runtime(#[from] RuntimeError),
    /// The artifact could not be unpacked.
    #[error("failed to {0}")]
    Artifact(#[from] ArtifactError),
    /// The release is not known.
    #[error("there is no release {0}; see `trimtab status`")]
    UnknownRelease(ReleaseId),
    /// The server's file does not grant what the project asks for.
    #[error("failed to start {release}: {reason}")]
    Refused {
        /// The release.
        release: ReleaseId,
        /// What is missing and the mend.
        reason: String,
    },
    /// Its project file does not parse any more.
    #[error("failed to read the trimtab.yaml of {release}: {reason}")]
    Project {
        /// The release.
        release: ReleaseId,
        /// What is wrong.
        reason: String,
    },
}

/// Where telemetry of instances is taken, and where they ask for flags.
#[derive(Debug, Clone)]
pub struct TelemetryAddress {
    /// OTLP over HTTP, for example `http://127.0.0.1:4318`.
    pub otlp_http: String,
    /// OpenFeature's remote evaluation protocol, for example `http://127.0.0.1:7700`.
    pub ofrep: String,
}

/// The fleet of this machine.
pub struct Fleet {
    runtime: Arc<dyn Runtime>,
    artifacts: Artifacts,
    dir: PathBuf,
    tokens: Arc<InstanceTokens>,
    telemetry: TelemetryAddress,
    intake: Intake,
    grants: Grants,
    followed: std::sync::Mutex<BTreeMap<InstanceId, Vec<tokio::task::AbortHandle>>>,
}

impl Fleet {
    /// A fleet that unpacks artifacts beneath `dir`.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        artifacts: Artifacts,
        dir: PathBuf,
        tokens: Arc<InstanceTokens>,
        telemetry: TelemetryAddress,
        intake: Intake,
        grants: Grants,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            artifacts,
            dir,
            tokens,
            telemetry,
            intake,
            grants,
            followed: std::sync::Mutex::default(),
        })
    }

    /// The runtime, for its figures.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Unpacks a release's artifact; says where it lies.
    pub async fn unpack(&self, recorded: &Recorded) -> Result<PathBuf, FleetError> {
        let artifact = &recorded.release.artifact;
        let dir = self.dir.join(artifact.short());
        self.artifacts.unpack(artifact, &dir).await?;
        Ok(dir)
    }

    /// The same for a job that runs as `user`: what it is given must not be taken from the instances.
    pub async fn unpack_for(&self, recorded: &Recorded, user: Option<&str>) -> Result<PathBuf, FleetError> {
        let Some(user) = user else {
            return self.unpack(recorded).await;
        };
        let artifact = &recorded.release.artifact;
        let name = format!("{}-of-{}", artifact.short(), user.replace(':', "-"));
        let dir = self.dir.join(name);
        self.artifacts.unpack(artifact, &dir).await?;
        Ok(dir)
    }

    /// Whose telemetry token this is.
    pub fn owner_of(&self, token: &str) -> Option<Identity> {
        Identities::identify(self.tokens.as_ref(), token)
    }

    /// Starts a release's instances of these numbers in an environment, and waits until each is healthy.
    pub async fn start(
        self: &Arc<Self>,
        recorded: &Recorded,
        project: &Project,
        environment: &EnvironmentName,
        place: (Option<RolloutId>, Option<Arm>),
        numbers: impl Iterator<Item = u32> + Send,
        generation: Generation,
    ) -> Result<Vec<Instance>, FleetError> {
        let release = &recorded.release;
        let dir = self.unpack(recorded).await?;
        let mut running = Vec::new();
        for number in numbers {
            let Some(id) = instance_id(&release.id, environment, number) else {
                continue;
            };
            self.identify(&id, recorded, environment, place.clone());
            let spec = self.spec(&id, recorded, environment, project, &dir, generation)?;
            self.runtime.ensure(spec).await?;
            self.follow(&id, project).await;
            let health = blueprint::health_check(project);
            running.push(wait_healthy(self.runtime.as_ref(), &id, &health, health.start_timeout).await?);
        }
        Ok(running)
    }

    /// Sees that a release could be started here, without starting it.
    pub(crate) async fn prepare(
        &self,
        recorded: &Recorded,
        project: &Project,
        environment: &EnvironmentName,
    ) -> Result<(), FleetError> {
        let dir = self.unpack(recorded).await?;
        if let Some(id) = instance_id(&recorded.release.id, environment, 1) {
            self.spec(&id, recorded, environment, project, &dir, Generation::default())?;
        }
        Ok(())
    }

    /// Starts the one instance of a cron job, and takes its output.
    pub(crate) async fn run_once(
        self: &Arc<Self>,
        recorded: &Recorded,
        project: &Project,
        environment: &EnvironmentName,
        generation: Generation,
    ) -> Result<Option<Instance>, FleetError> {
        let dir = self.unpack(recorded).await?;
        let Some(id) = instance_id(&recorded.release.id, environment, 1) else {
            return Ok(None);
        };
        self.identify(&id, recorded, environment, (None, None));
        let spec = self.spec(&id, recorded, environment, project, &dir, generation)?;
        let instance = self.runtime.ensure(spec).await?;
        self.follow(&id, project).await;
        Ok(Some(instance))
    }

    /// Who an instance is, if that was said.
    pub fn identity(&self, id: &InstanceId) -> Option<Identity> {
        self.tokens.identity(id)
    }

    /// Says who an instance is and which arm it belongs to from now on.
    pub fn identify(
        &self,
        id: &InstanceId,
        recorded: &Recorded,
        environment: &EnvironmentName,
        (rollout, cohort): (Option<RolloutId>, Option<Arm>),
    ) {
        let identity = Identity {
            service: Some(recorded.release.service.clone()),
            environment: Some(environment.clone()),
            release: Some(recorded.release.id.clone()),
            instance: Some(id.clone()),
            rollout,
            cohort,
        };
        self.tokens.know(id.clone(), identity);
    }

    /// The running instances of a release in an environment.
    pub async fn instances(
        &self,
        release: &ReleaseId,
        environment: &EnvironmentName,
    ) -> Result<Vec<Instance>, FleetError> {
        let all = self.runtime.list().await?;
        Ok(all
            .into_iter()
            .filter(|instance| instance.release == *release && instance.environment == *environment)
            .collect())
    }

    /// A release's instances as the routing table names them.
    pub async fn side(&self, release: &ReleaseId, environment: &EnvironmentName) -> Result<Side, FleetError> {
        let endpoints = self
            .instances(release, environment)
            .await?
            .into_iter()
            .filter(|instance| !matches!(instance.state, InstanceState::Stopped | InstanceState::Exited))
            .map(|instance| (instance.id, instance.address))
            .collect();
        Ok(Side {
            release: release.clone(),
            endpoints,
        })
    }

    /// Stops and forgets those of a release's instances in an environment whose numbers are `leaving`.
    pub async fn stop(
        &self,
        release: &ReleaseId,
        environment: &EnvironmentName,
        leaving: impl Fn(u32) -> bool + Send,
        grace: Duration,
    ) -> Result<(), FleetError> {
        let all = self.instances(release, environment).await?;
        for instance in all
            .into_iter()
            .filter(|i| u32::try_from(number_of(i.id.as_str())).is_ok_and(&leaving))
        {
            self.runtime
                .stop(&instance.id, grace, instance.generation)
                .await?;
            self.unfollow(&instance.id);
            self.runtime.remove(&instance.id).await?;
            self.tokens.forget(&instance.id);
        }
        Ok(())
    }

    /// Restarts a release's instances one after the other and waits until each is healthy.
    pub async fn restart(
        &self,
        release: &ReleaseId,
        environment: &EnvironmentName,
        health: &trimtab_runtime::HealthCheck,
    ) -> Result<(), FleetError> {
        for instance in self.instances(release, environment).await? {
            self.runtime.restart(&instance.id, instance.generation).await?;
            wait_healthy(self.runtime.as_ref(), &instance.id, health, health.start_timeout).await?;
        }
        Ok(())
    }

    /// Takes up the instances that run already, after a restart of the control process.
    pub async fn adopt(
        self: &Arc<Self>,
        release: &Recorded,
        project: &Project,
        instance: &Instance,
        place: (Option<RolloutId>, Option<Arm>),
    ) {
        self.identify(&instance.id, release, &instance.environment, place);
        if matches!(instance.state, InstanceState::Stopped) {
            return;
        }
        self.follow(&instance.id, project).await;
    }

    /// Starts instances again that were lost with their shim, and reports addresses that changed.
    pub async fn look_after(
        self: Arc<Self>,
        moved: impl Fn(InstanceId, SocketAddr) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send,
    ) {
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            let Ok(instances) = self.runtime.list().await else {
                continue;
            };
            for instance in instances {
                if instance.state == InstanceState::Lost
                    && let Err(error) = self.runtime.recover(&instance.id).await
                {
                    tracing::warn!(instance = %instance.id, %error, "failed to start a lost instance again");
                }
                moved(instance.id, instance.address).await;
            }
        }
    }

    async fn follow(self: &Arc<Self>, id: &InstanceId, project: &Project) {
        if self.lock_followed().contains_key(id) {
            return;
        }
        let mut tasks = vec![tokio::spawn(Arc::clone(self).pump_logs(id.clone())).abort_handle()];
        if let Some(metrics) = &project.run.metrics {
            let (path, pause) = (metrics.path.clone(), metrics.interval.0);
            tasks.push(tokio::spawn(Arc::clone(self).scrape(id.clone(), path, pause)).abort_handle());
        }
        self.lock_followed().insert(id.clone(), tasks);
    }

    fn unfollow(&self, id: &InstanceId) {
        for task in self.lock_followed().remove(id).unwrap_or_default() {
            task.abort();
        }
    }

    fn lock_followed(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, Vec<tokio::task::AbortHandle>>> {
        self.followed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Carries an instance's output into the store; the offset behind the last durable line is kept
    /// on disk, and each append has a key, so that a crash neither loses nor doubles a line.
    async fn pump_logs(self: Arc<Self>, id: InstanceId) {
        let mark = self
            .dir
            .parent()
            .unwrap_or(&self.dir)
            .join("offsets")
            .join(id.as_str());
        let mut from = std::fs::read_to_string(&mark)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0u64);
        loop {
            let stream = match self.runtime.logs(&id, from).await {
                Ok(stream) => stream,
                Err(RuntimeError::NoInstance(_)) => return,
                // What keeps it does not answer, and will again.
                Err(_) => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                    continue;
                }
            };
            let mut chunks = stream.ready_chunks(LOG_LINES_MAX);
            while let Some(lines) = chunks.next().await {
                let lines: Vec<_> = lines.into_iter().filter_map(Result::ok).collect();
                let Some(last) = lines.last() else { continue };
                let next = last.next_offset;
                let identity = self.tokens.identity(&id).unwrap_or_default();
                let batch = log_batch(lines.iter().map(|line| line.text.as_str()), &identity);
                while let Err(error) = self.intake.append(batch.clone(), &format!("{id}@{from}")).await {
                    tracing::warn!(instance = %id, %error, "failed to store log lines; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                from = next;
                if let Err(error) = crate::files::replace(&mark, from.to_string().as_bytes()) {
                    tracing::warn!(instance = %id, %error, "failed to note how far log lines were stored");
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn scrape(self: Arc<Self>, id: InstanceId, path: String, pause: Duration) {
        let mut scraper: Option<(SocketAddr, Scraper)> = None;
        loop {
            tokio::time::sleep(pause).await;
            let instance = match self.runtime.get(&id).await {
                Ok(instance) => instance,
                Err(RuntimeError::NoInstance(_)) => return,
                Err(_) => continue,
            };
            let identity = self.tokens.identity(&id).unwrap_or_default();
            if scraper
                .as_ref()
                .is_none_or(|(address, _)| *address != instance.address)
            {
                scraper = Some((
                    instance.address,
                    Scraper::new(instance.address, path.clone(), identity, pause),
                ));
            }
            if let Some((_, scraper)) = &mut scraper {
                let samples = scraper.scrape().await.samples;
                if let Err(error) = self
                    .intake
                    .append(
                        Batch {
                            samples,
                            ..Batch::default()
                        },
                        "",
                    )
                    .await
                {
                    tracing::warn!(instance = %id, %error, "failed to store a scrape");
                }
            }
        }
    }
}

/// `<release>-<environment>-<number>`; none when that would be too long for a name.
fn instance_id(release: &ReleaseId, environment: &EnvironmentName, number: u32) -> Option<InstanceId> {
    InstanceId::new(format!("{release}-{environment}-{number}")).ok()
}

/// The service that an instance's address is asked for by gates: `http://address`.
pub(crate) fn target_url(side: &Side) -> Option<String> {
    side.endpoints
        .first()
        .map(|(_, address)| format!("http://{address}"))
}

/// Names the service in a side's words.
pub(crate) fn place(service: &ServiceName, environment: &EnvironmentName) -> String {
    format!("{service} in {environment}")
}
