//! The way to an instance and back to the response's head, the same for every protocol in front.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::accept::Peer;
use super::admit::{self, Held};
use super::assets;
use super::endpoint::EndpointState;
use super::exchange::Exchange;
use super::lane::Lane;
use super::outgoing::write_request;
use super::routes::RouteState;
use super::upstream::{BodySource, Upload, UploadError, Upstream};
use crate::http1::{Deadline, RequestHead, ResponseHead};

/// Instances of one arm asked for one request.
pub(super) const ATTEMPTS_MAX: u32 = 3;
/// Instances that refused a held request are asked again after this.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// An upload may take its time, but not for ever: after the grace it must have been this fast.
const UPLOAD_GRACE_S: u64 = 30;
const UPLOAD_BYTES_PER_S_MIN: u64 = 256;

/// Who asked: gives the body, and may leave.
pub(super) trait Client: BodySource {
    /// Ready when the client has left.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Hears an interim answer (1xx), which it may pass on.
    fn inform(&mut self, _: &ResponseHead) {}
}

/// A client without a body that never leaves: for copies.
pub(super) struct NoClient;

impl BodySource for NoClient {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<bytes::Bytes, UploadError>>> {
        Poll::Ready(None)
    }
}

impl Client for NoClient {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// An instance's answer, its body still to come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) upstream: Upstream,
    pub(super) upload: Upload,
    pub(super) head: ResponseHead,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Answer the client with this status.
    Status(u16, &'static str),
    /// Nobody waits for an answer.
    ClientGone,
}

/// Gets the answer: from the arm drawn, or, for a file named by its content that this arm does not
/// have, from the other.
pub(super) async fn fetch(
    lane: &Rc<Lane>,
    peer: &Peer,
    head: &RequestHead,
    exchange: &mut Exchange,
    client: &mut impl Client,
    deadline: &mut Deadline,
) -> Result<Answer, Failure> {
    let answer = reach(lane, peer, head, exchange, client, deadline).await?;
    let may_cross = answer.head.status == 404 && exchange.route.route.policy.asset_fallback;
    if !may_cross || !assets::is_asked_for(head) || !exchange.cross() {
        return Ok(answer);
    }
    drop(answer);
    match reach(lane, peer, head, exchange, client, deadline).await {
        Ok(answer) => {
            lane.counters.borrow_mut().assets_crossed += u64::from(answer.head.status < 400);
            Ok(answer)
        }
        Err(Failure::Status(..)) => Err(Failure::Status(404, "asset_missing")),
        Err(Failure::ClientGone) => Err(Failure::ClientGone),
    }
}

/// Instances asked so far.
#[derive(Default)]
pub(super) struct Search {
    tried: Vec<Rc<EndpointState>>,
    attempts: u32,
    /// A connection in use before died: no other is trusted.
    pub(super) fresh: bool,
}

impl Search {
    /// An instance took no connection.
    pub(super) fn failed(&mut self, exchange: &mut Exchange, endpoint: Rc<EndpointState>) {
        exchange.note(&endpoint, true);
        exchange.retries += 1;
        self.attempts += 1;
        self.tried.push(endpoint);
    }
}

/// Sends the request to an instance of the arm drawn and waits for the response's head, until the
/// route's time-out. Another instance of the same arm is asked when the first takes no connection;
/// a repeatable request is sent again when a connection that was idle died under it.
pub(super) async fn reach(
    lane: &Rc<Lane>,
    peer: &Peer,
    head: &RequestHead,
    exchange: &mut Exchange,
    client: &mut impl Client,
    deadline: &mut Deadline,
) -> Result<Answer, Failure> {
    deadline.set(Instant::from_std(exchange.started() + exchange.route.timeout));
    let mut search = Search::default();
    loop {
        let mut upstream = find(lane, head, exchange, client, deadline, &mut search).await?;
        lane.counters.borrow_mut().upstream_connections += u64::from(!upstream.reused);
        write_request(&mut upstream.wire.output, head, peer, exchange);
        let mut upload = Upload::new(head.body, exchange.body_bytes_max());
        let pace = Pace::new(&exchange.route);
        let head_only = head.method == Method::HEAD;
        match heads(&mut upstream, &mut upload, pace, head_only, client, deadline).await {
            Ok(head) => {
                return Ok(Answer {
                    upstream,
                    upload,
                    head,
                });
            }
            Err(Stop::Instance(_))
                if upstream.reused
                    && !upstream.answered
                    && head.is_repeatable()
                    && exchange.retries < ATTEMPTS_MAX =>
            {
                exchange.retries += 1;
                search.fresh = true;
            }
            Err(Stop::Instance(what)) => return Err(Failure::Status(502, what)),
            Err(Stop::Failure(failure)) => return Err(failure),
        }
    }
}

/// A connection to an instance of the arm drawn.
async fn find(
    lane: &Rc<Lane>,
    head: &RequestHead,
    exchange: &mut Exchange,
    client: &mut impl Client,
    deadline: &mut Deadline,
    search: &mut Search,
) -> Result<Upstream, Failure> {
    loop {
        let endpoint = choose(lane, head, exchange, client, search).await?;
        let limit = exchange.route.connect_timeout;
        match connect(&endpoint, search.fresh, limit, client, deadline).await? {
            Ok(upstream) => return Ok(upstream),
            Err(_) => search.failed(exchange, endpoint),
        }
    }
}

/// An instance of the arm drawn; where the route holds requests, however long it takes up to that.
pub(super) async fn choose(
    lane: &Rc<Lane>,
    head: &RequestHead,
    exchange: &mut Exchange,
    client: &mut impl Client,
    search: &mut Search,
) -> Result<Rc<EndpointState>, Failure> {
    loop {
        let chosen = exchange.pool.choose(&search.tried);
        if let Some(endpoint) = chosen.filter(|_| search.attempts < ATTEMPTS_MAX) {
            exchange.instance = Some(Rc::clone(&endpoint));
            return Ok(endpoint);
        }
        let was_refused = !search.tried.is_empty();
        if !wait(lane, head, exchange, client, was_refused).await? {
            return Err(if was_refused {
                Failure::Status(502, "connect_failed")
            } else {
                Failure::Status(503, "no_endpoint")
            });
        }
        *search = Search::default();
    }
}

/// Holds the request until it may be tried again; false when it may not. Instances that refused are
/// asked again soon: they may be back before their health check says so.
async fn wait(
    lane: &Rc<Lane>,
    head: &RequestHead,
    exchange: &mut Exchange,
    client: &mut impl Client,
    was_refused: bool,
) -> Result<bool, Failure> {
    let Some(until) = exchange.held_until() else {
        return Ok(false);
    };
    let now = std::time::Instant::now();
    if now >= until {
        return Ok(false);
    }
    let pause = if was_refused {
        (now + REFUSED_PAUSE).min(until)
    } else {
        until
    };
    match admit::hold(lane, client, pause).await {
        Held::Gone => Err(Failure::ClientGone),
        Held::Changed => {
            exchange.rebind(head);
            Ok(true)
        }
        Held::Enough => Ok(was_refused && pause < until),
    }
}

async fn connect(
    endpoint: &Rc<EndpointState>,
    fresh: bool,
    limit: Duration,
    client: &mut impl Client,
    deadline: &mut Deadline,
) -> Result<io::Result<Upstream>, Failure> {
    let mut connecting = pin!(Upstream::connect(Rc::clone(endpoint), fresh, limit));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(upstream) = connecting.as_mut().poll(cx) {
            return Poll::Ready(Ok(upstream));
        }
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::ClientGone));
        }
        deadline.poll(cx).map(|()| Err(Failure::Status(504, "timeout")))
    })
    .await
}

