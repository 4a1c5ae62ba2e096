//! A response's body on its way to an HTTP/1 client, in bounded memory.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::Ending;
use super::forward::Answer;
use super::front_h1::{ClientIo, H1Client};
use crate::http1::{BodyLength, Deadline, Decoded, Decoder, RequestHead, encode_chunk, encode_last_chunk};

/// Bytes waiting for the client above which the instance is not read.
pub(super) const BUFFERED_MAX: usize = 64 * 1024;
/// Event streams may be silent for so long.
pub(super) const STALL_TIMEOUT_EVENTS: Duration = Duration::from_secs(24 * 3600);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relayed {
    Complete,
    /// All of the answer, before all of the request, or an event stream that was ended: the
    /// connection is not used again.
    CompleteEarly,
    ClientGone,
    /// The instance broke off.
    Broken(&'static str),
}

struct Relay<'a, 'b, S> {
    client: &'a mut H1Client<'b, S>,
    answer: Answer,
    decoder: Decoder,
    chunked: bool,
    accepts_trailers: bool,
    ended: bool,
    stall: Duration,
    /// Ended before the instance did.
    cut: bool,
    /// Of an event stream whose end can be said.
    ending: Option<Ending>,
}

/// Passes the body on, as the client of `head` understands it. The connection to the instance is
/// given back if it can be used again.
pub(super) async fn run<S: ClientIo>(
    client: &mut H1Client<'_, S>,
    answer: Answer,
    head: &RequestHead,
    stall: Duration,
    deadline: &mut Deadline,
    ending: Option<Ending>,
) -> Relayed {
    let stall = if answer.head.is_event_stream {
        STALL_TIMEOUT_EVENTS
    } else {
        stall
    };
    let chunked = !head.is_http10 && matches!(answer.head.body, BodyLength::Chunked | BodyLength::UntilClose);
    let mut relay = Relay {
        client,
        decoder: Decoder::new(answer.head.body),
        chunked,
        accepts_trailers: head.accepts_trailers,
        ending: ending.filter(|_| chunked),
        answer,
        ended: false,
        cut: false,
        stall,
    };
    deadline.set(Instant::now() + stall);
    let relayed = std::future::poll_fn(|cx| relay.poll(cx, deadline)).await;
    let Relay {
        answer, decoder, cut, ..
    } = relay;
    if cut && relayed == Relayed::Complete {
        return Relayed::CompleteEarly;
    }
    if relayed != Relayed::Complete {
        return relayed;
    }
    if !answer.upload.is_done() {
        return Relayed::CompleteEarly;
    }
    if answer.head.keep_alive && decoder.is_end() {
        answer.upstream.release();
    }
    Relayed::Complete
}

impl<S: ClientIo> Relay<'_, '_, S> {
    fn poll(&mut self, cx: &mut Context<'_>, deadline: &mut Deadline) -> Poll<Relayed> {
        if let Some(ending) = self.ending.as_mut().filter(|_| !self.ended)
            && ending.as_mut().poll(cx).is_ready()
        {
            // A client of events takes the end as a sign to come back.
            self.ending = None;
            self.cut = true;
            self.end();
        }
        loop {
            if let Some(broken) = self.decode() {
                return Poll::Ready(broken);
            }
            let was_full = self.client.wire.output.len() >= BUFFERED_MAX;
            if self.ended || !self.client.wire.output.is_empty() {
                match self.client.wire.poll_flush(cx) {
                    Poll::Ready(Err(_)) => return Poll::Ready(Relayed::ClientGone),
                    Poll::Ready(Ok(())) if self.ended => return Poll::Ready(Relayed::Complete),
                    Poll::Ready(Ok(())) => {
                        deadline.set(Instant::now() + self.stall);
                        if was_full {
                            // What waited for room comes before what is still to be read.
                            continue;
                        }
                    }
                    Poll::Pending => {}
                }
            }
            if !self.ended && !self.answer.upload.is_done() {
                // The answer has begun: whatever ends the upload now is no news for the client.
                let _over = self
                    .answer
                    .upload
                    .poll(cx, self.client, &mut self.answer.upstream.wire);
            }
            if !self.ended && self.client.wire.output.len() < BUFFERED_MAX {
                match self.answer.upstream.wire.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) if self.decoder.ends_with_connection() => self.end(),
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Relayed::Broken("aborted")),
                    Poll::Ready(Ok(_)) => deadline.set(Instant::now() + self.stall),
                    Poll::Pending => return self.wait(cx, deadline),
                }
                continue;
            }
            return self.wait(cx, deadline);
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>, deadline: &mut Deadline) -> Poll<Relayed> {
        ready!(deadline.poll(cx));
        // Unsent bytes mean that the client is the one who stalls.
        let client_stalls = !self.client.wire.output.is_empty();
        Poll::Ready(if client_stalls {
            Relayed::ClientGone
        } else {
            Relayed::Broken("stalled")
        })
    }

    /// Moves what was read into the client's buffer, as far as it may fill.
    fn decode(&mut self) -> Option<Relayed> {
        let input = &mut self.answer.upstream.wire.input;
        let can_swap = !self.chunked && !self.ended && !input.is_empty();
        if can_swap && self.client.wire.output.is_empty() && self.decoder.takes_whole(input) {
            std::mem::swap(input, &mut self.client.wire.output);
        }
        while !self.ended && self.client.wire.output.len() < BUFFERED_MAX {
            match self.decoder.decode(&mut self.answer.upstream.wire.input) {
                Decoded::Piece(piece) if self.chunked => encode_chunk(&mut self.client.wire.output, &piece),
                Decoded::Piece(piece) => self.client.wire.output.extend_from_slice(&piece),
                Decoded::More => return None,
                Decoded::End => self.end(),
                Decoded::Malformed(_) => return Some(Relayed::Broken("malformed_response")),
            }
        }
        None
    }

    fn end(&mut self) {
        self.ended = true;
        if self.chunked {
            let trailers = self.decoder.take_trailers();
            let trailers = Some(trailers).filter(|_| self.accepts_trailers);
            encode_last_chunk(&mut self.client.wire.output, &trailers.unwrap_or_default());
        }
    }
}
