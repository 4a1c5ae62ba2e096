//! One request from its head to its last byte: counted exactly once, whatever happens to it.

use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use trimtab_model::{ReleaseId, Timestamp};

use super::draw::{self, CookieOrder, Drawn};
use super::endpoint::EndpointState;
use super::lane::Lane;
use super::pool::PoolState;
use super::routes::RouteState;
use super::tally::{Outcome, Side, Unit};
use super::trace::Trace;
use crate::RequestRecord;
use crate::http1::RequestHead;
use crate::table::preview_token_valid;

/// Longest path in a record.
const PATH_BYTES_MAX: usize = 256;
/// Status of a client that left before the response's head (nginx's number).
const CLIENT_LEFT: u16 = 499;

/// A wait for the end of streams.
pub(super) type Ending = Pin<Box<dyn Future<Output = ()>>>;

/// A request under way. Dropping it counts it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) route: Rc<RouteState>,
    pub(super) pool: Rc<PoolState>,
    pub(super) trace: Trace,
    pub(super) retries: u32,
    /// The instance asked last.
    pub(super) instance: Option<Rc<EndpointState>>,
    lane: Rc<Lane>,
    side: Side,
    unit: Unit,
    cookie: Option<CookieOrder>,
    operation: usize,
    /// Whose it is, where the route knows its users.
    user: Option<u64>,
    started: Instant,
    method: Method,
    target: Bytes,
    status: u16,
    failure: Option<&'static str>,
    /// Testers' requests are in no cell.
    is_preview: bool,
    counted: bool,
}

/// Why a request got no further than the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The preview header names no release here, or the token is missing, wrong or expired.
    Preview,
}

impl Exchange {
    /// Draws the arm of a request on its route.
    pub(super) fn begin(lane: &Rc<Lane>, route: Rc<RouteState>, head: &RequestHead) -> Result<Self, Refusal> {
        let rng = &mut *lane.rng.borrow_mut();
        let asked_for = match &head.preview {
            Some(release) => Some(preview_pool(&route, release, head).ok_or(Refusal::Preview)?),
            None if route.route.policy.testers.is_empty() => None,
            None => draw::tester(&route, head),
        };
        let is_preview = asked_for.is_some();
        let drawn = match asked_for {
            Some(pool) => Drawn {
                side: Side::Candidate,
                pool,
                unit: Unit::default(),
                cookie: None,
            },
            None => draw::draw(&route, head, lane.config.place, rng),
        };
        let trace = Trace::from_header(head.traceparent.as_deref(), rng);
        Ok(Exchange::new(lane, route, drawn, head, trace, is_preview))
    }

    /// The copy of a live request, if the mirror's coin says so: GET or HEAD without a body.
    pub(super) fn begin_mirrored(lane: &Rc<Lane>, live: &Exchange, head: &RequestHead) -> Option<Self> {
        live.route.route.mirror.as_ref()?;
        let safe = matches!(head.method, Method::GET | Method::HEAD) && head.is_repeatable();
        if !safe || live.is_preview {
            return None;
        }
        let rng = &mut *lane.rng.borrow_mut();
        let pool = live.route.draw_mirror(rng)?;
        let trace = Trace::from_header(None, rng);
        Some(Exchange::new(
            lane,
            Rc::clone(&live.route),
            Drawn {
                side: Side::Mirror,
                pool,
                unit: Unit::default(),
                cookie: None,
            },
            head,
            trace,
            false,
        ))
    }

    fn new(
        lane: &Rc<Lane>,
        route: Rc<RouteState>,
        drawn: Drawn,
        head: &RequestHead,
        trace: Trace,
        is_preview: bool,
    ) -> Self {
        let Drawn {
            side,
            pool,
            unit,
            cookie,
        } = drawn;
        pool.load.requests.set(pool.load.requests.get() + 1);
        Exchange {
            operation: route.tally.operation(&head.method, head.path()),
            user: user_of(&route, head).filter(|_| side != Side::Mirror),
            lane: Rc::clone(lane),
            route,
            pool,
            trace,
            retries: 0,
            instance: None,
            side,
            unit,
            cookie,
            started: Instant::now(),
            method: head.method.clone(),
            target: head.target.clone(),
            status: 0,
            failure: None,
            is_preview,
            counted: false,
        }
    }

    /// Bytes that the request's body may have.
    pub(super) fn body_bytes_max(&self) -> u64 {
        let limit = self.lane.config.limits.body_bytes_max;
        let own = self.route.route.policy.body_bytes_max;
        own.map_or(limit, |own| own.min(limit))
    }

    /// Until when this request waits for an instance, if its route holds requests.
    pub(super) fn held_until(&self) -> Option<Instant> {
        let hold_ms = self.route.route.policy.hold_ms;
        let limit = Duration::from_millis(hold_ms).min(self.route.timeout);
        (hold_ms > 0).then(|| self.started + limit)
    }

    /// Notes how an instance did, for its ejection.
    pub(super) fn note(&self, endpoint: &EndpointState, failed: bool) {
        if self.pool.note(endpoint, failed) {
            self.lane.counters.borrow_mut().ejections += 1;
        }
    }

