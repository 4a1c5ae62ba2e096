//! What happens to a request before an arm is drawn for it: it is routed, turned away, or held.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::Method;

use super::accept::Peer;
use super::challenge;
use super::draw;
use super::exchange::{Exchange, Refusal};
use super::forward::Client;
use super::lane::Lane;
use super::page::Page;
use super::routes::RouteState;
use crate::http1::RequestHead;

/// Requests held at once on a lane; more are turned away.
const HELD_MAX: usize = 4_096;

/// Why there is no exchange.
#[derive(Debug)]
pub(super) enum Turned {
    Away(Page),
    /// The client left while it was held.
    Gone,
}

/// Routes a request and draws its arm.
pub(super) async fn admit(
    lane: &Rc<Lane>,
    peer: &Peer,
    head: &RequestHead,
    client: &mut impl Client,
) -> Result<Exchange, Turned> {
    if head.max_forwards == Some(0) {
        return Err(Turned::Away(last_forward(head)));
    }
    if let Some(page) = challenge::answer(lane, head).await {
        return Err(Turned::Away(page));
    }
    let route = find(lane, head)?;
    if !route.has_gate() {
        return begin(lane, route, head);
    }
    pass_gate(lane, peer, head, client, route).await
}

/// The answer to a TRACE or OPTIONS that was to go no further (RFC 9110 §7.6.2). What came is not given
/// back: cookies would be readable to scripts.
fn last_forward(head: &RequestHead) -> Page {
    let status = if head.method == Method::OPTIONS { 200 } else { 405 };
    Page {
        also: &[("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")],
        ..Page::text(status, "the proxy is as far as this was to go")
    }
}

fn find(lane: &Lane, head: &RequestHead) -> Result<Rc<RouteState>, Turned> {
    match lane.routes().find(&head.host, head.path()) {
        Some(route) => Ok(Rc::clone(route)),
        None => {
            lane.counters.borrow_mut().unrouted += 1;
            Err(Turned::Away(Page::text(404, "no service is routed here")))
        }
    }
}

fn begin(lane: &Rc<Lane>, route: Rc<RouteState>, head: &RequestHead) -> Result<Exchange, Turned> {
    Exchange::begin(lane, route, head).map_err(|Refusal::Preview| {
        lane.counters.borrow_mut().refused += 1;
        let what = "the preview needs a valid token for a release that runs here";
        Turned::Away(Page::text(403, what))
    })
}

/// A route that limits, is closed or paused. Testers pass, but for the limit.
async fn pass_gate(
    lane: &Rc<Lane>,
    peer: &Peer,
    head: &RequestHead,
    client: &mut impl Client,
    mut route: Rc<RouteState>,
) -> Result<Exchange, Turned> {
    let came = Instant::now();
    if let Some(Err(seconds)) = route.limiter().map(|limiter| limiter.admit(peer, head, came)) {
        lane.counters.borrow_mut().rate_limited += 1;
        let mut page = Page::text(429, "too many requests");
        page.retry_after_s = Some(seconds);
        return Err(Turned::Away(page));
    }
    loop {
        let policy = &route.route.policy;
        let is_tester = head.preview.is_some() || draw::tester(&route, head).is_some();
        if is_tester || (policy.maintenance.is_none() && !policy.paused) {
            return begin(lane, route, head);
        }
        if let Some(maintenance) = &policy.maintenance {
            lane.counters.borrow_mut().maintained += 1;
            return Err(Turned::Away(Page {
                content_type: "text/html; charset=utf-8",
                body: maintenance.page.clone().into(),
                retry_after_s: Some(maintenance.retry_after_s),
                ..Page::text(503, "")
            }));
        }
        let until = came + Duration::from_millis(policy.hold_ms);
        match hold(lane, client, until).await {
            Held::Changed => route = find(lane, head)?,
            Held::Enough => return Err(Turned::Away(Page::text(503, "paused"))),
            Held::Gone => return Err(Turned::Gone),
        }
    }
}

/// How a wait for another table, or for an instance, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Changed,
    /// The time is up, or too many are held.
    Enough,
    Gone,
}

/// Holds a request until something changes in what the lane routes by.
pub(super) async fn hold(lane: &Lane, client: &mut impl Client, until: Instant) -> Held {
    if lane.held.get() >= HELD_MAX {
        lane.counters.borrow_mut().hold_refused += 1;
        return Held::Enough;
    }
    let mut change = lane.changes();
    let _place = Place::take(&lane.held);
    lane.counters.borrow_mut().held += 1;
    tokio::select! {
        _changed = change.changed() => Held::Changed,
        () = tokio::time::sleep_until(until.into()) => Held::Enough,
        () = std::future::poll_fn(|cx| client.poll_gone(cx)) => Held::Gone,
    }
}

/// A place among those that are held, until dropped: hyper drops the future of a stream that is reset.
struct Place<'a>(&'a std::cell::Cell<usize>);

impl<'a> Place<'a> {
    fn take(held: &'a std::cell::Cell<usize>) -> Self {
        held.set(held.get() + 1);
        Place(held)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
