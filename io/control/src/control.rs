//! Starts every room in order and lets the machines carry on where they stood.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use trimtab_detection::learning::Models;
use trimtab_ingest::{Ingest, IngestConfig, IngestError, Sink};
use trimtab_journal::{Journal, JournalError};
use trimtab_model::{Arm, ReleaseId, RolloutId};
use trimtab_notify::{NotifyError, Outbox, Receivers};
use trimtab_proxy::{ClientError, ProxyClient, ProxyConfig, TlsFiles};
use trimtab_runner::{ArtifactError, Artifacts, StepError, reap_stale};
use trimtab_runtime::{ProcessRuntime, RuntimeError, ShimProgram};
use trimtab_series::{Series, SeriesError};
use trimtab_store::{Store, StoreConfig, StoreError};

use crate::clock;
use crate::closures::{self, Closures};
use crate::evidence::Evidence;
use crate::exposures::Exposures;
use crate::flag_book::{FlagBook, FlagError};
use crate::fleet::{Fleet, TelemetryAddress};
use crate::grants::Grants;
use crate::groups::GroupHands;
use crate::host::{Host, HostError};
use crate::identity::{InstanceTokens, KeyError, key_file};
use crate::incident_hands::IncidentHands;
use crate::projection::Projector;
use crate::releases::Releases;
use crate::rollout_hands::RolloutHands;
use crate::run_hands::RunHands;
use crate::runtimes::Runtimes;
use crate::scales::{self, Scales};
use crate::template_ids::TemplateIds;
use crate::traffic::{Traffic, TrafficError};
use crate::workspaces::Workspaces;
use crate::world::{Machines, Repository, World};
use crate::{analysis, certificates, disk_budget, frames, proxy_holder};

/// Batches that an analyser may lag behind before it misses some.
const SINK_BATCHES_MAX: usize = 1_024;
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How control is started.
pub struct Options {
    /// The data folder.
    pub dir: PathBuf,
    /// The program that is also shim and proxy.
    pub program: PathBuf,
    /// Address of the dashboard, for links in notices.
    pub link: String,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// Users' traffic over HTTP.
    pub traffic: SocketAddr,
    /// Users' traffic over HTTPS, with its certificates, the default one first.
    pub traffic_tls: Option<(SocketAddr, Vec<TlsFiles>)>,
    /// Certificates that come by themselves.
    pub acme: Option<trimtab_proxy::AcmeConfig>,
    /// What is built from.
    pub repositories: Vec<Repository>,
    /// What is released together.
    pub groups: Vec<crate::world::Together>,
    /// Where notices go.
    pub receivers: Receivers,
    /// What instances may have.
    pub grants: Grants,
    /// How long telemetry is kept.
    pub retention: trimtab_project::Retention,
}

