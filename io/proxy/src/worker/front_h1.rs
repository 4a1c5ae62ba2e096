//! HTTP/1.1 toward clients.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use super::accept::Peer;
use super::admit::{Turned, admit};
use super::bridge::{self, Bridged};
use super::corked::Corked;
use super::exchange::Exchange;
use super::forward::{Answer, Client, Failure, fetch};
use super::lane::Lane;
use super::page::Page;
use super::relay::{self, Relayed};
use super::response_h1::{write_interim, write_response, write_upgrade};
use super::tunnel::{self, WebSocket};
use super::upstream::{BodySource, UploadError};
use super::websocket::{self, Offer, Refused};
use super::{front_h2, mirror};
use crate::Protocol;
use crate::http1::{
    BodyLength, Deadline, Decoded, Decoder, HeadError, RequestHead, ResponseHead, Trailers, Wire,
    read_request,
};

/// First bytes of a client that speaks HTTP/2 without asking (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read ahead of a request that is still being answered (pipelining).
const READ_AHEAD_MAX: usize = 64 * 1024;
/// What a client may still send after the last answer, so that it can read it.
const LINGER_BYTES_MAX: usize = 256 * 1024;
const LINGER_FOR: Duration = Duration::from_secs(1);
/// A client that expects `100 Continue` is told so after this, if the instance says nothing.
const CONTINUE_PAUSE: Duration = Duration::from_millis(250);

/// A stream to a client.
pub(super) trait ClientIo: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ClientIo for S {}

/// The client's side of a request under way.
pub(super) struct H1Client<'a, S> {
    pub(super) wire: &'a mut Wire<S>,
    decoder: Decoder,
    /// Until then the client waits for `100 Continue` before it sends the body.
    awaits_continue: Option<Pin<Box<Sleep>>>,
    is_http10: bool,
}

impl<'a, S: ClientIo> H1Client<'a, S> {
    fn new(wire: &'a mut Wire<S>, head: &RequestHead, decoder: Decoder) -> Self {
        H1Client {
            wire,
            decoder,
            awaits_continue: None,
            is_http10: head.is_http10,
        }
    }

    /// Tells the client to send its body, if it waits for that, when the instance says so or after
    /// `pause`: many say nothing.
    fn waiting(mut self, head: &RequestHead, pause: Duration) -> Self {
        let waits = head.expects_continue && head.body != BodyLength::Empty && !head.is_http10;
        self.awaits_continue = waits.then(|| Box::pin(tokio::time::sleep(pause)));
        self
    }

    fn let_continue(&mut self) {
        if self.awaits_continue.take().is_some() {
            self.wire
                .output
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
}

impl<S: ClientIo> BodySource for H1Client<'_, S> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        loop {
            match self.decoder.decode(&mut self.wire.input) {
                Decoded::Piece(piece) => {
                    // It sends without having been told.
                    self.awaits_continue = None;
                    return Poll::Ready(Some(Ok(piece)));
                }
                Decoded::End => return Poll::Ready(None),
                Decoded::Malformed(_) => return Poll::Ready(Some(Err(UploadError::Malformed))),
                Decoded::More => {}
            }
            if let Some(pause) = &mut self.awaits_continue
                && pause.as_mut().poll(cx).is_ready()
            {
                self.let_continue();
            }
            if !self.wire.output.is_empty() && matches!(self.wire.poll_flush(cx), Poll::Ready(Err(_))) {
                return Poll::Ready(Some(Err(UploadError::ClientGone)));
            }
            match ready!(self.wire.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(UploadError::ClientGone))),
                Ok(_) => {}
            }
        }
    }

    fn take_trailers(&mut self) -> Trailers {
        self.decoder.take_trailers()
    }
}

