//! The way to an instance and back to the response's head, the same for every protocol in front.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use http::Method;
use tokio::time::Instant;

use super::accept::Peer;
use super::exchange::Exchange;
use super::lane::Lane;
use super::routes::EndpointState;
use super::upstream::{BodySource, Upload, UploadError, Upstream};
use crate::http1::{BodyLength, Deadline, RequestHead, ResponseHead};

/// Instances of one arm asked for one request.
const ATTEMPTS_MAX: u32 = 3;

/// Who asked: gives the body, and may leave.
pub(super) trait Client: BodySource {
    /// Ready when the client has left.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
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
    let mut tried: Vec<Rc<EndpointState>> = Vec::new();
    let mut fresh = false;
    loop {
        let Some(endpoint) = exchange.pool.choose(&tried) else {
            let failure = if tried.is_empty() {
                (503, "no_endpoint")
            } else {
                (502, "connect_failed")
            };
            return Err(Failure::Status(failure.0, failure.1));
        };
        exchange.instance = Some(Rc::clone(&endpoint));
        let mut upstream = match connect(&endpoint, fresh, client, deadline).await? {
            Ok(upstream) => upstream,
            Err(_) if exchange.retries + 1 < ATTEMPTS_MAX => {
                exchange.retries += 1;
                tried.push(endpoint);
                continue;
            }
            Err(_) => return Err(Failure::Status(502, "connect_failed")),
        };
        lane.counters.borrow_mut().upstream_connections += u64::from(!upstream.reused);
        write_request(&mut upstream.wire.output, head, peer, exchange);
        let mut upload = Upload::new(head.body, lane.config.limits.body_bytes_max);
        match heads(
            &mut upstream,
            &mut upload,
            head.method == Method::HEAD,
            client,
            deadline,
        )
        .await
        {
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
                fresh = true;
            }
            Err(Stop::Instance(what)) => return Err(Failure::Status(502, what)),
            Err(Stop::Failure(failure)) => return Err(failure),
        }
    }
}

async fn connect(
    endpoint: &Rc<EndpointState>,
    fresh: bool,
    client: &mut impl Client,
    deadline: &mut Deadline,
) -> Result<io::Result<Upstream>, Failure> {
    let mut connecting = pin!(Upstream::connect(Rc::clone(endpoint), fresh));
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

enum Stop {
    Instance(&'static str),
    Failure(Failure),
}

/// Uploads and waits for the response's head at once, for an instance may answer before it has read all.
async fn heads(
    upstream: &mut Upstream,
    upload: &mut Upload,
    head_only: bool,
    client: &mut impl Client,
    deadline: &mut Deadline,
) -> Result<ResponseHead, Stop> {
    std::future::poll_fn(|cx| {
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
        if let Poll::Ready(head) = upstream.poll_head(cx, head_only) {
            return Poll::Ready(head.map_err(Stop::Instance));
        }
        if upload.is_done() && client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Stop::Failure(Failure::ClientGone)));
        }
        deadline
            .poll(cx)
            .map(|()| Err(Stop::Failure(Failure::Status(504, "timeout"))))
    })
    .await
}

/// Appends the head that the instance gets: the client's, with the proxy's own headers.
fn write_request(out: &mut BytesMut, head: &RequestHead, peer: &Peer, exchange: &Exchange) {
    use std::fmt::Write;
    out.reserve(head.headers.len() + head.target.len() + 512);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    put(&[
        head.method.as_str().as_bytes(),
        b" ",
        &head.target,
        b" HTTP/1.1\r\nhost: ",
        &head.host,
        b"\r\n",
    ]);
    put(&[&head.headers, b"traceparent: ", &exchange.trace.header(), b"\r\n"]);
    put(&[b"x-forwarded-for: "]);
    if let Some(before) = head.forwarded_for.as_ref().filter(|_| peer.is_trusted) {
        put(&[before, b", "]);
    }
    // Writing to a buffer that grows cannot fail.
    let _infallible = write!(out, "{}\r\n", peer.address.ip().to_canonical());
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let scheme: &[u8] = if peer.is_tls { b"https" } else { b"http" };
    let proto = head
        .forwarded_proto
        .as_deref()
        .filter(|_| peer.is_trusted)
        .unwrap_or(scheme);
    let host = head
        .forwarded_host
        .as_deref()
        .filter(|_| peer.is_trusted)
        .unwrap_or(&head.host);
    put(&[
        b"x-forwarded-proto: ",
        proto,
        b"\r\nx-forwarded-host: ",
        host,
        b"\r\n",
    ]);
    if let Some(upgrade) = &head.upgrade {
        put(&[b"connection: upgrade\r\nupgrade: ", upgrade, b"\r\n"]);
    }
    match head.body {
        BodyLength::Bytes(length) => {
            let _infallible = write!(out, "content-length: {length}\r\n\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        // A length of zero must be said where a body is usual (RFC 9110 §8.6).
        _ if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {
            out.extend_from_slice(b"content-length: 0\r\n\r\n");
        }
        _ => out.extend_from_slice(b"\r\n"),
    }
}
