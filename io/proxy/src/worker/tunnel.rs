//! After an upgrade (WebSocket and its like): bytes both ways until one side ends. On a drain a
//! WebSocket's client is told to go away (1001), and has a grace period to say goodbye.

mod frames;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::front_h1::ClientIo;
use super::websocket::PROTOCOL;
use crate::http1::{Deadline, ResponseHead, Wire};
use frames::{BROKEN, BROKEN_MASKED, Cursor, GOING_AWAY};

/// Bytes waiting on one side above which the other is not read.
const BUFFERED_MAX: usize = 64 * 1024;
/// How long both sides have to hear that one of them broke the protocol.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// The farthest that a deadline lies while there is none.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What was agreed on for a tunnel that is a WebSocket.
#[derive(Debug, Clone, Copy)]
pub(super) struct WebSocket {
    /// Extensions give meaning to reserved bits.
    pub(super) is_extended: bool,
}

impl WebSocket {
    /// What an instance's 101 says, if it switches to WebSocket.
    pub(super) fn of(head: &ResponseHead) -> Option<Self> {
        let protocol = head.upgrade.as_deref().unwrap_or_default();
        protocol
            .eq_ignore_ascii_case(PROTOCOL.as_bytes())
            .then(|| WebSocket {
                is_extended: head.values("sec-websocket-extensions").next().is_some(),
            })
    }
}

/// Carries bytes until both sides have ended or one has failed. Once `ending` is ready, a WebSocket
/// is closed within `grace`; other protocols go on, for nobody knows how to end them.
pub(super) async fn run<S: ClientIo>(
    client: &mut Wire<S>,
    mut instance: Wire<TcpStream>,
    websocket: Option<WebSocket>,
    ending: impl Future<Output = ()>,
    grace: Duration,
) {
    let mut ending = pin!(ending);
    let mut deadline = Deadline::new(Instant::now() + NEVER);
    let mut tunnel = Tunnel {
        client,
        instance: &mut instance,
        up: Way::new(websocket.map(|socket| Cursor::new(true, socket.is_extended))),
        down: Way::new(websocket.map(|socket| Cursor::new(false, socket.is_extended))),
        is_ending: false,
        is_failed: false,
    };
    std::future::poll_fn(|cx| {
        if websocket.is_some() && !tunnel.is_ending && ending.as_mut().poll(cx).is_ready() {
            tunnel.is_ending = true;
            deadline.set(Instant::now() + grace);
        }
        // Either side may end a tunnel as it likes; there is nobody to tell.
        let had_failed = tunnel.is_failed;
        let polled = tunnel.poll(cx);
        if tunnel.is_failed && !had_failed {
            deadline.set(Instant::now() + FAILED_FOR);
        }
        match polled {
            Poll::Ready(_ended) => Poll::Ready(()),
            Poll::Pending => deadline.poll(cx),
        }
    })
    .await;
}

/// One direction.
#[derive(Debug)]
struct Way {
    /// The source has ended.
    ended: bool,
    /// The destination was told so.
    shut: bool,
    cursor: Option<Cursor>,
    /// Nothing more is passed on: the proxy has said goodbye.
    silenced: bool,
}

impl Way {
    fn new(cursor: Option<Cursor>) -> Self {
        Way {
            ended: false,
            shut: false,
            cursor,
            silenced: false,
        }
    }
}

impl Way {
    fn is_broken(&self) -> bool {
        self.cursor.as_ref().is_some_and(Cursor::is_broken)
    }

    /// Says something of the proxy's own, where a frame may be: after a close frame nothing may follow,
    /// not even another.
    fn say(&self, out: &mut BytesMut, words: &[u8]) {
        let may = |cursor: &Cursor| cursor.is_between_frames() && !cursor.has_closed();
        if self.cursor.as_ref().is_some_and(may) {
            out.extend_from_slice(words);
        }
    }
}

struct Tunnel<'a, S> {
    client: &'a mut Wire<S>,
    instance: &'a mut Wire<TcpStream>,
    up: Way,
    down: Way,
    is_ending: bool,
    /// One side broke the protocol; both were told.
    is_failed: bool,
}

