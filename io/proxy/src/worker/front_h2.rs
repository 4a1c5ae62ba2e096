//! HTTP/2 toward clients, framed by hyper; instances are spoken to in HTTP/1.1.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::accept::Peer;
use super::admit::{Turned, admit};
use super::exchange::{Ending, Exchange};
use super::forward::{Answer, Client, Failure, fetch};
use super::front_h1::ClientIo;
use super::lane::Lane;
use super::page::Page;
use super::pass_h2::{self, PassedBody};
use super::relay::STALL_TIMEOUT_EVENTS;
use super::upstream::{BodySource, Upload, UploadError, Upstream};
use super::upstream_h2::LocalExecutor;
use super::{grpc, mirror};
use crate::Protocol;
use crate::http1::{BodyLength, Deadline, Decoded, Decoder, RequestHead, request_from_http};

/// A silent connection is asked for a sign of life after this, and closed after as long again.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Serves a connection until it ends; a drain lets open streams finish.
pub(super) async fn serve<S: ClientIo>(lane: &Rc<Lane>, io: S, peer: &Peer) {
    let limits = &lane.config.limits;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_pending_accept_reset_streams(limits.h2_resets_max)
        .max_local_error_reset_streams(limits.h2_resets_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let service = service_fn(|request| {
        let (lane, peer) = (Rc::clone(lane), peer.clone());
        async move { Ok::<_, Infallible>(handle(&lane, &peer, request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut draining = lane.draining();
    // A connection's error is the client's affair; its requests are counted one by one.
    tokio::select! {
        _over = connection.as_mut() => return,
        _drain = draining.wait_for(|draining| *draining) => connection.as_mut().graceful_shutdown(),
    }
    let _over = connection.await;
}

/// The client's side of a stream.
struct H2Client(Incoming);

impl BodySource for H2Client {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(UploadError::ClientGone))),
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
            }
        }
    }
}

impl Client for H2Client {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // hyper drops the stream's future when the client resets it.
        Poll::Pending
    }
}

/// Answers a request, in gRPC's way if it is one.
async fn handle(lane: &Rc<Lane>, peer: &Peer, request: Request<Incoming>) -> Response<H2Body> {
    let is_grpc = grpc::is_grpc(request.headers());
    let mut response = answer(lane, peer, request).await;
    if is_grpc && matches!(response.body(), H2Body::Own(Some(_))) {
        *response.headers_mut() = grpc::refusal(response.status().as_u16());
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = H2Body::Own(None);
    }
    response
}

async fn answer(lane: &Rc<Lane>, peer: &Peer, request: Request<Incoming>) -> Response<H2Body> {
    let (parts, body) = request.into_parts();
    let head = match request_from_http(&parts, !body.is_end_stream()) {
        Ok(head) => head,
        Err(error) => {
            lane.counters.borrow_mut().refused += 1;
            return own_answer(Page::text(error.status, error.what));
        }
    };
    let mut client = H2Client(body);
    let mut exchange = match admit(lane, peer, &head, &mut client).await {
        Ok(exchange) => exchange,
        Err(Turned::Away(page)) => return own_answer(page),
        // hyper drops the stream's future when the client resets it.
        Err(Turned::Gone) => return own_answer(Page::text(400, "client_gone")),
    };
    let limit = exchange.body_bytes_max();
    if matches!(head.body, BodyLength::Bytes(length) if length > limit) {
        exchange.set_status(413);
        return own_answer(Page::text(413, "body_too_large"));
    }
    mirror::copy(lane, peer, &exchange, &head);
    if exchange.pool.protocol != Protocol::Http1 {
        return pass(lane, peer, &head, exchange, client.0).await;
    }
    let mut deadline = Deadline::new(Instant::from_std(exchange.started()) + exchange.route.timeout);
    let (status, failure) = match fetch(lane, peer, &head, &mut exchange, &mut client, &mut deadline).await {
        Ok(answer) if answer.head.status == 101 => (502, "unasked_upgrade"),
        Ok(answer) => {
            exchange.set_status(answer.head.status);
            if answer.head.is_event_stream {
                exchange.count();
            }
            let cookie = exchange.set_cookie(peer.is_tls);
            let mut response = respond(answer, client, exchange, deadline);
            put_cookie(&mut response, cookie);
            return response;
        }
        Err(Failure::Status(status, failure)) => (status, failure),
        // hyper sends this nowhere.
        Err(Failure::ClientGone) => return own_answer(Page::text(400, "client_gone")),
    };
    failed(peer, exchange, status, failure)
}

/// The same toward an instance that speaks HTTP/2.
async fn pass(
    lane: &Rc<Lane>,
    peer: &Peer,
    head: &RequestHead,
    mut exchange: Exchange,
    body: Incoming,
) -> Response<H2Body> {
    match pass_h2::fetch(lane, peer, head, &mut exchange, body).await {
        Ok(answer) => {
            let cookie = exchange.set_cookie(peer.is_tls);
            let response = pass_h2::respond(answer, exchange);
            let mut response = response.map(|body| H2Body::Pass(Box::new(body)));
            put_cookie(&mut response, cookie);
            response
        }
        Err(Failure::Status(status, failure)) => failed(peer, exchange, status, failure),
        Err(Failure::ClientGone) => own_answer(Page::text(400, "client_gone")),
    }
}