    /// Follows the table in force, before anything was sent: the same arm, with its instances of
    /// today. If its release is gone or has no share any more, the coin is tossed anew: who waited for an
    /// instance of a release that was rolled back meanwhile is served by the other.
    pub(super) fn rebind(&mut self, head: &RequestHead) {
        let routes = self.lane.routes();
        let Some(route) = routes.find(&head.host, head.path()) else {
            return;
        };
        let release = &self.pool.release;
        let stays = self.is_preview || self.side == Side::Mirror || route.may_draw(release);
        if let Some(pool) = route.pool_of(release).filter(|_| stays) {
            self.move_to(pool);
        } else if let Ok(mut anew) = Exchange::begin(&self.lane, Rc::clone(route), head) {
            anew.started = self.started;
            std::mem::replace(self, anew).forget();
        }
    }

    /// Turns to the other arm, though it is still counted in the one that was drawn; false if there
    /// is none.
    pub(super) fn cross(&mut self) -> bool {
        let other = self.route.other_arm(self.side).cloned();
        other.inspect(|pool| self.move_to(Rc::clone(pool))).is_some()
    }

    fn move_to(&mut self, pool: Rc<PoolState>) {
        pool.load.requests.set(pool.load.requests.get() + 1);
        let before = std::mem::replace(&mut self.pool, pool);
        before
            .load
            .requests
            .set(before.load.requests.get().saturating_sub(1));
    }

    /// When the request's head had come.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The `Set-Cookie` that the answer carries, if any.
    pub(super) fn set_cookie(&self, is_tls: bool) -> Option<String> {
        draw::set_cookie(&self.route, self.cookie?, is_tls)
    }

    /// Ready when a stream that could go on for ever is to end: its release, its instance or the worker
    /// drains.
    pub(super) fn ending(&self) -> Ending {
        let (release, mut worker) = (self.pool.load.ending.asked(), self.lane.draining());
        let instance = self.instance.as_ref().map(|instance| instance.ending.asked());
        Box::pin(async move {
            let instance = async {
                match instance {
                    Some(ending) => ending.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = release => {}
                () = instance => {}
                _drain = worker.wait_for(|draining| *draining) => {}
            }
        })
    }

    /// The status sent to the client.
    pub(super) fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// The proxy or the instance failed this request.
    pub(super) fn fail(&mut self, failure: &'static str) {
        self.failure = Some(failure);
    }

    /// Counts the request now; what follows (a tunnel, a stream of events) is only kept as load.
    pub(super) fn count(&mut self) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        let latency = self.started.elapsed();
        let status = if self.status == 0 {
            CLIENT_LEFT
        } else {
            self.status
        };
        let outcome = Outcome {
            status,
            failed: self.failure.is_some(),
            retries: self.retries,
            latency,
        };
        self.lane.counters.borrow_mut().requests += 1;
        if let Some(instance) = self.instance.as_ref().filter(|_| status != CLIENT_LEFT) {
            self.note(instance, outcome.is_error());
        }
        if self.is_preview {
            self.lane.counters.borrow_mut().previewed += 1;
        } else {
            self.route
                .tally
                .record(self.operation, self.side, self.unit, &outcome);
            if let Some(user) = self.user {
                let ended = self.lane.wall_nanos(self.started + latency);
                self.route.tally.record_user(user, &outcome, ended);
            }
        }
        let failed = outcome.is_error();
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if !self.is_preview && self.lane.sampler.borrow().wants(failed, nanos) {
            let record = self.record(status, nanos);
            self.lane.sampler.borrow_mut().keep(failed, record);
        }
    }

    /// Leaves the request out of every count: it was never sent.
    pub(super) fn forget(mut self) {
        self.counted = true;
    }

    fn record(&self, status: u16, duration_nanos: u64) -> RequestRecord {
        let end = memchr::memchr(b'?', &self.target)
            .unwrap_or(self.target.len())
            .min(PATH_BYTES_MAX);
        let route = &self.route.route;
        RequestRecord {
            trace_id: format!("{:032x}", self.trace.trace_id),
            span_id: format!("{:016x}", self.trace.span_id),
            parent_span_id: self.trace.parent.map(|parent| format!("{parent:016x}")),
            start_nanos: self.lane.wall_nanos(self.started),
            duration_nanos,
            service: route.service.clone(),
            environment: route.environment.clone(),
            release: self.pool.release.clone(),
            instance: self
                .instance
                .as_ref()
                .map(|instance| instance.endpoint.instance.clone()),
            arm: self.side.arm(),
            rollout: route.split.rollout.clone(),
            operation: self.route.tally.name(self.operation),
            method: self.method.to_string(),
            path: String::from_utf8_lossy(&self.target[..end]).into_owned(),
            status,
            error: self.failure.map(str::to_owned),
            mirrored: self.side == Side::Mirror,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.count();
        let requests = &self.pool.load.requests;
        requests.set(requests.get().saturating_sub(1));
    }
}

fn user_of(route: &RouteState, head: &RequestHead) -> Option<u64> {
    let name = route.route.policy.users_by.as_ref()?;
    let value = std::str::from_utf8(head.header(name.as_bytes())?).ok()?;
    (!value.is_empty()).then(|| trimtab_flags::user_hash(value))
}

fn preview_pool(route: &RouteState, release: &[u8], head: &RequestHead) -> Option<Rc<PoolState>> {
    let secret = &route.route.preview.as_ref()?.secret;
    let release = ReleaseId::new(std::str::from_utf8(release).ok()?).ok()?;
    let token = std::str::from_utf8(head.preview_token.as_deref()?).ok()?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    let now = Timestamp::from_nanos(u64::try_from(now.as_nanos()).ok()?);
    if preview_token_valid(secret, &release, token, now) {
        route.pool_of(&release)
    } else {
        None
    }
}
