//! The worker's first thread: gathers what the lanes counted, keeps the table, watches health.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use trimtab_model::{InstanceId, ReleaseId, Timestamp};

use super::health::{HealthBoard, now};
use super::lane::{Ended, Order, Report};
use super::sample;
use super::spool::Spool;
use super::tls::{Certificates, RELOAD_EVERY};
use crate::frame::FRAME_FORMAT;
use crate::protocol::{Batch, Placement, WorkerStatus};
use crate::{Counters, Frame, InFlight, ProxyConfig, RoutingTable, TableError};

/// A frame without cells is sent after this long, so that silence can be told from absence.
const SILENCE_MS: u64 = 1_000;

/// Why a table was not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("write {0}: {1}; free some space or mend its permissions, then apply again")]
    Write(PathBuf, std::io::Error),
}

/// What an older worker reported while it drains.
#[derive(Debug, Default)]
struct Drainer {
    number: u64,
    in_flight: Vec<(Placement, u64)>,
    busy: Vec<(InstanceId, u64)>,
    heard: bool,
}

/// The lead's state.
pub(super) struct Lead {
    pub(super) config: ProxyConfig,
    pub(super) started_at: Timestamp,
    /// The newest frame's sequence.
    pub(super) newest: watch::Sender<u64>,
    lanes: Vec<mpsc::UnboundedSender<Order>>,
    table: RefCell<RoutingTable>,
    /// Tables are applied one after the other.
    applying: tokio::sync::Mutex<()>,
    health: RefCell<HealthBoard>,
    spool: RefCell<Option<Spool>>,
    counters: RefCell<Counters>,
    /// Counts not yet in a frame.
    pending: RefCell<Batch>,
    connections_open: Cell<usize>,
    in_flight: RefCell<Vec<(Placement, u64)>>,
    busy: RefCell<Vec<(InstanceId, u64)>>,
    drainers: RefCell<HashMap<u32, Drainer>>,
    framed_at: Cell<Instant>,
    certificates: Option<Arc<Certificates>>,
    /// Why the certificate's files could not be read again.
    tls_error: RefCell<Option<String>>,
}

impl Lead {
    pub(super) fn new(
        config: ProxyConfig,
        lanes: Vec<mpsc::UnboundedSender<Order>>,
        drainers: &[u32],
        certificates: Option<Arc<Certificates>>,
    ) -> Self {
        let told = lanes.clone();
        let board = HealthBoard::new(Rc::new(move |instance, address, eligible| {
            tracing::info!(%instance, %address, eligible, "an endpoint's health changed");
            for lane in &told {
                // A lane that is gone has no requests to route.
                let _gone = lane.send(Order::Eligible(instance.clone(), address, eligible));
            }
        }));
        Lead {
            config,
            started_at: now(),
            newest: watch::Sender::new(0),
            lanes,
            table: RefCell::new(RoutingTable::new(0, Vec::new())),
            applying: tokio::sync::Mutex::new(()),
            health: RefCell::new(board),
            spool: RefCell::new(None),
            counters: RefCell::default(),
            pending: RefCell::default(),
            connections_open: Cell::new(0),
            in_flight: RefCell::default(),
            busy: RefCell::default(),
            drainers: RefCell::new(drainers.iter().map(|pid| (*pid, Drainer::default())).collect()),
            framed_at: Cell::new(Instant::now()),
            certificates,
            tls_error: RefCell::default(),
        }
    }

    /// Tells every lane.
    pub(super) fn order(&self, order: impl Fn() -> Order) {
        for lane in &self.lanes {
            // A lane ends only with the process.
            let _gone = lane.send(order());
        }
    }

    /// Takes the spool and the table on disk: from here on this worker speaks for the proxy.
    pub(super) async fn take_lead(&self) -> Result<(), super::WorkerError> {
        let dir = self.config.dir.join("spool");
        let (bytes_max, floor) = (
            self.config.limits.spool_bytes_max,
            u64::try_from(now().0).unwrap_or(0),
        );
        let fail = |path: PathBuf, reason: String| super::WorkerError::File { path, reason };
        let opened = dir.clone();
        let spool = tokio::task::spawn_blocking(move || Spool::open(&opened, bytes_max, floor))
            .await
            .map_err(|error| fail(dir.clone(), error.to_string()))?
            .map_err(|error| fail(dir.clone(), error.to_string()))?;
        self.newest.send_replace(spool.last());
        self.spool.replace(Some(spool));
        let path = self.table_path();
        match std::fs::read(&path) {
            Ok(json) => {
                let table: RoutingTable =
                    serde_json::from_slice(&json).map_err(|error| fail(path.clone(), error.to_string()))?;
                table
                    .check()
                    .map_err(|error| fail(path.clone(), error.to_string()))?;
                self.put_in_force(table).await;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(path, error.to_string())),
        }
        Ok(())
    }

    fn table_path(&self) -> PathBuf {
        self.config.dir.join("table.json")
    }

