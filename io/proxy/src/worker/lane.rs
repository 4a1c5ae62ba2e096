//! A lane: one thread with its own runtime, copy of the table, connections and counts. Nothing on
//! a request's way is shared with another lane.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use trimtab_model::{EnvironmentName, InstanceId, ReleaseId, ServiceName};

use super::accept::{self, Listeners};
use super::draw::LanePlace;
use super::limiter::Limiters;
use super::routes::{Estate, RouteState, Routes};
use super::sample::Sampler;
use crate::peers::TrustedPeers;
use crate::protocol::Placement;
use crate::{Counters, Limits, RequestRecord, RoutingTable};

/// What a lane is told once.
#[derive(Debug, Clone)]
pub(super) struct LaneConfig {
    pub(super) limits: Limits,
    pub(super) trusted_peers: TrustedPeers,
    pub(super) connections_max: usize,
    pub(super) place: LanePlace,
    pub(super) limiters: Limiters,
    /// Where answers to an ACME server's challenges lie.
    pub(super) challenges: std::path::PathBuf,
}

/// What the lead tells a lane.
#[derive(Debug)]
pub(super) enum Order {
    /// Route by this table from now on; answered when in force.
    Table(Arc<RoutingTable>, oneshot::Sender<()>),
    /// An endpoint's health changed.
    Eligible(InstanceId, SocketAddr, bool),
    /// WebSockets and event streams of a release are to end.
    EndStreams(Ended),
    /// Hand over the counts since the last time.
    Report(oneshot::Sender<Report>),
    /// Begin to accept.
    Accept,
    /// Accept no more and finish what is open.
    Drain,
}

/// A release that is drained, in one environment or in all, or some of its instances.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) service: ServiceName,
    pub(super) environment: Option<EnvironmentName>,
    pub(super) release: ReleaseId,
    /// None means all.
    pub(super) instances: Vec<InstanceId>,
}

impl Ended {
    /// Whether it is drained where `placement` is.
    pub(super) fn covers(&self, placement: &Placement) -> bool {
        placement.service == self.service
            && placement.release == self.release
            && self
                .environment
                .as_ref()
                .is_none_or(|environment| *environment == placement.environment)
    }
}

/// What a lane counted since the last report.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) cells: Vec<crate::Cell>,
    pub(super) requests: Vec<RequestRecord>,
    pub(super) users: Vec<crate::UserRequests>,
    pub(super) counters: Counters,
    pub(super) in_flight: Vec<(Placement, u64)>,
    pub(super) busy: Vec<(InstanceId, u64)>,
    pub(super) connections_open: usize,
}

/// The state of one lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) config: LaneConfig,
    pub(super) rng: RefCell<fastrand::Rng>,
    pub(super) counters: RefCell<Counters>,
    pub(super) sampler: RefCell<Sampler>,
    /// Copies under way, against their limit.
    pub(super) mirroring: Cell<usize>,
    /// Requests held, against their limit.
    pub(super) held: Cell<usize>,
    /// Changes with the table, and when an instance can be used again.
    changed: watch::Sender<()>,
    draining: watch::Sender<bool>,
    connections_open: Cell<usize>,
    connection_closed: tokio::sync::Notify,
    routes: RefCell<Rc<Routes>>,
    /// Routes of earlier tables that may still count requests.
    retired: RefCell<Vec<Rc<RouteState>>>,
    estate: RefCell<Estate>,
    /// The date as headers have it, and the second that it is of.
    date: RefCell<(u64, Rc<str>)>,
    /// The wall clock at a moment of the monotonic one.
    clock: Cell<(Instant, u64)>,
}

/// Counts a client connection for as long as it lives.
#[derive(Debug)]
pub(super) struct OpenConnection(Rc<Lane>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.set(self.0.connections_open.get() - 1);
        self.0.connection_closed.notify_one();
    }
}

impl Lane {
    fn new(config: LaneConfig, seed: u64) -> Self {
        Lane {
            config,
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            counters: RefCell::default(),
            sampler: RefCell::default(),
            mirroring: Cell::new(0),
            held: Cell::new(0),
            changed: watch::Sender::new(()),
            draining: watch::Sender::new(false),
            connections_open: Cell::new(0),
            connection_closed: tokio::sync::Notify::new(),
            routes: RefCell::default(),
            retired: RefCell::default(),
            estate: RefCell::default(),
            date: RefCell::new((0, Rc::from(""))),
            clock: Cell::new(clock_now()),
        }
    }

