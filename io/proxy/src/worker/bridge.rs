//! Clients that speak HTTP/1.1 of instances that speak HTTP/2: both bodies stream, trailers both ways.

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, Response};
use tokio::time::Instant;

use super::accept::Peer;
use super::exchange::Exchange;
use super::forward::{Client, Failure};
use super::front_h1::{ClientIo, H1Client};
use super::lane::Lane;
use super::pass_h2::{self, PassedBody};
use super::pipe::{self, Feed};
use super::relay::{BUFFERED_MAX, Relayed};
use super::response_h1::put_header;
use super::upstream::UploadError;
use super::upstream_h2::ClientBody;
use crate::http1::{
    Deadline, RequestHead, Trailers, encode_chunk, encode_last_chunk, parse_length, reason_phrase,
};

/// How it ended: with an answer, and whether the connection can be used again, or without one.
pub(super) enum Bridged {
    Answered { relayed: Relayed, keep: bool },
    Failed(Failure, Box<Exchange>),
}

/// Sends the request on and its answer back.
pub(super) async fn run<S: ClientIo>(
    lane: &Rc<Lane>,
    peer: &Peer,
    client: &mut H1Client<'_, S>,
    head: &RequestHead,
    mut exchange: Exchange,
    deadline: &mut Deadline,
) -> Bridged {
    let (mut feed, piped) = pipe::pipe();
    let asked = {
        let mut asking = pin!(pass_h2::fetch(
            lane,
            peer,
            head,
            &mut exchange,
            ClientBody::Piped(piped)
        ));
        std::future::poll_fn(|cx| {
            if let Err(error) = feed.poll(cx, client) {
                return Poll::Ready(Err(match error {
                    UploadError::ClientGone => Failure::ClientGone,
                    UploadError::Malformed => Failure::Status(400, "malformed_body"),
                    UploadError::TooLarge => Failure::Status(413, "body_too_large"),
                }));
            }
            if let Poll::Ready(answer) = asking.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            if feed.is_done() && client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::ClientGone));
            }
            Poll::Pending
        })
        .await
    };
    let answer = match asked {
        Ok(answer) => answer,
        Err(failure) => return Bridged::Failed(failure, Box::new(exchange)),
    };
    let refused_early = !feed.is_done() && answer.status() >= 400;
    let (stall, cookie) = (exchange.route.stall, exchange.set_cookie(peer.is_tls));
    let response = pass_h2::respond(answer, exchange);
    let framing = Framing::of(&response, head);
    let keep = head.keep_alive && !refused_early && !lane.is_draining() && framing != Framing::UntilClose;
    write_head(
        &mut client.wire.output,
        &response,
        head,
        framing,
        keep,
        &lane.date(),
    );
    if let Some(cookie) = cookie {
        put_header(&mut client.wire.output, b"set-cookie", cookie.as_bytes());
    }
    client.wire.output.extend_from_slice(b"\r\n");
    let mut down = Down {
        body: response.into_body(),
        framing,
        trailers: None,
        accepts_trailers: head.accepts_trailers,
        ended: false,
        stall,
    };
    deadline.set(Instant::now() + stall);
    let relayed = std::future::poll_fn(|cx| down.poll(cx, client, &mut feed, deadline)).await;
    let keep = keep && feed.is_done();
    Bridged::Answered { relayed, keep }
}

/// How the answer's body ends on the way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is none, whatever its length would be.
    None(Option<u64>),
    Bytes(u64),
    Chunked,
    UntilClose,
}

impl Framing {
    fn of(response: &Response<PassedBody>, head: &RequestHead) -> Self {
        let length = response.headers().get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| parse_length(value.as_bytes()));
        let status = response.status().as_u16();
        match length {
            _ if status == 204 => Framing::None(None),
            _ if head.method == Method::HEAD || status == 304 => Framing::None(length),
            Some(length) => Framing::Bytes(length),
            None if response.body().is_end_stream() => Framing::Bytes(0),
            None if head.is_http10 => Framing::UntilClose,
            None => Framing::Chunked,
        }
    }
}