    /// Applies a table: written to disk first, then in force on every lane when this returns.
    pub(super) async fn apply(&self, table: RoutingTable) -> Result<(), ApplyError> {
        let _turn = self.applying.lock().await;
        table.check_successor_of(&self.table.borrow())?;
        let path = self.table_path();
        write_atomically(&path, &table).map_err(|error| ApplyError::Write(path, error))?;
        self.put_in_force(table).await;
        Ok(())
    }

    async fn put_in_force(&self, table: RoutingTable) {
        let shared = Arc::new(table);
        let answers: Vec<_> = self
            .lanes
            .iter()
            .map(|lane| {
                let (answer, in_force) = oneshot::channel();
                // A lane that is gone routes nothing.
                let _gone = lane.send(Order::Table(Arc::clone(&shared), answer));
                in_force
            })
            .collect();
        for answer in answers {
            let _gone = answer.await;
        }
        self.table.replace((*shared).clone());
        self.health.borrow_mut().follow(&shared);
        // An endpoint that stayed unhealthy across tables is told again: its state may be new on the lanes.
        for status in self.health.borrow().statuses() {
            let eligible = status.health != crate::Health::Unhealthy;
            self.order(|| Order::Eligible(status.instance.clone(), status.address, eligible));
        }
    }

    /// Collects from the lanes what they counted.
    pub(super) async fn gather(&self) {
        let asked: Vec<_> = self
            .lanes
            .iter()
            .map(|lane| {
                let (answer, report) = oneshot::channel();
                let _gone = lane.send(Order::Report(answer));
                report
            })
            .collect();
        let mut in_flight: HashMap<Placement, u64> = HashMap::new();
        let mut all_busy = Vec::new();
        let (mut connections, mut requests) = (0, std::mem::take(&mut self.pending.borrow_mut().requests));
        for report in asked {
            let Ok(Report {
                cells,
                requests: sampled,
                users,
                counters,
                in_flight: placed,
                busy,
                connections_open,
            }) = report.await
            else {
                continue;
            };
            self.pending.borrow_mut().cells.extend(cells);
            self.pending.borrow_mut().users.extend(users);
            requests.extend(sampled);
            connections += connections_open;
            self.counters.borrow_mut().add(&counters);
            all_busy.extend(busy);
            for (placement, count) in placed {
                *in_flight.entry(placement).or_default() += count;
            }
        }
        self.pending.borrow_mut().requests.extend(sample::merge(requests));
        self.connections_open.set(connections);
        self.counters.borrow_mut().connections_open = connections as u64;
        self.in_flight.replace(in_flight.into_iter().collect());
        self.busy.replace(all_busy);
    }

    /// Puts what was gathered into the spool as a frame.
    pub(super) fn frame(&self) {
        let mut spool = self.spool.borrow_mut();
        let Some(spool) = spool.as_mut() else {
            return;
        };
        let interval_ms = u64::try_from(self.framed_at.get().elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut pending = self.pending.borrow_mut();
        if pending.cells.is_empty() && pending.requests.is_empty() && interval_ms < SILENCE_MS {
            return;
        }
        let frame = Frame {
            format: FRAME_FORMAT,
            sequence: spool.last() + 1,
            at: now(),
            interval_ms,
            cells: merge_cells(std::mem::take(&mut pending.cells)),
            requests: std::mem::take(&mut pending.requests),
            users: std::mem::take(&mut pending.users),
            frames_dropped: spool.dropped(),
        };
        let written = serde_json::to_vec(&frame)
            .map_err(std::io::Error::from)
            .and_then(|json| spool.append(&json));
        if let Err(error) = written {
            tracing::error!(%error, "failed to spool a frame: its counts wait for the next one");
            pending.cells = frame.cells;
            pending.users = frame.users;
            return;
        }
        self.framed_at.set(Instant::now());
        self.newest.send_replace(spool.last());
    }

    /// Closes the spool, for the next worker to open.
    pub(super) fn close_spool(&self) {
        self.spool.replace(None);
    }

    /// Calls `read` with the spool, while this worker leads.
    pub(super) fn with_spool<T>(
        &self,
        read: impl FnOnce(&mut Spool) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        match self.spool.borrow_mut().as_mut() {
            Some(spool) => read(spool),
            None => Err(std::io::Error::other("another worker leads now")),
        }
    }

    /// What is pending, for another worker's frames.
    pub(super) fn take_batch(&self) -> Batch {
        let mut batch = std::mem::take(&mut *self.pending.borrow_mut());
        batch.cells = merge_cells(batch.cells);
        batch.in_flight = self.in_flight.borrow().clone();
        batch.busy = self.busy.borrow().clone();
        batch
    }

    /// Client connections open now.
    pub(super) fn connections_open(&self) -> usize {
        self.connections_open.get()
    }

    /// Whether any request was open when last asked.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.borrow().is_empty()
    }

