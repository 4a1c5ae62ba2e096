//! One lane's copy of the routing table, with the state that hangs on it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trimtab_model::{EnvironmentName, InstanceId, ReleaseId, RolloutId, ServiceName, Weight};

use super::draw::{Register, SeenUsers};
use super::endpoint::EndpointState;
use super::lane::Ended;
use super::limiter::{Limiter, Limiters};
use super::pool::{Load, PoolState};
use super::tally::{Side, Tally};
use crate::protocol::Placement;
use crate::table::{TicketOffice, cookie_name};
use crate::{Pool, Route, RoutingTable};

/// An instance is on this machine or near: it answers a connect within this or is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A body in which nothing moves for so long is broken off.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A route with its pools and counts.
#[derive(Debug)]
pub(super) struct RouteState {
    pub(super) route: Route,
    /// Of the response's head, from the request's end.
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    /// Of a body in which nothing moves.
    pub(super) stall: Duration,
    pub(super) tally: Tally,
    baseline: Rc<PoolState>,
    candidate: Option<Rc<PoolState>>,
    mirror: Option<Rc<PoolState>>,
    /// Of sticky arms, while there are two.
    register: Option<Register>,
    cookie_name: String,
    limiter: Option<Arc<Limiter>>,
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

    /// Whether requests may be turned away or held before an arm is drawn.
    pub(super) fn has_gate(&self) -> bool {
        let policy = &self.route.policy;
        self.limiter.is_some() || policy.paused || policy.maintenance.is_some()
    }

    /// The rate limit, shared by all lanes.
    pub(super) fn limiter(&self) -> Option<&Limiter> {
        self.limiter.as_deref()
    }

    /// The pool of the other arm, if there are two.
    pub(super) fn other_arm(&self, side: Side) -> Option<&Rc<PoolState>> {
        match side {
            Side::Baseline => self.candidate.as_ref(),
            Side::Candidate => self.candidate.is_some().then_some(&self.baseline),
            Side::Mirror => None,
        }
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

    /// Whether the coin may choose a release under this table.
    pub(super) fn may_draw(&self, release: &ReleaseId) -> bool {
        let weight = self.route.split.candidate_weight;
        let candidate = self.candidate.as_ref();
        (self.baseline.release == *release && weight < Weight::FULL)
            || (weight > Weight::ZERO && candidate.is_some_and(|pool| pool.release == *release))
    }

    fn covers(&self, path: &[u8]) -> bool {
        let prefix = self.route.path_prefix.trim_end_matches('/').as_bytes();
        if path == b"*" {
            // OPTIONS of the server as a whole.
            return prefix.is_empty();
        }
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
    /// Those of earlier tables to which something is still under way.
    leaving: Vec<Rc<EndpointState>>,
    loads: HashMap<Placement, Rc<Load>>,
    users: HashMap<Rollout, SeenUsers>,
}

/// A rollout where it is under way.
type Rollout = (ServiceName, EnvironmentName, RolloutId);

impl Estate {
    /// Builds a table's routes; connections to endpoints that it does not name are closed.
    pub(super) fn build(&mut self, table: &RoutingTable, limiters: &Limiters) -> Routes {
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
                connect_timeout: route
                    .policy
                    .connect_timeout_ms
                    .map_or(CONNECT_TIMEOUT, Duration::from_millis),
                stall: route
                    .policy
                    .stall_timeout_ms
                    .map_or(STALL_TIMEOUT, Duration::from_millis),
                tally: Tally::default(),
                register,
                limiter: limiters.of(route),
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
        self.leaving.retain(|endpoint| Rc::strong_count(endpoint) > 1);
        for (key, endpoint) in before {
            if !self.endpoints.contains_key(&key) {
                endpoint.leave();
                self.leaving.push(endpoint);
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
                let kept = before.get(&key).cloned();
                kept.unwrap_or_else(|| Rc::new(EndpointState::new(endpoint.clone())))
            });
            Rc::clone(state)
        });
        let endpoints = endpoints.collect();
        let placement = Placement {
            service: route.service.clone(),
            environment: route.environment.clone(),
            release: pool.release.clone(),
        };
        let load = Rc::clone(self.loads.entry(placement).or_default());
        Rc::new(PoolState::new(pool, endpoints, load, &route.policy))
    }

    /// Sets what the health check found.
    pub(super) fn set_eligible(&self, instance: &InstanceId, address: std::net::SocketAddr, eligible: bool) {
        if let Some(state) = self.endpoints.get(&(instance.clone(), address)) {
            state.set_eligible(eligible);
        }
    }

    /// Requests under way, by release and place; none that are zero.
    pub(super) fn in_flight(&self) -> Vec<(Placement, u64)> {
        let busy = self.loads.iter().filter(|(_, load)| load.requests.get() > 0);
        busy.map(|(placement, load)| (placement.clone(), load.requests.get()))
            .collect()
    }

    /// Requests under way, by instance; none that are zero.
    pub(super) fn busy(&self) -> Vec<(InstanceId, u64)> {
        let endpoints = self.endpoints.values().chain(&self.leaving);
        let busy = endpoints.filter(|endpoint| endpoint.active.get() > 0);
        busy.map(|endpoint| {
            (
                endpoint.endpoint.instance.clone(),
                u64::from(endpoint.active.get()),
            )
        })
        .collect()
    }

    /// Asks WebSockets and event streams of a release, or of some of its instances, to end.
    pub(super) fn end_streams(&self, ended: &Ended) {
        if !ended.instances.is_empty() {
            let endpoints = self.endpoints.values().chain(&self.leaving);
            endpoints
                .filter(|endpoint| ended.instances.contains(&endpoint.endpoint.instance))
                .for_each(|endpoint| endpoint.ending.ask());
            return;
        }
        let meant = self.loads.iter().filter(|(placement, _)| ended.covers(placement));
        meant.for_each(|(_, load)| load.ending.ask());
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.endpoints.values().for_each(|endpoint| endpoint.sweep(now));
    }
}
