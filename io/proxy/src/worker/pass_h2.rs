//! HTTP/2 from end to end: frames of either body pass as they are, trailers included.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::accept::Peer;
use super::exchange::{Ending, Exchange};
use super::forward::{self, ATTEMPTS_MAX, Failure, NoClient, Search};
use super::grpc;
use super::lane::Lane;
use super::outgoing;
use super::relay::STALL_TIMEOUT_EVENTS;
use super::upstream::Lease;
use super::upstream_h2::{ClientBody, Place, Progress, UploadBody};
use crate::http1::{BodyLength, Deadline, RequestHead};

/// Sends the request to an instance of the arm drawn and waits for the answer's head. Sent again when
/// the connection ended before it took the request.
pub(super) async fn fetch(
    lane: &Rc<Lane>,
    peer: &Peer,
    head: &RequestHead,
    exchange: &mut Exchange,
    body: ClientBody,
) -> Result<Answer, Failure> {
    let progress = Progress::new(exchange.body_bytes_max());
    let mut upload = if head.body == BodyLength::Empty {
        progress.ended.set(true);
        UploadBody::Whole(None)
    } else {
        UploadBody::Client(body, Rc::clone(&progress))
    };
    let mut search = Search::default();
    loop {
        let (place, lease) = find(lane, head, exchange, &mut search).await?;
        let request = request(head, peer, exchange, upload)?;
        let sent = send(place, request, &progress, exchange).await?;
        match sent {
            Ok((response, place)) => {
                return Ok(Answer {
                    response,
                    held: (place, lease),
                });
            }
            Err(_) if progress.is_too_large.get() => return Err(Failure::Status(413, "body_too_large")),
            Err(Some(unsent)) if exchange.retries < ATTEMPTS_MAX => upload = unsent,
            Err(None) if head.is_repeatable() && exchange.retries < ATTEMPTS_MAX => {
                upload = UploadBody::Whole(None);
            }
            Err(_) => {
                return Err(Failure::Status(
                    502,
                    "the instance ended the stream before it answered",
                ));
            }
        }
        exchange.retries += 1;
        search.fresh = true;
    }
}

/// An answer's head, and what its body holds on to.
pub(super) struct Answer {
    response: Response<Incoming>,
    held: (Place, Lease),
}

impl Answer {
    /// The answer's status.
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }
}

async fn find(
    lane: &Rc<Lane>,
    head: &RequestHead,
    exchange: &mut Exchange,
    search: &mut Search,
) -> Result<(Place, Lease), Failure> {
    loop {
        let endpoint = forward::choose(lane, head, exchange, &mut NoClient, search).await?;
        let lease = Lease::take(&endpoint);
        if let Some(place) = endpoint.channels.take().filter(|_| !search.fresh) {
            return Ok((place, lease));
        }
        let limit = exchange.route.connect_timeout;
        match endpoint.channels.open(endpoint.endpoint.address, limit).await {
            Ok(place) => {
                lane.counters.borrow_mut().upstream_connections += 1;
                return Ok((place, lease));
            }
            Err(_) => search.failed(exchange, endpoint),
        }
    }
}

fn request(
    head: &RequestHead,
    peer: &Peer,
    exchange: &Exchange,
    body: UploadBody,
) -> Result<Request<UploadBody>, Failure> {
    let malformed = Failure::Status(400, "malformed_head");
    let target = std::str::from_utf8(&head.target).map_err(|_| malformed)?;
    let host = std::str::from_utf8(&head.host).map_err(|_| malformed)?;
    // HTTP/1.0 knows requests without.
    let host = if host.is_empty() { "localhost" } else { host };
    let uri = Uri::builder()
        .scheme("http")
        .authority(host)
        .path_and_query(target)
        .build()
        .map_err(|_| malformed)?;
    let mut lines = BytesMut::new();
    outgoing::write_headers(&mut lines, head, peer, exchange);
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    let lines = lines.freeze();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| malformed)?;
        let value = lines.slice_ref(line[colon + 1..].trim_ascii());
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| malformed)?;
        headers.append(name, value);
    }
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    let trailer = head.trailer.clone().filter(|_| head.body != BodyLength::Empty);
    if let Some(trailer) = trailer.and_then(|trailer| HeaderValue::from_maybe_shared(trailer).ok()) {
        headers.insert(http::header::TRAILER, trailer);
    }
    if let BodyLength::Bytes(length) = head.body {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    Ok(request)
}