impl<S: ClientIo> Tunnel<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_failed {
            return self.end_failed(cx);
        }
        let up = pump(cx, self.client, self.instance, &mut self.up, false)?;
        let down = pump(cx, self.instance, self.client, &mut self.down, self.is_ending)?;
        if self.up.is_broken() || self.down.is_broken() {
            self.is_failed = true;
            self.down.say(&mut self.client.output, &BROKEN);
            self.up.say(&mut self.instance.output, &BROKEN_MASKED);
            return self.end_failed(cx);
        }
        if self.down.silenced {
            // The client's own close frame, passed on to the instance, ends it for both.
            let said_goodbye = self.up.cursor.as_ref().is_some_and(Cursor::has_closed);
            let is_flushed = self.instance.output.is_empty() && self.client.output.is_empty();
            if (said_goodbye || self.up.ended) && is_flushed {
                return self.shut(cx);
            }
            return Poll::Pending;
        }
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Lets both hear of it; what the client still sends is read away, so that closing does not take the
    /// word back.
    fn end_failed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let client = self.client.poll_flush(cx)?;
        let instance = self.instance.poll_flush(cx)?;
        if client.is_pending() || instance.is_pending() || self.shut(cx)?.is_pending() {
            return Poll::Pending;
        }
        loop {
            self.client.input.clear();
            if ready!(self.client.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn shut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let client = Pin::new(&mut self.client.io).poll_shutdown(cx)?;
        let instance = Pin::new(&mut self.instance.io).poll_shutdown(cx)?;
        if client.is_ready() && instance.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

/// Moves what can be moved one way; ready when that way has ended.
fn pump<A, B>(
    cx: &mut Context<'_>,
    from: &mut Wire<A>,
    to: &mut Wire<B>,
    way: &mut Way,
    is_ending: bool,
) -> Poll<io::Result<()>>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        pass_on(from, to, way, is_ending);
        if way.is_broken() {
            return Poll::Pending;
        }
        if to.poll_flush(cx)?.is_pending() && to.output.len() >= BUFFERED_MAX {
            return Poll::Pending;
        }
        if way.ended {
            break;
        }
        match from.poll_fill(cx)? {
            Poll::Ready(0) => way.ended = true,
            Poll::Ready(_) => {}
            Poll::Pending => return Poll::Pending,
        }
    }
    if !to.output.is_empty() {
        return Poll::Pending;
    }
    if !way.shut {
        if Pin::new(&mut to.io).poll_shutdown(cx)?.is_pending() {
            return Poll::Pending;
        }
        way.shut = true;
    }
    Poll::Ready(Ok(()))
}

/// From one buffer into the other; when ending, up to the end of the frame under way, then the
/// close frame instead of the rest.
fn pass_on<A, B>(from: &mut Wire<A>, to: &mut Wire<B>, way: &mut Way, is_ending: bool) {
    if way.silenced {
        from.input.clear();
        return;
    }
    let Some(cursor) = &mut way.cursor else {
        return move_all(from, to);
    };
    if !is_ending {
        let count = cursor.advance(&from.input);
        if count == from.input.len() {
            return move_all(from, to);
        }
        to.output.extend_from_slice(&from.input.split_to(count));
        if cursor.has_closed() {
            // After a close frame nothing may follow.
            from.input.clear();
        }
        return;
    }
    let whole = cursor.finish_frame(&from.input);
    to.output.extend_from_slice(&from.input.split_to(whole));
    if cursor.is_between_frames() {
        way.say(&mut to.output, &GOING_AWAY);
        way.silenced = true;
        from.input.clear();
    }
}

fn move_all<A, B>(from: &mut Wire<A>, to: &mut Wire<B>) {
    if to.output.is_empty() {
        std::mem::swap(&mut from.input, &mut to.output);
    } else {
        to.output.extend_from_slice(&from.input);
        from.input.clear();
    }
}