/// Appends the head, but for the empty line after it.
fn write_head(
    out: &mut BytesMut,
    response: &Response<PassedBody>,
    head: &RequestHead,
    framing: Framing,
    keep: bool,
    date: &str,
) {
    use std::fmt::Write;
    let status = response.status().as_u16();
    out.reserve(1024);
    // Writing to a buffer that grows cannot fail.
    let _infallible = write!(out, "HTTP/1.1 {status} {}\r\n", reason_phrase(status));
    for (name, value) in response.headers() {
        let is_ours = *name == http::header::CONTENT_LENGTH || *name == http::header::TRAILER;
        if !is_ours {
            put_header(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if !response.headers().contains_key(http::header::DATE) {
        put_header(out, b"date", date.as_bytes());
    }
    match framing {
        Framing::None(Some(length)) | Framing::Bytes(length) => {
            let _infallible = write!(out, "content-length: {length}\r\n");
        }
        Framing::Chunked => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            let trailer = response.headers().get(http::header::TRAILER);
            if let Some(trailer) = trailer.filter(|_| head.accepts_trailers) {
                put_header(out, b"trailer", trailer.as_bytes());
            }
        }
        Framing::None(None) | Framing::UntilClose => {}
    }
    if !keep {
        out.extend_from_slice(b"connection: close\r\n");
    } else if head.is_http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
}

/// The answer's body on its way, and what is left of the request's.
struct Down {
    body: PassedBody,
    framing: Framing,
    trailers: Option<Trailers>,
    accepts_trailers: bool,
    ended: bool,
    stall: Duration,
}

impl Down {
    fn poll<S: ClientIo>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut H1Client<'_, S>,
        feed: &mut Feed,
        deadline: &mut Deadline,
    ) -> Poll<Relayed> {
        loop {
            // The answer has begun: whatever ends the upload now is no news for the client.
            let _over = feed.poll(cx, client);
            if let Some(broken) = self.take(cx, &mut client.wire.output) {
                return Poll::Ready(broken);
            }
            let was_full = client.wire.output.len() >= BUFFERED_MAX;
            match client.wire.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Relayed::ClientGone),
                Poll::Ready(Ok(())) if self.ended && feed.is_done() => return Poll::Ready(Relayed::Complete),
                Poll::Ready(Ok(())) if self.ended => return Poll::Ready(Relayed::CompleteEarly),
                Poll::Ready(Ok(())) => {
                    deadline.set(Instant::now() + self.stall);
                    if !was_full {
                        return Poll::Pending;
                    }
                }
                Poll::Pending => {
                    ready!(deadline.poll(cx));
                    return Poll::Ready(Relayed::ClientGone);
                }
            }
        }
    }

    /// Moves what the instance has sent into the client's buffer, as far as it may fill.
    fn take(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Option<Relayed> {
        while !self.ended && out.len() < BUFFERED_MAX {
            let Poll::Ready(frame) = self.body.poll_frame(cx) else {
                return None;
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => match self.framing {
                        Framing::Chunked if !piece.is_empty() => encode_chunk(out, &piece),
                        Framing::Bytes(_) | Framing::UntilClose => out.extend_from_slice(&piece),
                        Framing::Chunked | Framing::None(_) => {}
                    },
                    Err(frame) => self.trailers = frame.trailers_ref().map(Trailers::from_http),
                },
                Some(Err(_)) => return Some(Relayed::Broken("aborted")),
                None => {
                    self.ended = true;
                    if self.framing == Framing::Chunked {
                        let trailers = self.trailers.take().filter(|_| self.accepts_trailers);
                        encode_last_chunk(out, &trailers.unwrap_or_default());
                    }
                }
            }
        }
        None
    }
}
