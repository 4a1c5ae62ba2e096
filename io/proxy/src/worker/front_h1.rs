//! HTTP/1.1 toward clients.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::accept::Peer;
use super::admit::{Turned, admit};
use super::exchange::Exchange;
use super::forward::{Answer, Client, Failure, fetch};
use super::lane::Lane;
use super::page::Page;
use super::prefixed::Prefixed;
use super::relay::{self, Relayed};
use super::upstream::{BodySource, UploadError};
use super::{front_h2, mirror, tunnel};
use crate::Protocol;
use crate::http1::{
    BodyLength, Deadline, Decoded, Decoder, HeadError, RequestHead, ResponseHead, Wire, read_request,
};

/// First bytes of a client that speaks HTTP/2 without asking (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read ahead of a request that is still being answered (pipelining).
const READ_AHEAD_MAX: usize = 64 * 1024;
/// What a client may still send after the last answer, so that it can read it.
const LINGER_BYTES_MAX: usize = 256 * 1024;
const LINGER_FOR: Duration = Duration::from_secs(1);

/// A stream to a client.
pub(super) trait ClientIo: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ClientIo for S {}

/// The client's side of a request under way.
pub(super) struct H1Client<'a, S> {
    pub(super) wire: &'a mut Wire<S>,
    decoder: Decoder,
    /// The client waits for `100 Continue` before it sends the body.
    awaits_continue: bool,
}

impl<S: ClientIo> BodySource for H1Client<'_, S> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        loop {
            match self.decoder.decode(&mut self.wire.input) {
                Decoded::Piece(piece) => return Poll::Ready(Some(Ok(piece))),
                Decoded::End => return Poll::Ready(None),
                Decoded::Malformed(_) => return Poll::Ready(Some(Err(UploadError::Malformed))),
                Decoded::More => {}
            }
            if std::mem::take(&mut self.awaits_continue) {
                self.wire
                    .output
                    .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
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
}

impl<S: ClientIo> Client for H1Client<'_, S> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
                return front_h2::serve(lane, Prefixed::new(input.freeze(), io), peer).await;
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
        let mut client = H1Client {
            wire: &mut self.wire,
            decoder: Decoder::new(head.body),
            awaits_continue: head.expects_continue,
        };
        let mut exchange = match admit(self.lane, self.peer, &head, &mut client).await {
            Ok(exchange) => exchange,
            Err(Turned::Away(page)) => {
                let unread = head.body != BodyLength::Empty;
                return self.answer_to(&head, page, unread).await;
            }
            Err(Turned::Gone) => return After::Close,
        };
        if exchange.pool.protocol != Protocol::Http1 {
            // Nothing that the release could be blamed for.
            exchange.forget();
            let page = Page::text(505, "this service speaks HTTP/2 only");
            return self.answer_to(&head, page, head.body != BodyLength::Empty).await;
        }
        let limit = exchange.body_bytes_max();
        if matches!(head.body, BodyLength::Bytes(length) if length > limit) {
            return self.fail(exchange, &head, 413, "body_too_large", true).await;
        }
        mirror::copy(self.lane, self.peer, &exchange, &head);
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
                if head.offers(answer.head.upgrade.as_ref()) {
                    self.tunnel(answer, exchange).await
                } else {
                    self.fail(exchange, &head, 502, "unasked_upgrade", false).await
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
            cookie,
            keep,
            until_close,
        );
        exchange.set_status(answer.head.status);
        let is_events = answer.head.is_event_stream;
        if is_events {
            exchange.count();
        }
        let mut client = H1Client {
            wire: &mut self.wire,
            decoder,
            awaits_continue: false,
        };
        let ending = is_events.then(|| exchange.ending());
        let stall = exchange.route.stall;
        match relay::run(
            &mut client,
            answer,
            !head.is_http10,
            stall,
            &mut self.deadline,
            ending,
        )
        .await
        {
            Relayed::Complete if keep => After::Keep,
            Relayed::Complete | Relayed::CompleteEarly => After::Linger,
            Relayed::ClientGone => After::Close,
            Relayed::Broken(failure) => {
                exchange.fail(failure);
                After::Close
            }
        }
    }

    async fn tunnel(&mut self, answer: Answer, mut exchange: Exchange) -> After {
        let out = &mut self.wire.output;
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n");
        if let Some(upgrade) = &answer.head.upgrade {
            put_header(out, b"upgrade", upgrade);
        }
        for (name, value) in &answer.head.headers {
            put_header(out, name, value);
        }
        if let Some(cookie) = exchange.set_cookie(self.peer.is_tls) {
            put_header(out, b"set-cookie", cookie.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        exchange.set_status(101);
        exchange.count();
        let is_websocket = (answer.head.upgrade.as_ref())
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
        let grace = Duration::from_millis(self.lane.config.limits.tunnel_grace_ms);
        let ending = exchange.ending();
        tunnel::run(&mut self.wire, answer.upstream.wire, is_websocket, ending, grace).await;
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
        page.write(&mut self.wire.output, head_only, close);
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

fn put_header(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn write_response(
    out: &mut BytesMut,
    answer: &ResponseHead,
    request: &RequestHead,
    cookie: Option<String>,
    keep: bool,
    until_close: bool,
) {
    use std::fmt::Write;
    out.reserve(1024);
    // Writing to a buffer that grows cannot fail.
    let _infallible = write!(out, "HTTP/1.1 {} ", answer.status);
    out.extend_from_slice(&answer.reason);
    out.extend_from_slice(b"\r\n");
    for (name, value) in &answer.headers {
        put_header(out, name, value);
    }
    if let Some(cookie) = cookie {
        put_header(out, b"set-cookie", cookie.as_bytes());
    }
    match (answer.body, answer.length) {
        (BodyLength::Chunked | BodyLength::UntilClose, _) if !until_close => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        (_, Some(length)) if answer.status != 204 => {
            let _infallible = write!(out, "content-length: {length}\r\n");
        }
        _ => {}
    }
    if !keep {
        out.extend_from_slice(b"connection: close\r\n");
    } else if request.is_http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