    /// The routes in force.
    pub(super) fn routes(&self) -> Rc<Routes> {
        Rc::clone(&self.routes.borrow())
    }

    /// Changes when a held request may try again.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether connections should end after the request they are at.
    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Turns true when draining begins.
    pub(super) fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// A moment as nanoseconds since 1970.
    pub(super) fn wall_nanos(&self, moment: Instant) -> u64 {
        let (at, nanos) = self.clock.get();
        let ahead = moment.saturating_duration_since(at).as_nanos() as u64;
        let behind = at.saturating_duration_since(moment).as_nanos() as u64;
        nanos.saturating_add(ahead).saturating_sub(behind)
    }

    /// Today and now, as a `Date` header has it.
    pub(super) fn date(&self) -> Rc<str> {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            *date = (second, httpdate::fmt_http_date(now).into());
        }
        Rc::clone(&date.1)
    }

    /// Registers a client connection, waiting while there are too many.
    pub(super) async fn open_connection(self: &Rc<Self>) -> OpenConnection {
        if self.connections_open.get() >= self.config.connections_max {
            self.counters.borrow_mut().accept_paused += 1;
            while self.connections_open.get() >= self.config.connections_max {
                self.connection_closed.notified().await;
            }
        }
        self.connections_open.set(self.connections_open.get() + 1);
        OpenConnection(Rc::clone(self))
    }

    fn apply(&self, table: &RoutingTable) {
        let routes = self.estate.borrow_mut().build(table, &self.config.limiters);
        let before = self.routes.replace(Rc::new(routes));
        self.retired.borrow_mut().extend(before.all().cloned());
        self.changed.send_replace(());
    }

    fn report(&self) -> Report {
        self.clock.set(clock_now());
        let (mut cells, mut users) = (Vec::new(), Vec::new());
        let mut counters = std::mem::take(&mut *self.counters.borrow_mut());
        for route in self.routes().all() {
            route.tally.take(route, &mut cells);
            users.extend(route.tally.take_users(route));
            counters.operations_folded += route.tally.take_folded();
        }
        self.retired.borrow_mut().retain(|route| {
            route.tally.take(route, &mut cells);
            users.extend(route.tally.take_users(route));
            Rc::strong_count(route) > 1
        });
        counters.connections_open = self.connections_open.get() as u64;
        let estate = self.estate.borrow();
        estate.sweep();
        Report {
            cells,
            requests: self.sampler.borrow_mut().take(),
            users,
            counters,
            in_flight: estate.in_flight(),
            busy: estate.busy(),
            connections_open: self.connections_open.get(),
        }
    }
}

fn clock_now() -> (Instant, u64) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX))
}

/// Runs a lane on the calling thread until the lead is gone.
pub(super) fn run(
    config: LaneConfig,
    seed: u64,
    listeners: Listeners,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lane = Rc::new(Lane::new(config, seed));
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let mut listeners = Some(listeners);
        let mut acceptors = Vec::new();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Table(table, in_force) => {
                    lane.apply(&table);
                    // The lead may have given up waiting; the table is in force all the same.
                    let _gone = in_force.send(());
                }
                Order::Eligible(instance, address, eligible) => {
                    lane.estate.borrow().set_eligible(&instance, address, eligible);
                    if eligible {
                        lane.changed.send_replace(());
                    }
                }
                Order::EndStreams(ended) => lane.estate.borrow().end_streams(&ended),
                Order::Report(answer) => {
                    let _gone = answer.send(lane.report());
                }
                Order::Accept => {
                    if let Some(listeners) = listeners.take() {
                        acceptors = accept::start(&lane, listeners)?;
                    }
                }
                Order::Drain => {
                    acceptors
                        .drain(..)
                        .for_each(|acceptor: tokio::task::JoinHandle<()>| acceptor.abort());
                    lane.draining.send_replace(true);
                }
            }
        }
        Ok(())
    })
}
