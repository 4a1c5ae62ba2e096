//! How many instances people want of a service, where that is not what its project file says.
//!
//! The number is on record first, in a stream `scale/<service>/<environment>`; then what runs is made to agree
//! with it, also after a crash. Rollouts go before: one that starts interrupts what is being scaled, counts
//! with the new number, and what is left to do is done when it has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use trimtab_journal::{Journal, JournalError};
use trimtab_model::{Actor, EnvironmentName, ReleaseId, ServiceName};
use trimtab_project::{INSTANCES_MAX, Project, RunKind};
use trimtab_runtime::{Instance, InstanceState};

use crate::host::number_of;
use crate::place_book::{Place, PlaceBook, Said};
use crate::world::World;

/// How long whoever scales is kept waiting for the end of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between looks at whether what runs agrees with what is wanted.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Until a number that could not be reached is tried again.
const AGAIN: Duration = Duration::from_secs(60);

const SET: &str = "scale.set";
const LIFTED: &str = "scale.lifted";

/// Why a service was not scaled.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// Not a number of instances.
    #[error("{0} is no number of instances")]
    Count(u32),
    /// Nothing is deployed there.
    #[error("{service} has no release in {environment}")]
    NothingServes {
        /// The service.
        service: ServiceName,
        /// The environment.
        environment: EnvironmentName,
    },
    /// A cron job runs once at a time.
    #[error("{0} is a cron job, which runs once at a time")]
    Cron(ServiceName),
    /// Instances come and go already.
    #[error("{0} is under way")]
    RollingOut(String),
    /// The release is not known any more.
    #[error("{0}")]
    Release(String),
    /// It could not be put on record.
    #[error("failed to put it on record: {0}")]
    Journal(#[from] JournalError),
    /// It is on record, and instances could not be had.
    #[error("{0}")]
    Unreached(String),
}

impl ScaleError {
    /// What whoever scales can do about it.
    pub fn mend(&self) -> String {
        match self {
            ScaleError::Count(_) => format!("give 1 to {INSTANCES_MAX}"),
            ScaleError::NothingServes { .. } => "deploy a release first".to_owned(),
            ScaleError::Cron(_) => "change its schedule, which says how often".to_owned(),
            ScaleError::RollingOut(rollout) => {
                format!("scale when it has ended, or end it by `trimtab abort {rollout}`")
            }
            ScaleError::Release(_) => "deploy a release of today".to_owned(),
            ScaleError::Journal(_) => "see `trimtab doctor`".to_owned(),
            ScaleError::Unreached(_) => {
                format!("it is on record and is tried again every {} s", AGAIN.as_secs())
            }
        }
    }
}

/// How far a change of the number came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// So many instances serve.
    Yes(u32),
    /// It takes longer and goes on.
    NotYet(u32),
}

/// The numbers in force, and who is at work on them.
pub struct Scales {
    book: PlaceBook<u32>,
    turns: Mutex<BTreeMap<Place, Arc<tokio::sync::Mutex<()>>>>,
    under_way: Mutex<BTreeMap<Place, AbortHandle>>,
}

impl Scales {
    /// Reads the numbers in force from the journal.
    pub async fn open(journal: Journal) -> Result<Self, JournalError> {
        Ok(Self {
            book: PlaceBook::open(journal, "scale").await?,
            turns: Mutex::default(),
            under_way: Mutex::default(),
        })
    }

    /// The number in force; none when the project file's is.
    pub fn of(&self, service: &ServiceName, environment: &EnvironmentName) -> Option<Said<u32>> {
        self.book.of(&(service.clone(), environment.clone()))
    }

    /// How many instances of a release's project are wanted.
    pub fn wanted(&self, project: &Project, environment: &EnvironmentName) -> u32 {
        match project.run.kind {
            RunKind::Cron => 1,
            RunKind::Service | RunKind::Worker => {
                let said = self.of(&project.service, environment);
                said.map_or(project.run.instances, |said| said.what).max(1)
            }
        }
    }

    /// Interrupts what is being scaled at a place and keeps it from going on while the guard lives.
    pub(crate) async fn interrupt(&self, place: &Place) -> OwnedMutexGuard<()> {
        if let Some(task) = lock(&self.under_way).remove(place) {
            task.abort();
        }
        self.turn(place).lock_owned().await
    }

    fn turn(&self, place: &Place) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.turns).entry(place.clone()).or_default().clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wants so many instances of a service from now on, or as many as its project file says; returns when they
/// serve, or after a while.
///
/// # Errors
/// When the number cannot be had; only [`ScaleError::Unreached`] leaves it on record.
pub async fn set(
    world: &Arc<World>,
    place: &Place,
    instances: Option<u32>,
    by: Actor,
    reason: &str,
) -> Result<Reached, ScaleError> {
    let (service, environment) = place;
    if let Some(count) = instances.filter(|count| !(1..=INSTANCES_MAX).contains(count)) {
        return Err(ScaleError::Count(count));
    }
    let release = world
        .stable(service, environment)
        .ok_or_else(|| ScaleError::NothingServes {
            service: service.clone(),
            environment: environment.clone(),
        })?;
    let (_, project) = world
        .release(&release)
        .map_err(|error| ScaleError::Release(error.to_string()))?;
    if project.run.kind == RunKind::Cron {
        return Err(ScaleError::Cron(service.clone()));
    }
    if let Some(rollout) = under_way(world, place) {
        return Err(ScaleError::RollingOut(rollout));
    }
    let kind = if instances.is_some() { SET } else { LIFTED };
    world
        .scales
        .book
        .write(place, kind, instances, by, reason)
        .await?;
    let wanted = world.scales.wanted(&project, environment);
    match tokio::time::timeout(PATIENCE, spawn(world, place)).await {
        Ok(Ok(Ok(()))) => Ok(Reached::Yes(wanted)),
        Ok(Ok(Err(reason))) => Err(ScaleError::Unreached(reason)),
        // Interrupted by a rollout, or slow.
        Ok(Err(_)) | Err(_) => Ok(Reached::NotYet(wanted)),
    }
}