    /// Takes in what a draining worker counted; a repeated delivery is known by its number.
    pub(super) fn deliver(&self, pid: u32, number: u64, batch: Batch) {
        let mut drainers = self.drainers.borrow_mut();
        let drainer = drainers.entry(pid).or_default();
        drainer.in_flight = batch.in_flight;
        drainer.busy = batch.busy;
        drainer.heard = true;
        if number > drainer.number {
            drainer.number = number;
            let mut pending = self.pending.borrow_mut();
            pending.cells.extend(batch.cells);
            pending.requests.extend(batch.requests);
            pending.users.extend(batch.users);
        }
    }

    /// Asks what could go on for ever to end; older workers have asked already.
    pub(super) fn end_streams(&self, ended: &Ended) {
        self.order(|| Order::EndStreams(ended.clone()));
    }

    /// Requests under way to a release or some of its instances, here and in older workers.
    pub(super) async fn in_flight(&self, meant: &Ended) -> InFlight {
        self.gather().await;
        let count = |list: &[(Placement, u64)], busy: &[(InstanceId, u64)]| -> u64 {
            if meant.instances.is_empty() {
                let covered = list.iter().filter(|(placement, _)| meant.covers(placement));
                return covered.map(|(_, count)| count).sum();
            }
            let named = busy
                .iter()
                .filter(|(instance, _)| meant.instances.contains(instance));
            named.map(|(_, count)| count).sum()
        };
        let mut drainers = self.drainers.borrow_mut();
        drainers.retain(|pid, _| std::path::Path::new(&format!("/proc/{pid}")).exists());
        let older = drainers.values();
        InFlight {
            requests: count(&self.in_flight.borrow(), &self.busy.borrow())
                + older
                    .map(|drainer| count(&drainer.in_flight, &drainer.busy))
                    .sum::<u64>(),
            unheard_workers: drainers.values().filter(|drainer| !drainer.heard).count() as u64,
        }
    }

    /// Keeps up with the certificate's files.
    pub(super) async fn reload_certificates(self: Rc<Self>) {
        let Some(certificates) = &self.certificates else {
            return;
        };
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let reading = Arc::clone(certificates);
            let problem = match tokio::task::spawn_blocking(move || reading.reload()).await {
                Ok((is_new, problem)) => {
                    if is_new {
                        tracing::info!("certificates were replaced");
                        self.counters.borrow_mut().tls_reloads += 1;
                    }
                    problem.map(|problem| problem.to_string())
                }
                Err(error) => Some(error.to_string()),
            };
            let before = self.tls_error.replace(problem.clone());
            if let Some(problem) = problem.filter(|problem| before.as_ref() != Some(problem)) {
                tracing::error!("failed to {problem}: the certificate before it stays");
            }
        }
    }

    /// The worker's part of the status.
    pub(super) fn status(&self) -> WorkerStatus {
        let spool = self.spool.borrow();
        WorkerStatus {
            pid: std::process::id(),
            started_at: self.started_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            table_version: self.table.borrow().version,
            endpoints: self.health.borrow().statuses(),
            counters: *self.counters.borrow(),
            tls_error: self.tls_error.borrow().clone(),
            spool_bytes: spool.as_ref().map_or(0, Spool::bytes),
            frames_dropped: spool.as_ref().map_or(0, Spool::dropped),
            frame_sequence: spool.as_ref().map_or(0, Spool::last),
        }
    }
}

/// Adds up cells that differ only in the lane that counted them.
fn merge_cells(cells: Vec<crate::Cell>) -> Vec<crate::Cell> {
    let mut merged: Vec<crate::Cell> = Vec::with_capacity(cells.len());
    let mut places: HashMap<(String, ReleaseId, String), Vec<usize>> = HashMap::new();
    for cell in cells {
        let place = (
            cell.environment.to_string() + "/" + cell.service.as_str(),
            cell.release.clone(),
            cell.operation.clone(),
        );
        let candidates = places.entry(place).or_default();
        let same = candidates
            .iter()
            .copied()
            .find(|at| is_same_kind(&merged[*at], &cell));
        if let Some(at) = same {
            let into = &mut merged[at];
            into.requests += cell.requests;
            into.errors += cell.errors;
            into.client_errors += cell.client_errors;
            into.retries += cell.retries;
            into.latency.merge(&cell.latency);
        } else {
            candidates.push(merged.len());
            merged.push(cell);
        }
    }
    merged
}

/// Whether cells of one operation on one release count the same kind of request.
fn is_same_kind(a: &crate::Cell, b: &crate::Cell) -> bool {
    a.arm == b.arm
        && a.rollout == b.rollout
        && (a.weight, a.seen_weight) == (b.weight, b.seen_weight)
        && (a.mirrored, a.returning) == (b.mirrored, b.returning)
}

/// Writes by rename, so that a reader sees the old file or the new one, whole.
fn write_atomically(path: &std::path::Path, table: &RoutingTable) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let beside = path.with_extension("json.new");
    // The preview's secret is in it: for this user only.
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&serde_json::to_vec(table)?)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}
