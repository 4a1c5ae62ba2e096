//! One lane's copy of the routing table, with the state that hangs on it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use trimtab_model::{EnvironmentName, InstanceId, ReleaseId, RolloutId, ServiceName, Weight};

use super::draw::{Register, SeenUsers};
use super::lane::Ended;
use super::tally::{Side, Tally};
use crate::http1::Wire;
use crate::protocol::Placement;
use crate::table::{TicketOffice, cookie_name};
use crate::{Endpoint, Pool, Route, RoutingTable};

/// Idle connections kept per endpoint and lane.
const IDLE_MAX: usize = 256;
/// Idle connections are closed after this: before most servers close them (Node: 5 s), because a
/// request sent into a closing connection is lost.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// An instance, its open connections and its load, on one lane. Outlives tables.
#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) endpoint: Endpoint,
    /// False while the health check has failed.
    pub(super) eligible: Cell<bool>,
    /// Requests under way.
    pub(super) active: Cell<u32>,
    idle: RefCell<Vec<(Instant, Wire<TcpStream>)>>,
}

impl EndpointState {
    /// A connection that was idle, the latest first.
    pub(super) fn take_idle(&self) -> Option<Wire<TcpStream>> {
        self.idle.borrow_mut().pop().map(|(_, wire)| wire)
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep_idle(&self, wire: Wire<TcpStream>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push((Instant::now(), wire));
        }
    }

    fn sweep(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain(|(since, _)| now.duration_since(*since) < IDLE_FOR);
    }
}

/// What is under way to one release in one place, on one lane.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) requests: Cell<u64>,
    /// Changes when streams that could go on for ever are to end.
    ending: watch::Sender<()>,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            requests: Cell::new(0),
            ending: watch::Sender::new(()),
        }
    }
}