/// Why control could not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is the error of the room it names")]
pub enum ControlError {
    #[error("failed to make the data folder {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("failed to open the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to open the metric store: {0}")]
    Series(#[from] SeriesError),
    #[error("failed to open the signal store: {0}")]
    Store(#[from] StoreError),
    #[error("failed to start listening for telemetry: {0}")]
    Ingest(#[from] IngestError),
    #[error("failed to start the proxy: {0}")]
    Proxy(#[from] ClientError),
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    #[error("failed to open the outbox: {0}")]
    Outbox(#[from] NotifyError),
    #[error("failed to look for instances: {0}")]
    Runtime(#[from] RuntimeError),
    #[error("failed to open the artifacts: {0}")]
    Artifacts(#[from] ArtifactError),
    #[error("failed to end steps left from before: {0}")]
    Steps(#[from] StepError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Flags(#[from] FlagError),
    #[error("failed to restore the machines: {0}")]
    Host(#[from] HostError),
}

/// The control process's inside.
pub struct Control {
    /// What effects are carried out with.
    pub world: Arc<World>,
    ingest: Ingest,
    runtime: Arc<Runtimes>,
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Control {
    /// Opens everything beneath the data folder, adopts what runs, and carries on.
    pub async fn start(options: Options) -> Result<Self, ControlError> {
        let dir = options.dir.clone();
        for folder in [
            "keys",
            "evidence",
            "runs",
            "steps",
            "workspaces",
            "releases",
            "offsets",
            "instances",
            "marks",
        ] {
            let path = dir.join(folder);
            std::fs::create_dir_all(&path).map_err(|source| ControlError::Folder { path, source })?;
        }
        let journal = Journal::open(dir.join("journal.db")).await?;
        reap_stale(&dir.join("steps"))?;
        let series = Series::open(dir.join("series"), disk_budget::series_config(&options.retention))?;
        let templates = Arc::new(TemplateIds::open(&dir.join("marks").join("templates.json")));
        let template_of = templates.clone();
        let limits = StoreConfig {
            template_of: Some(Arc::new(move |log| template_of.of(log))),
            ..disk_budget::store_config(&options.retention)
        };
        let store = Arc::new(Store::open(dir.join("store"), limits)?);
        let tokens = Arc::new(InstanceTokens::new(key_file(
            &dir.join("keys").join("ingest.key"),
        )?));
        let sink = Sink::new(SINK_BATCHES_MAX);
        let listen = IngestConfig {
            grpc_addr: options.otlp_grpc,
            http_addr: options.otlp_http,
            ..IngestConfig::default()
        };
        let ingest = Ingest::start(
            listen,
            tokens.clone(),
            series.clone(),
            store.clone(),
            sink.clone(),
        )
        .await?;
        let shim = ShimProgram {
            program: options.program.clone(),
            args: vec!["shim".to_owned()],
        };
        let processes = ProcessRuntime::new(dir.join("instances"), shim)?;
        let socket = options.grants.docker.as_deref();
        let containers = dir.join("containers");
        let runtimes = Runtimes::open(processes, &containers, socket, ingest.http_addr()).await?;
        let runtime = Arc::new(runtimes);
        let artifacts = Artifacts::open(dir.join("artifacts"))?;
        let telemetry = TelemetryAddress {
            otlp_http: format!("http://{}", ingest.http_addr()),
            ofrep: options.link.clone(),
        };
        let fleet = Fleet::new(
            runtime.clone(),
            artifacts.clone(),
            dir.join("releases"),
            tokens,
            telemetry,
            ingest.intake().clone(),
            options.grants.clone(),
        );
        let proxy = ProxyClient::start_or_adopt(proxy_config(&options)).await?;
        let secret = hex::encode(key_file(&dir.join("keys").join("preview.key"))?);
        let world = Arc::new(World {
            link: options.link,
            series,
            store,
            intake: ingest.intake().clone(),
            releases: Releases::open(journal.clone()).await?,
            artifacts,
            fleet,
            traffic: Traffic::open(proxy, &dir.join("routing.json"), secret).await?,
            closures: Closures::open(journal.clone()).await?,
            scales: Scales::open(journal.clone()).await?,
            flags: FlagBook::open(journal.clone()).await?,
            exposures: Exposures::open(&dir.join("flags-asked.json"), clock::now()),
            outbox: Outbox::open(dir.join("outbox.db"), options.receivers).await?,
            evidence: Evidence::new(&dir.join("evidence")),
            workspaces: Workspaces::new(dir.join("workspaces")),
            repositories: options.repositories,
            groups: options.groups,
            grants: options.grants,
            models: std::sync::RwLock::new(models(&dir)),
            machines: OnceLock::new(),
            journal: journal.clone(),
            dir,
        });
        let machines = Machines {
            runs: Host::open(journal.clone()).await?,
            rollouts: Host::open(journal.clone()).await?,
            groups: Host::open(journal.clone()).await?,
            incidents: Host::open(journal).await?,
        };
        // The cell was made empty above.
        let _ = world.machines.set(machines);
        adopt(&world).await?;
        crate::rollout_hands::resume_trials(&world);
        world.machines().runs.resume(Arc::new(RunHands(world.clone())));
        world
            .machines()
            .rollouts
            .resume(Arc::new(RolloutHands(world.clone())));
        world
            .machines()
            .groups
            .resume(Arc::new(GroupHands(world.clone())));
        world
            .machines()
            .incidents
            .resume(Arc::new(IncidentHands(world.clone())));
        let mut tasks = spawn(&world, sink);
        if let Some(acme) = options.acme {
            tasks.push(tokio::spawn(certificates::keep(acme, world.clone())).abort_handle());
        }
        tasks.push(tokio::spawn(templates.keep()).abort_handle());
        if let Some(bytes_max) = options.retention.size_max {
            let keep = disk_budget::keep(world.series.clone(), world.store.clone(), bytes_max);
            tasks.push(tokio::spawn(keep).abort_handle());
        }
        Ok(Self {
            world,
            ingest,
            runtime,
            tasks,
        })
    }

    /// Stops deciding; instances and proxy go on.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Err(error) = self.world.evidence.save_known() {
            tracing::warn!(%error, "failed to write down what is known of the services");
        }
        if let Err(error) = self.world.exposures.save_all() {
            tracing::warn!(%error, "failed to write down who was served which flag");
        }
        self.ingest.shutdown().await;
        self.world.outbox.close().await;
        self.world.journal.close().await;
    }

    /// Stops looking after proxy and instances, so that whoever ends them is not worked against.
    pub fn abandon(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }

    /// Stops everything, also instances and the proxy: for demos and tests.
    pub async fn stop_everything(self) {
        // First those that would start again what is stopped here.
        self.abandon();
        if let Err(error) = self.world.traffic.proxy().shutdown().await {
            tracing::warn!(%error, "failed to stop the proxy");
        }
        if let Err(error) = self.runtime.stop_all(STOP_GRACE).await {
            tracing::warn!(%error, "failed to stop the instances");
        }
        self.stop().await;
    }
}

fn proxy_config(options: &Options) -> ProxyConfig {
    let mut config = ProxyConfig::new(
        options.dir.join("proxy"),
        options.program.clone(),
        vec![options.traffic],
    );
    if let Some((address, files)) = &options.traffic_tls {
        config.listen_tls = vec![*address];
        config.tls = files.first().cloned();
        config.certificates = files.get(1..).unwrap_or_default().to_vec();
        config.awaits_certificates = options.acme.is_some();
    }
    config
}

fn models(dir: &std::path::Path) -> Models {
    let read = std::fs::read(dir.join("models.json")).ok();
    read.and_then(|bytes| serde_json::from_slice::<Models>(&bytes).ok())
        .unwrap_or_default()
}

/// Knows the instances that run already, and goes on following them.
async fn adopt(world: &Arc<World>) -> Result<(), ControlError> {
    for instance in world.fleet.runtime().list().await? {
        let Ok((recorded, project)) = world.release(&instance.release) else {
            tracing::warn!(instance = %instance.id, "an instance of an unknown release runs; it is left alone");
            continue;
        };
        let place = place_of(world, &instance.release, &instance.environment);
        world.fleet.adopt(&recorded, &project, &instance, place).await;
    }
    Ok(())
}

fn place_of(
    world: &World,
    release: &ReleaseId,
    environment: &trimtab_model::EnvironmentName,
) -> (Option<RolloutId>, Option<Arm>) {
    let under_way = world.machines().rollouts.list().into_iter().find(|rollout| {
        rollout.state.end().is_none()
            && rollout.plan.environment == *environment
            && (rollout.plan.candidate == *release || rollout.plan.baseline.as_ref() == Some(release))
    });
    match under_way {
        Some(rollout) if rollout.plan.candidate == *release => {
            (Some(rollout.plan.rollout.clone()), Some(Arm::Candidate))
        }
        Some(rollout) => (Some(rollout.plan.rollout.clone()), Some(Arm::Baseline)),
        None => (None, None),
    }
}

fn spawn(world: &Arc<World>, sink: Sink) -> Vec<tokio::task::AbortHandle> {
    let moved_world = world.clone();
    let look_after = world.fleet.clone().look_after(move |instance, address| {
        let world = moved_world.clone();
        Box::pin(async move {
            if let Err(error) = world.traffic.moved(&instance, address).await {
                tracing::warn!(%instance, %error, "failed to tell the proxy where an instance listens now");
            }
        })
    });
    let mark = world.dir.join("marks").join("projected");
    let projector = Projector::new(world.journal.clone(), world.store.clone(), mark);
    vec![
        tokio::spawn(proxy_holder::keep(world.clone())).abort_handle(),
        tokio::spawn(frames::pump(world.clone())).abort_handle(),
        tokio::spawn(frames::signals(world.clone(), sink)).abort_handle(),
        tokio::spawn(frames::host(world.clone())).abort_handle(),
        tokio::spawn(crate::cron::keep(world.clone())).abort_handle(),
        tokio::spawn(frames::exposures(world.clone())).abort_handle(),
        tokio::spawn(closures::keep(world.clone())).abort_handle(),
        tokio::spawn(scales::keep(world.clone())).abort_handle(),
        tokio::spawn(analysis::watch(world.clone())).abort_handle(),
        tokio::spawn(projector.run()).abort_handle(),
        tokio::spawn(analysis::feel(world.clone())).abort_handle(),
        tokio::spawn(look_after).abort_handle(),
    ]
}