impl<S: ClientIo> Client for H1Client<'_, S> {
    fn inform(&mut self, head: &ResponseHead) {
        match head.status {
            100 => self.let_continue(),
            _ if self.is_http10 => {}
            _ => write_interim(&mut self.wire.output, head),
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.wire.output.is_empty() && matches!(self.wire.poll_flush(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        while self.decoder.is_end() && self.wire.input.len() < READ_AHEAD_MAX {
            match ready!(self.wire.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }
}

/// What follows a request.
enum After {
    Keep,
    /// The answer is complete; the client may still be sending.
    Linger,
    Close,
}

enum Next {
    Head(Box<RequestHead>),
    Http2,
    Refuse(HeadError),
    End,
}

struct Connection<'a, S> {
    lane: &'a Rc<Lane>,
    peer: &'a Peer,
    wire: Wire<S>,
    deadline: Deadline,
    is_first: bool,
}

/// Serves a connection until it ends.
pub(super) async fn serve<S: ClientIo>(lane: &Rc<Lane>, io: S, peer: &Peer) {
    let mut connection = Connection {
        lane,
        peer,
        wire: Wire::new(io),
        deadline: Deadline::new(Instant::now() + Duration::from_millis(lane.config.limits.header_timeout_ms)),
        is_first: true,
    };
    loop {
        let after = match connection.next_head().await {
            Next::Head(head) => connection.serve_request(*head).await,
            Next::Http2 => {
                let Wire { io, input, .. } = connection.wire;
                return front_h2::serve(lane, Corked::new(input, io), peer).await;
            }
            Next::Refuse(error) => {
                lane.counters.borrow_mut().refused += 1;
                connection
                    .answer(&Page::text(error.status, error.what), false, true)
                    .await;
                After::Linger
            }
            Next::End => After::Close,
        };
        match after {
            After::Keep => connection.wire.rest(),
            After::Linger => return connection.linger().await,
            After::Close => return,
        }
    }
}

fn after(relayed: Relayed, keep: bool) -> After {
    match relayed {
        Relayed::Complete if keep => After::Keep,
        Relayed::Complete | Relayed::CompleteEarly => After::Linger,
        Relayed::ClientGone | Relayed::Broken(_) => After::Close,
    }
}

fn refused_handshake(refused: Refused) -> Page {
    match refused {
        Refused::Malformed(what) => Page::text(400, what),
        Refused::Version => Page {
            also: &[
                ("upgrade", websocket::PROTOCOL),
                ("sec-websocket-version", websocket::VERSION),
            ],
            ..Page::text(426, "the WebSocket version is 13")
        },
    }
}

impl<S: ClientIo> Connection<'_, S> {
    /// Waits for the next request's head; an idle connection ends by the header time-out too.
    async fn next_head(&mut self) -> Next {
        let limits = &self.lane.config.limits;
        self.deadline
            .set(Instant::now() + Duration::from_millis(limits.header_timeout_ms));
        let may_be_http2 = std::mem::take(&mut self.is_first);
        std::future::poll_fn(|cx| {
            loop {
                if may_be_http2
                    && !self.wire.input.is_empty()
                    && HTTP2_PREFACE.starts_with(&self.wire.input[..self.wire.input.len().min(24)])
                {
                    if self.wire.input.len() >= HTTP2_PREFACE.len() {
                        return Poll::Ready(Next::Http2);
                    }
                } else if !self.wire.input.is_empty() {
                    match read_request(&mut self.wire.input, limits) {
                        Ok(Some(head)) => return Poll::Ready(Next::Head(Box::new(head))),
                        Ok(None) => {}
                        Err(error) => return Poll::Ready(Next::Refuse(error)),
                    }
                }
                match self.wire.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            ready!(self.deadline.poll(cx));
            let slow = HeadError {
                status: 408,
                what: "the request's head did not come in time",
            };
            Poll::Ready(if self.wire.input.is_empty() {
                Next::End
            } else {
                Next::Refuse(slow)
            })
        })
        .await
    }

    async fn serve_request(&mut self, head: RequestHead) -> After {
        let offer = match Offer::read(&head) {
            Ok(offer) => offer,
            Err(refused) => {
                self.lane.counters.borrow_mut().refused += 1;
                let unread = head.body != BodyLength::Empty;
                return self.answer_to(&head, refused_handshake(refused), unread).await;
            }
        };
        let mut client =
            H1Client::new(&mut self.wire, &head, Decoder::new(head.body)).waiting(&head, CONTINUE_PAUSE);
        let mut exchange = match admit(self.lane, self.peer, &head, &mut client).await {
            Ok(exchange) => exchange,
            Err(Turned::Away(page)) => {
                let unread = head.body != BodyLength::Empty;
                return self.answer_to(&head, page, unread).await;
            }
            Err(Turned::Gone) => return After::Close,
        };
        let limit = exchange.body_bytes_max();
        if matches!(head.body, BodyLength::Bytes(length) if length > limit) {
            return self.fail(exchange, &head, 413, "body_too_large", true).await;
        }
        mirror::copy(self.lane, self.peer, &exchange, &head);
        if exchange.pool.protocol != Protocol::Http1 {
            if offer.is_some() {
                exchange.forget();
                let page = Page::text(501, "no_websocket_over_http2");
                return self.answer_to(&head, page, false).await;
            }
            return self.bridge(head, exchange).await;
        }
        match fetch(
            self.lane,
            self.peer,
            &head,
            &mut exchange,
            &mut client,
            &mut self.deadline,
        )
        .await
        {
            Ok(answer) if answer.head.status == 101 => {
                let is_fine = match offer {
                    _ if !head.offers(answer.head.upgrade.as_ref()) => Err("unasked_upgrade"),
                    Some(offer) => offer.check(&answer.head),
                    None => Ok(()),
                };
                match is_fine {
                    Ok(()) => self.tunnel(answer, exchange).await,
                    Err(failure) => self.fail(exchange, &head, 502, failure, false).await,
                }
            }
            Ok(answer) => {
                let decoder = client.decoder;
                self.relay(head, answer, exchange, decoder).await
            }
            Err(Failure::ClientGone) => After::Close,
            Err(Failure::Status(status, failure)) => {
                let unread = !client.decoder.is_end();
                self.fail(exchange, &head, status, failure, unread).await
            }
        }
    }

    /// The same toward an instance that speaks HTTP/2.
    async fn bridge(&mut self, head: RequestHead, exchange: Exchange) -> After {
        let mut client =
            H1Client::new(&mut self.wire, &head, Decoder::new(head.body)).waiting(&head, Duration::ZERO);
        let bridged = bridge::run(
            self.lane,
            self.peer,
            &mut client,
            &head,
            exchange,
            &mut self.deadline,
        );
        match bridged.await {
            Bridged::Answered { relayed, keep } => after(relayed, keep),
            Bridged::Failed(Failure::ClientGone, _) => After::Close,
            Bridged::Failed(Failure::Status(status, failure), exchange) => {
                let unread = !client.decoder.is_end();
                self.fail(*exchange, &head, status, failure, unread).await
            }
        }
    }

    async fn relay(
        &mut self,
        head: RequestHead,
        answer: Answer,
        mut exchange: Exchange,
        decoder: Decoder,
    ) -> After {
        // An instance that refuses before it has read all will read no more of it.
        let refused_early = !answer.upload.is_done() && answer.head.status >= 400;
        let keep = head.keep_alive && !refused_early && !self.lane.is_draining();
        let until_close =
            head.is_http10 && matches!(answer.head.body, BodyLength::Chunked | BodyLength::UntilClose);
        let keep = keep && !until_close;
        let cookie = exchange.set_cookie(self.peer.is_tls);
        write_response(
            &mut self.wire.output,
            &answer.head,
            &head,
            (cookie, &self.lane.date()),
            keep,
            until_close,
        );
        exchange.set_status(answer.head.status);
        let is_events = answer.head.is_event_stream;
        if is_events {
            exchange.count();
        }
        let mut client = H1Client::new(&mut self.wire, &head, decoder);
        let ending = is_events.then(|| exchange.ending());
        let stall = exchange.route.stall;
        let relayed = relay::run(&mut client, answer, &head, stall, &mut self.deadline, ending).await;
        if let Relayed::Broken(failure) = relayed {
            exchange.fail(failure);
        }
        after(relayed, keep)
    }

    async fn tunnel(&mut self, answer: Answer, mut exchange: Exchange) -> After {
        let cookie = exchange.set_cookie(self.peer.is_tls);
        write_upgrade(&mut self.wire.output, &answer.head, cookie);
        exchange.set_status(101);
        exchange.count();
        let websocket = WebSocket::of(&answer.head);
        let grace = Duration::from_millis(self.lane.config.limits.tunnel_grace_ms);
        let ending = exchange.ending();
        tunnel::run(&mut self.wire, answer.upstream.wire, websocket, ending, grace).await;
        drop(exchange);
        After::Close
    }

    /// Answers for an instance that could not.
    async fn fail(
        &mut self,
        mut exchange: Exchange,
        head: &RequestHead,
        status: u16,
        failure: &'static str,
        unread: bool,
    ) -> After {
        exchange.set_status(status);
        if status >= 500 {
            exchange.fail(failure);
        }
        let page = Page {
            cookie: exchange.set_cookie(self.peer.is_tls),
            ..Page::text(status, failure)
        };
        self.answer_to(head, page, unread).await
    }

    /// Answers a request in the proxy's own words.
    async fn answer_to(&mut self, head: &RequestHead, page: Page, unread: bool) -> After {
        let close = unread || !head.keep_alive || self.lane.is_draining();
        self.answer(&page, head.method == http::Method::HEAD, close).await;
        if close { After::Linger } else { After::Keep }
    }

    /// Writes an answer of the proxy's own.
    async fn answer(&mut self, page: &Page, head_only: bool, close: bool) {
        page.write(&mut self.wire.output, &self.lane.date(), head_only, close);
        // A client that left reads no answer; the next read notices.
        let _gone = self.wire.flush().await;
    }

    /// Ends the connection so that the client can read the answer: closing at once would reset it
    /// under bytes that the client is still sending.
    async fn linger(mut self) {
        if self.wire.flush().await.is_err() || self.wire.io.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        let mut space = vec![0; 8 * 1024];
        let drain = async {
            while let Ok(count @ 1..) = self.wire.io.read(&mut space).await {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
        };
        // Whoever sends for longer is cut off.
        let _late = tokio::time::timeout(LINGER_FOR, drain).await;
    }
}