/// What became of a request that got no answer: its body, if none of it was sent.
type Sent = Result<(Response<Incoming>, Place), Option<UploadBody>>;

/// The route's time-out counts from the request's end; until then the upload must move.
async fn send(
    mut place: Place,
    request: Request<UploadBody>,
    progress: &Progress,
    exchange: &Exchange,
) -> Result<Sent, Failure> {
    progress.moved.set(Instant::now());
    let answer = place.sender.try_send_request(request);
    let mut answer = pin!(answer);
    let (timeout, stall) = (exchange.route.timeout, exchange.route.stall);
    let mut deadline = Deadline::new(Instant::now() + timeout);
    let answer = std::future::poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        let has_ended = progress.ended.get();
        deadline.set(progress.moved.get() + if has_ended { timeout } else { stall });
        deadline.poll(cx).map(|()| {
            Err(if has_ended {
                Failure::Status(504, "timeout")
            } else {
                Failure::Status(408, "upload_stalled")
            })
        })
    })
    .await?;
    Ok(match answer {
        Ok(response) => Ok((response, place)),
        Err(mut error) => Err(error.take_message().map(Request::into_body)),
    })
}

/// An instance's body on its way to an HTTP/2 client; counts the request when it ends or is dropped.
pub(super) struct PassedBody {
    body: Incoming,
    exchange: Exchange,
    /// The answer is gRPC, whose end must say how it went.
    is_grpc: bool,
    is_told: bool,
    deadline: Deadline,
    stall: Duration,
    ending: Option<Ending>,
    _held: (Place, Lease),
}

/// Turns an answer into one for the client.
pub(super) fn respond(answer: Answer, mut exchange: Exchange) -> Response<PassedBody> {
    let (mut parts, body) = answer.response.into_parts();
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        parts.headers.remove(name);
    }
    parts.version = Version::HTTP_2;
    let is_grpc = grpc::is_grpc(&parts.headers);
    let content_type = parts.headers.get(http::header::CONTENT_TYPE);
    let is_events = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    exchange.set_status(parts.status.as_u16());
    if is_events {
        exchange.count();
    }
    let stall = if is_grpc || is_events {
        STALL_TIMEOUT_EVENTS
    } else {
        exchange.route.stall
    };
    let mut passed = PassedBody {
        body,
        is_grpc,
        is_told: false,
        deadline: Deadline::new(Instant::now() + stall),
        stall,
        ending: is_events.then(|| exchange.ending()),
        exchange,
        _held: answer.held,
    };
    passed.hear(&parts.headers);
    Response::from_parts(parts, passed)
}

impl PassedBody {
    /// Takes the gRPC status from headers or trailers.
    fn hear(&mut self, headers: &HeaderMap) {
        if let Some(status) = grpc::counted_as(headers).filter(|_| self.is_grpc) {
            self.exchange.set_status(status);
            self.is_told = true;
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        // While trailers are owed the end is still to be heard.
        self.body.is_end_stream() && (self.is_told || !self.is_grpc)
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.deadline.poll(cx));
            return Poll::Ready(Some(Err(self.broken("stalled"))));
        };
        self.deadline.set(Instant::now() + self.stall);
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref().cloned() {
                    self.hear(&trailers);
                }
                Some(Ok(frame))
            }
            Some(Err(_)) => Some(Err(self.broken("aborted"))),
            None => {
                if self.is_grpc && !self.is_told {
                    self.exchange.fail("no_grpc_status");
                }
                None
            }
        })
    }

    fn broken(&mut self, failure: &'static str) -> io::Error {
        self.exchange.fail(failure);
        io::Error::other(failure)
    }
}