/// How fast an upload must go: the route's time-out counts from its end, so that a long one is not cut
/// off, but it must move.
struct Pace {
    started: Instant,
    timeout: Duration,
    stall: Duration,
    sent: u64,
}

impl Pace {
    fn new(route: &RouteState) -> Self {
        Pace {
            started: Instant::now(),
            timeout: route.timeout,
            stall: route.stall,
            sent: 0,
        }
    }

    /// Moves the deadline after a step of the upload; false if it is too slow to go on.
    fn follow(&mut self, upload: &Upload, deadline: &mut Deadline) -> bool {
        if upload.is_done() {
            deadline.set(Instant::now() + self.timeout);
        } else if upload.sent() > self.sent {
            self.sent = upload.sent();
            let now = Instant::now();
            deadline.set(now + self.stall);
            let seconds = now.duration_since(self.started).as_secs();
            return seconds < UPLOAD_GRACE_S || self.sent / seconds >= UPLOAD_BYTES_PER_S_MIN;
        }
        true
    }
}

enum Stop {
    Instance(&'static str),
    Failure(Failure),
}

/// Uploads and waits for the response's head at once, for an instance may answer before it has read all.
async fn heads(
    upstream: &mut Upstream,
    upload: &mut Upload,
    mut pace: Pace,
    head_only: bool,
    client: &mut impl Client,
    deadline: &mut Deadline,
) -> Result<ResponseHead, Stop> {
    std::future::poll_fn(|cx| {
        loop {
            let is_uploading = upload.has_body() && !upload.is_done();
            match upload.poll(cx, client, &mut upstream.wire) {
                Poll::Ready(Err(UploadError::ClientGone)) => {
                    return Poll::Ready(Err(Stop::Failure(Failure::ClientGone)));
                }
                Poll::Ready(Err(UploadError::Malformed)) => {
                    return Poll::Ready(Err(Stop::Failure(Failure::Status(400, "malformed_body"))));
                }
                Poll::Ready(Err(UploadError::TooLarge)) => {
                    return Poll::Ready(Err(Stop::Failure(Failure::Status(413, "body_too_large"))));
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if is_uploading && !pace.follow(upload, deadline) {
                return Poll::Ready(Err(Stop::Failure(Failure::Status(408, "upload_too_slow"))));
            }
            let mut informed = false;
            let inform = &mut |head: &ResponseHead| {
                informed = true;
                client.inform(head);
            };
            if let Poll::Ready(head) = upstream.poll_head(cx, head_only, inform) {
                return Poll::Ready(head.map_err(Stop::Instance));
            }
            if informed {
                // It may be what the client waits for before it sends its body.
                continue;
            }
            if upload.is_done() && client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Stop::Failure(Failure::ClientGone)));
            }
            return deadline.poll(cx).map(|()| {
                // With nothing left to pass on, it is the client who is waited for.
                let client_stalls = !upload.is_done() && upstream.wire.output.is_empty();
                let failure = if client_stalls {
                    Failure::Status(408, "upload_stalled")
                } else {
                    Failure::Status(504, "timeout")
                };
                Err(Stop::Failure(failure))
            });
        }
    })
    .await
}