/// Makes what runs agree with what is wanted wherever people said something. Never ends.
pub(crate) async fn keep(world: Arc<World>) {
    let mut failed: BTreeMap<Place, Instant> = BTreeMap::new();
    loop {
        for (place, _) in world.scales.book.all() {
            let waits = failed.get(&place).is_some_and(|at| at.elapsed() < AGAIN);
            if waits || world.scales.turn(&place).try_lock().is_err() {
                continue;
            }
            match spawn(&world, &place).await {
                Ok(Err(reason)) => {
                    tracing::warn!(service = %place.0, environment = %place.1, %reason, "failed to have as many instances as are wanted");
                    failed.insert(place, Instant::now());
                }
                Ok(Ok(())) | Err(_) => {
                    failed.remove(&place);
                }
            }
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

fn under_way(world: &World, (service, environment): &Place) -> Option<String> {
    let mut rollouts = world.rollouts_of(service, environment).into_iter();
    let open = rollouts.find(|rollout| rollout.state.end().is_none());
    open.map(|rollout| rollout.id)
}

fn spawn(world: &Arc<World>, place: &Place) -> JoinHandle<Result<(), String>> {
    let scaling = Scaling {
        world: Arc::clone(world),
        place: place.clone(),
    };
    let turn = world.scales.turn(place);
    let task = tokio::spawn(async move {
        let _turn = turn.lock_owned().await;
        scaling.reach().await
    });
    let earlier = lock(&world.scales.under_way).insert(place.clone(), task.abort_handle());
    if let Some(earlier) = earlier {
        earlier.abort();
    }
    task
}

/// One place on its way to the number that is wanted.
struct Scaling {
    world: Arc<World>,
    place: Place,
}

impl Scaling {
    async fn reach(&self) -> Result<(), String> {
        let (service, environment) = &self.place;
        if under_way(&self.world, &self.place).is_some() {
            return Ok(());
        }
        let Some(release) = self.world.stable(service, environment) else {
            return Ok(());
        };
        let (_, project) = self.world.release(&release).map_err(|e| e.to_string())?;
        let wanted = self.world.scales.wanted(&project, environment);
        let present = self.world.fleet.instances(&release, environment).await;
        let present = present.map_err(|error| error.to_string())?;
        let (missing, leaving) = difference(&present, wanted);
        if !missing.is_empty() {
            self.start(&release, &present, &missing).await?;
        }
        if missing.is_empty() && leaving.is_empty() {
            return Ok(());
        }
        if project.run.kind == RunKind::Service {
            self.route(&release, &project, wanted, &leaving).await?;
        }
        if !leaving.is_empty() {
            let grace = project.run.stop_grace.0;
            let fleet = &self.world.fleet;
            let stop = fleet.stop(&release, environment, |number| number > wanted, grace);
            stop.await.map_err(|error| error.to_string())?;
        }
        tracing::info!(%service, %environment, instances = wanted, "scaled");
        Ok(())
    }

    /// Starts those that are missing and waits until they are healthy; leaves none behind that isn't.
    async fn start(&self, release: &ReleaseId, present: &[Instance], missing: &[u32]) -> Result<(), String> {
        let (_, environment) = &self.place;
        let (recorded, project) = self.world.release(release).map_err(|e| e.to_string())?;
        let newest = present.iter().map(|instance| instance.generation).max();
        let fleet = &self.world.fleet;
        let numbers = missing.iter().copied();
        let place = (None, None);
        let start = fleet.start(
            &recorded,
            &project,
            environment,
            place,
            numbers,
            newest.unwrap_or_default(),
        );
        let Err(error) = start.await else {
            return Ok(());
        };
        let gone = fleet.stop(
            release,
            environment,
            |number| missing.contains(&number),
            Duration::ZERO,
        );
        if let Err(error) = gone.await {
            tracing::warn!(%release, %error, "failed to stop instances that did not become healthy");
        }
        Err(error.to_string())
    }

    /// Users go to the first `wanted` from now on; returns when those that leave have served theirs.
    async fn route(
        &self,
        release: &ReleaseId,
        project: &Project,
        wanted: u32,
        leaving: &[Instance],
    ) -> Result<(), String> {
        let (service, environment) = &self.place;
        let side = self.world.fleet.side(release, environment).await;
        let side = side.map_err(|error| error.to_string())?.first(wanted);
        let traffic = &self.world.traffic;
        let members = traffic.members(service, environment, side).await;
        members.map_err(|error| error.to_string())?;
        if leaving.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = leaving.iter().map(|instance| instance.id.clone()).collect();
        let limit = project.production.drain.0;
        let drained = traffic.drained_instances(service, environment, release, &ids, limit);
        drained.await.map(drop).map_err(|error| error.to_string())
    }
}

/// The numbers that are to be started, and the instances that are to go.
fn difference(present: &[Instance], wanted: u32) -> (Vec<u32>, Vec<Instance>) {
    let number = |instance: &Instance| number_of(instance.id.as_str());
    let runs = |wanted: u32| {
        present
            .iter()
            .any(|instance| number(instance) == u64::from(wanted) && instance.state != InstanceState::Stopped)
    };
    let missing = (1..=wanted).filter(|wanted| !runs(*wanted)).collect();
    let leaving = present
        .iter()
        .filter(|instance| number(instance) > u64::from(wanted));
    (missing, leaving.cloned().collect())
}