impl Load {
    /// Ready when a stream that begins now is to end.
    pub(super) fn ending(&self) -> impl Future<Output = ()> + use<> {
        let mut ending = self.ending.subscribe();
        async move {
            if ending.changed().await.is_err() {
                // The last table that names the release is gone, and nobody asks any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// One release's instances on one lane.
#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) release: ReleaseId,
    pub(super) endpoints: Vec<Rc<EndpointState>>,
    /// What is under way to this release; shared by the pools of all tables.
    pub(super) load: Rc<Load>,
    turn: Cell<usize>,
}

impl PoolState {
    /// The eligible endpoint with the fewest requests under way, those not in `tried`; ties take
    /// turns. The arm is drawn before this, so balancing cannot bias a comparison of arms.
    pub(super) fn choose(&self, tried: &[Rc<EndpointState>]) -> Option<Rc<EndpointState>> {
        let count = self.endpoints.len();
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        (0..count)
            .map(|step| &self.endpoints[turn.wrapping_add(step) % count])
            .filter(|endpoint| {
                endpoint.eligible.get() && !tried.iter().any(|other| Rc::ptr_eq(other, endpoint))
            })
            .min_by_key(|endpoint| endpoint.active.get())
            .cloned()
    }
}

/// A route with its pools and counts.
#[derive(Debug)]
pub(super) struct RouteState {
    pub(super) route: Route,
    pub(super) timeout: Duration,
    pub(super) tally: Tally,
    baseline: Rc<PoolState>,
    candidate: Option<Rc<PoolState>>,
    mirror: Option<Rc<PoolState>>,
    /// Of sticky arms, while there are two.
    register: Option<Register>,
    cookie_name: String,
}

impl RouteState {
    /// The pool of a side.
    pub(super) fn pool(&self, side: Side) -> Option<&Rc<PoolState>> {
        match side {
            Side::Baseline => Some(&self.baseline),
            Side::Candidate => self.candidate.as_ref(),
            Side::Mirror => self.mirror.as_ref(),
        }
    }

    /// The baseline's pool.
    pub(super) fn baseline(&self) -> &Rc<PoolState> {
        &self.baseline
    }

    /// How users are known again, if arms are sticky.
    pub(super) fn register(&self) -> Option<&Register> {
        self.register.as_ref()
    }

    /// Name of the cookie that holds a user's ticket.
    pub(super) fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// The mirror's pool, for its share of the requests.
    pub(super) fn draw_mirror(&self, rng: &mut fastrand::Rng) -> Option<Rc<PoolState>> {
        let share = self.route.mirror.as_ref()?.share;
        self.mirror.clone().filter(|_| toss(share, rng))
    }

    /// The pool of a release that testers may name.
    pub(super) fn pool_of(&self, release: &ReleaseId) -> Option<Rc<PoolState>> {
        let pools = [
            Some(&self.baseline),
            self.candidate.as_ref(),
            self.mirror.as_ref(),
        ];
        pools
            .into_iter()
            .flatten()
            .find(|pool| pool.release == *release)
            .cloned()
    }

    fn covers(&self, path: &[u8]) -> bool {
        let prefix = self.route.path_prefix.trim_end_matches('/').as_bytes();
        path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
    }
}

fn toss(weight: Weight, rng: &mut fastrand::Rng) -> bool {
    rng.u16(..10_000) < weight.basis_points()
}

/// Everything a lane routes by.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_host: HashMap<Box<[u8]>, Vec<Rc<RouteState>>>,
    any_host: Vec<Rc<RouteState>>,
}

impl Routes {
    /// The route for a host (with or without port) and a path: the longest prefix.
    pub(super) fn find(&self, host: &[u8], path: &[u8]) -> Option<&Rc<RouteState>> {
        let named = if self.by_host.is_empty() {
            None
        } else {
            self.by_host.get(&host_name(host)[..])
        };
        named
            .and_then(|routes| routes.iter().find(|route| route.covers(path)))
            .or_else(|| self.any_host.iter().find(|route| route.covers(path)))
    }

    /// All routes.
    pub(super) fn all(&self) -> impl Iterator<Item = &Rc<RouteState>> {
        self.by_host.values().flatten().chain(&self.any_host)
    }
}

/// Host without port, in lower case.
fn host_name(host: &[u8]) -> Vec<u8> {
    let bracket = memchr::memchr(b']', host).unwrap_or(0);
    let end = memchr::memchr(b':', &host[bracket..]).map_or(host.len(), |colon| bracket + colon);
    host[..end].to_ascii_lowercase()
}

/// What outlives tables on a lane.
#[derive(Debug, Default)]
pub(super) struct Estate {
    endpoints: HashMap<(InstanceId, std::net::SocketAddr), Rc<EndpointState>>,
    loads: HashMap<Placement, Rc<Load>>,
    users: HashMap<Rollout, SeenUsers>,
}

/// A rollout where it is under way.
type Rollout = (ServiceName, EnvironmentName, RolloutId);

impl Estate {
    /// Builds a table's routes; connections to endpoints that it does not name are closed.
    pub(super) fn build(&mut self, table: &RoutingTable) -> Routes {
        let before = std::mem::take(&mut self.endpoints);
        self.loads
            .retain(|_, load| Rc::strong_count(load) > 1 || load.requests.get() > 0);
        let users = std::mem::take(&mut self.users);
        let mut routes = Routes::default();
        for route in &table.routes {
            let register = self.register(route, &users);
            let mut pool = |pool: &Pool| self.pool(route, pool, &before);
            let state = Rc::new(RouteState {
                baseline: pool(&route.split.baseline),
                candidate: route.split.candidate.as_ref().map(&mut pool),
                mirror: route.mirror.as_ref().map(|mirror| pool(&mirror.pool)),
                timeout: Duration::from_millis(route.timeout_ms),
                tally: Tally::default(),
                register,
                cookie_name: cookie_name(&route.service, &route.environment),
                route: route.clone(),
            });
            if route.host == "*" {
                routes.any_host.push(state);
            } else {
                routes
                    .by_host
                    .entry(route.host.as_bytes().into())
                    .or_default()
                    .push(state);
            }
        }
        for routes in routes.by_host.values_mut().chain([&mut routes.any_host]) {
            routes.sort_by_key(|state| std::cmp::Reverse(state.route.path_prefix.len()));
        }
        routes
    }

    fn register(&mut self, route: &Route, before: &HashMap<Rollout, SeenUsers>) -> Option<Register> {
        let split = &route.split;
        let sticky = split.sticky.as_ref().filter(|_| split.candidate.is_some())?;
        let rollout = split.rollout.as_ref()?;
        let office = TicketOffice::new(sticky, &route.service, &route.environment, rollout);
        let key = (route.service.clone(), route.environment.clone(), rollout.clone());
        let kept = before.get(&key).cloned().unwrap_or_default();
        let seen = Rc::clone(self.users.entry(key).or_insert(kept));
        Some(Register::new(office, sticky, seen))
    }

    fn pool(
        &mut self,
        route: &Route,
        pool: &Pool,
        before: &HashMap<(InstanceId, std::net::SocketAddr), Rc<EndpointState>>,
    ) -> Rc<PoolState> {
        let endpoints = pool.endpoints.iter().map(|endpoint| {
            let key = (endpoint.instance.clone(), endpoint.address);
            let state = self.endpoints.entry(key.clone()).or_insert_with(|| {
                before.get(&key).cloned().unwrap_or_else(|| {
                    Rc::new(EndpointState {
                        endpoint: endpoint.clone(),
                        eligible: Cell::new(true),
                        active: Cell::new(0),
                        idle: RefCell::default(),
                    })
                })
            });
            Rc::clone(state)
        });
        let endpoints = endpoints.collect();
        let placement = Placement {
            service: route.service.clone(),
            environment: route.environment.clone(),
            release: pool.release.clone(),
        };
        Rc::new(PoolState {
            release: pool.release.clone(),
            endpoints,
            load: Rc::clone(self.loads.entry(placement).or_default()),
            turn: Cell::new(0),
        })
    }

    /// Sets what the health check found.
    pub(super) fn set_eligible(&self, instance: &InstanceId, address: std::net::SocketAddr, eligible: bool) {
        if let Some(state) = self.endpoints.get(&(instance.clone(), address)) {
            state.eligible.set(eligible);
        }
    }

    /// Requests under way, by release and place; none that are zero.
    pub(super) fn in_flight(&self) -> Vec<(Placement, u64)> {
        let busy = self.loads.iter().filter(|(_, load)| load.requests.get() > 0);
        busy.map(|(placement, load)| (placement.clone(), load.requests.get()))
            .collect()
    }

    /// Asks WebSockets and event streams of a release to end.
    pub(super) fn end_streams(&self, ended: &Ended) {
        let meant = self.loads.iter().filter(|(placement, _)| ended.covers(placement));
        meant.for_each(|(_, load)| load.ending.send_replace(()));
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.endpoints.values().for_each(|endpoint| endpoint.sweep(now));
    }
}
