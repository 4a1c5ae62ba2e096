//! HTTP/2 toward clients, framed by hyper; instances are spoken to in HTTP/1.1.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::accept::Peer;
use super::admit::{Turned, admit};
use super::corked::Corked;
use super::exchange::{Ending, Exchange};
use super::forward::{Answer, Client, Failure, fetch};
use super::front_h1::ClientIo;
use super::lane::Lane;
use super::page::Page;
use super::pass_h2::{self, PassedBody};
use super::relay::STALL_TIMEOUT_EVENTS;
use super::upstream::{BodySource, Upload, UploadError, Upstream};
use super::upstream_h2::{ClientBody, LocalExecutor};
use super::{extended, grpc, mirror};
use crate::http1::{BodyLength, Deadline, Decoded, Decoder, RequestHead, Trailers, request_from_http};

/// A silent connection is asked for a sign of life after this, and closed after as long again.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Serves a connection until it ends; a drain lets open streams finish.
pub(super) async fn serve<S: ClientIo>(lane: &Rc<Lane>, io: Corked<S>, peer: &Peer) {
    let limits = &lane.config.limits;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams_max)
        .max_pending_accept_reset_streams(limits.h2_resets_max)
        .max_local_error_reset_streams(limits.h2_resets_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .enable_connect_protocol();
    let service = service_fn(|request| {
        let (lane, peer) = (Rc::clone(lane), peer.clone());
        async move { Ok::<_, Infallible>(handle(&lane, &peer, request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io.clone()), service));
    let mut draining = lane.draining();
    let mut drain = pin!(draining.wait_for(|draining| *draining));
    let mut is_draining = false;
    std::future::poll_fn(|cx| {
        if !is_draining && drain.as_mut().poll(cx).is_ready() {
            is_draining = true;
            connection.as_mut().graceful_shutdown();
        }
        // A connection's error is the client's affair; its requests are counted one by one.
        let over = connection.as_mut().poll(cx).map(drop);
        match io.poll_uncork(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(())) if io.is_broken() => Poll::Ready(()),
            Poll::Ready(Ok(())) | Poll::Pending => over,
        }
    })
    .await;
    if io.is_broken() {
        // Closing at once would reset the connection under what the client is still sending, and with it
        // the word of why.
        io.linger().await;
    }
}

/// The client's side of a stream.
struct H2Client {
    body: Incoming,
    trailers: Trailers,
}

impl BodySource for H2Client {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(UploadError::ClientGone))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => return Poll::Ready(Some(Ok(piece))),
                    Err(frame) => {
                        self.trailers = frame.trailers_ref().map(Trailers::from_http).unwrap_or_default();
                    }
                },
            }
        }
    }

    fn take_trailers(&mut self) -> Trailers {
        std::mem::take(&mut self.trailers)
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

async fn answer(lane: &Rc<Lane>, peer: &Peer, mut request: Request<Incoming>) -> Response<H2Body> {
    let is_connect = request.method() == Method::CONNECT;
    let on_upgrade = is_connect.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let head = request_from_http(&parts, !is_connect && !body.is_end_stream());
    let head = head.map_err(|error| Page::text(error.status, error.what));
    let offered = head.and_then(|mut head| {
        let protocol = parts.extensions.get::<Protocol>();
        let offer = is_connect.then(|| extended::translate(lane, &mut head, protocol));
        Ok((head, offer.transpose()?))
    });
    let (head, offer) = match offered {
        Ok(offered) => offered,
        Err(page) => {
            lane.counters.borrow_mut().refused += 1;
            return own_answer(page);
        }
    };
    let mut client = H2Client {
        body,
        trailers: Trailers::default(),
    };
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
    if exchange.pool.protocol != crate::Protocol::Http1 {
        if offer.is_some() {
            exchange.forget();
            return own_answer(Page::text(501, "no_websocket_over_http2"));
        }
        return pass(lane, peer, &head, exchange, client.body).await;
    }
    let mut deadline = Deadline::new(Instant::from_std(exchange.started()) + exchange.route.timeout);
    let answer = match fetch(lane, peer, &head, &mut exchange, &mut client, &mut deadline).await {
        Ok(answer) => answer,
        Err(Failure::Status(status, failure)) => return failed(peer, exchange, status, failure),
        // hyper sends this nowhere.
        Err(Failure::ClientGone) => return own_answer(Page::text(400, "client_gone")),
    };
    let cookie = exchange.set_cookie(peer.is_tls);
    let mut response = match (answer.head.status, offer, on_upgrade) {
        (101, Some(offer), Some(on_upgrade)) => match offer.check(&answer.head) {
            Ok(()) => tunnel(lane, on_upgrade, answer, exchange),
            Err(failure) => return failed(peer, exchange, 502, failure),
        },
        (101, ..) => return failed(peer, exchange, 502, "unasked_upgrade"),
        // For a CONNECT any 2xx would mean that the tunnel is there.
        (200..300, Some(_), _) => return failed(peer, exchange, 502, "no_websocket"),
        (status, ..) => {
            exchange.set_status(status);
            if answer.head.is_event_stream {
                exchange.count();
            }
            respond(answer, client, exchange, deadline)
        }
    };
    put_cookie(&mut response, cookie);
    response
}

/// Answers an extended CONNECT whose instance has switched.
fn tunnel(lane: &Rc<Lane>, on_upgrade: OnUpgrade, answer: Answer, exchange: Exchange) -> Response<H2Body> {
    let mut response = Response::new(H2Body::Own(None));
    let headers = answer.head.headers.iter();
    put_headers(
        &mut response,
        headers.filter(|(name, _)| !name.eq_ignore_ascii_case(b"sec-websocket-accept")),
    );
    extended::carry(lane, on_upgrade, answer, exchange);
    response
}

fn put_headers<'a>(response: &mut Response<H2Body>, headers: impl Iterator<Item = &'a (Bytes, Bytes)>) {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_maybe_shared(value.clone()),
        ) {
            response.headers_mut().append(name, value);
        }
    }
}

/// The same toward an instance that speaks HTTP/2.
async fn pass(
    lane: &Rc<Lane>,
    peer: &Peer,
    head: &RequestHead,
    mut exchange: Exchange,
    body: Incoming,
) -> Response<H2Body> {
    match pass_h2::fetch(lane, peer, head, &mut exchange, ClientBody::Incoming(body)).await {
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
    for (name, value) in page.also {
        headers.insert(*name, HeaderValue::from_static(value));
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
    put_headers(&mut response, head.headers.iter());
    if let Some(trailer) = head
        .trailer
        .and_then(|trailer| HeaderValue::from_maybe_shared(trailer).ok())
    {
        response.headers_mut().insert(http::header::TRAILER, trailer);
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
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(cx).is_ready()
        {
            // A client of events takes the end as a sign to come back.
            self.ending = None;
            self.upstream = None;
        }
        loop {
            let Some(upstream) = &mut self.upstream else {
                return Poll::Ready(self.take_trailers());
            };
            if !self.upload.is_done() {
                // The answer has begun: whatever ends the upload now is no news for the client.
                let _over = self.upload.poll(cx, &mut self.client, &mut upstream.wire);
            }
            match self.decoder.decode(&mut upstream.wire.input) {
                Decoded::Piece(piece) => {
                    self.release_when_done();
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Decoded::End => {
                    self.release_when_done();
                    return Poll::Ready(self.take_trailers());
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

    fn take_trailers(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        let trailers = self.decoder.take_trailers();
        (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers.to_http())))
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
            H2Body::Relay(body) => body.poll(cx),
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