/// Answers for an instance that could not.
fn failed(peer: &Peer, mut exchange: Exchange, status: u16, failure: &'static str) -> Response<H2Body> {
    exchange.set_status(status);
    if status >= 500 {
        exchange.fail(failure);
    }
    own_answer(Page {
        cookie: exchange.set_cookie(peer.is_tls),
        ..Page::text(status, failure)
    })
}

fn put_cookie(response: &mut Response<H2Body>, cookie: Option<String>) {
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().append(http::header::SET_COOKIE, cookie);
    }
}

fn own_answer(page: Page) -> Response<H2Body> {
    let mut response = Response::new(H2Body::Own(Some(page.body)));
    *response.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(page.content_type),
    );
    if let Some(seconds) = page.retry_after_s {
        headers.insert(http::header::RETRY_AFTER, seconds.into());
    }
    put_cookie(&mut response, page.cookie);
    response
}

fn respond(answer: Answer, client: H2Client, exchange: Exchange, mut deadline: Deadline) -> Response<H2Body> {
    let Answer {
        upstream,
        upload,
        head,
    } = answer;
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let stall = if head.is_event_stream {
        STALL_TIMEOUT_EVENTS
    } else {
        exchange.route.stall
    };
    deadline.set(Instant::now() + stall);
    let mut body = RelayBody {
        decoder: Decoder::new(head.body),
        upstream: Some(upstream),
        upload,
        client,
        ending: head.is_event_stream.then(|| exchange.ending()),
        exchange,
        deadline,
        stall,
        keep_alive: head.keep_alive,
    };
    body.release_when_done();
    let mut response = Response::new(H2Body::Relay(Box::new(body)));
    *response.status_mut() = status;
    for (name, value) in head.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(&name),
            HeaderValue::from_maybe_shared(value),
        ) {
            response.headers_mut().append(name, value);
        }
    }
    if let Some(length) = head.length {
        response
            .headers_mut()
            .insert(http::header::CONTENT_LENGTH, length.into());
    }
    response
}

/// A response's body: the proxy's own words, or the instance's.
enum H2Body {
    Own(Option<Bytes>),
    Relay(Box<RelayBody>),
    Pass(Box<PassedBody>),
}

/// An instance's body; counts the request when it ends or is dropped.
struct RelayBody {
    decoder: Decoder,
    upstream: Option<Upstream>,
    upload: Upload,
    client: H2Client,
    exchange: Exchange,
    deadline: Deadline,
    stall: Duration,
    keep_alive: bool,
    /// Of an event stream.
    ending: Option<Ending>,
}

impl RelayBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(cx).is_ready()
        {
            // A client of events takes the end as a sign to come back.
            self.ending = None;
            self.upstream = None;
        }
        loop {
            let Some(upstream) = &mut self.upstream else {
                return Poll::Ready(None);
            };
            if !self.upload.is_done() {
                // The answer has begun: whatever ends the upload now is no news for the client.
                let _over = self.upload.poll(cx, &mut self.client, &mut upstream.wire);
            }
            match self.decoder.decode(&mut upstream.wire.input) {
                Decoded::Piece(piece) => {
                    self.release_when_done();
                    return Poll::Ready(Some(Ok(piece)));
                }
                Decoded::End => {
                    self.release_when_done();
                    return Poll::Ready(None);
                }
                Decoded::Malformed(_) => return Poll::Ready(Some(Err(self.broken("malformed_response")))),
                Decoded::More => {}
            }
            match upstream.wire.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) if self.decoder.ends_with_connection() => {
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Some(Err(self.broken("aborted")))),
                Poll::Ready(Ok(_)) => self.deadline.set(Instant::now() + self.stall),
                Poll::Pending => {
                    ready!(self.deadline.poll(cx));
                    return Poll::Ready(Some(Err(self.broken("stalled"))));
                }
            }
        }
    }

    fn broken(&mut self, failure: &'static str) -> io::Error {
        self.exchange.fail(failure);
        io::Error::other(failure)
    }

    /// hyper asks no more once the body says that it has ended: the connection is given back then.
    fn release_when_done(&mut self) {
        if self.decoder.is_end() {
            let reusable = self.keep_alive && self.upload.is_done();
            if let Some(upstream) = self.upstream.take().filter(|_| reusable) {
                upstream.release();
            }
        }
    }
}

impl Body for H2Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            H2Body::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            H2Body::Relay(body) => body
                .poll(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
            H2Body::Pass(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            H2Body::Own(text) => text.is_none(),
            H2Body::Relay(body) => body.decoder.is_end(),
            H2Body::Pass(body) => body.is_end_stream(),
        }
    }
}
