//! After an upgrade (WebSocket and its like): bytes both ways until one side ends. On a drain a
//! WebSocket's client is told to go away (1001), and has a grace period to say goodbye.

mod frames;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::front_h1::ClientIo;
use crate::http1::{Deadline, Wire};
use frames::{Cursor, GOING_AWAY};

/// Bytes waiting on one side above which the other is not read.
const BUFFERED_MAX: usize = 64 * 1024;
/// The farthest that a deadline lies while there is none.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Carries bytes until both sides have ended or one has failed. Once `ending` is ready, a WebSocket
/// is closed within `grace`; other protocols go on, for nobody knows how to end them.
pub(super) async fn run<S: ClientIo>(
    client: &mut Wire<S>,
    mut instance: Wire<TcpStream>,
    is_websocket: bool,
    ending: impl Future<Output = ()>,
    grace: Duration,
) {
    let mut ending = pin!(ending);
    let mut deadline = Deadline::new(Instant::now() + NEVER);
    let mut tunnel = Tunnel {
        client,
        instance: &mut instance,
        up: Way::new(is_websocket),
        down: Way::new(is_websocket),
        is_ending: false,
    };
    std::future::poll_fn(|cx| {
        if is_websocket && !tunnel.is_ending && ending.as_mut().poll(cx).is_ready() {
            tunnel.is_ending = true;
            deadline.set(Instant::now() + grace);
        }
        // Either side may end a tunnel as it likes; there is nobody to tell.
        match tunnel.poll(cx) {
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
    fn new(is_websocket: bool) -> Self {
        Way {
            ended: false,
            shut: false,
            cursor: is_websocket.then(Cursor::default),
            silenced: false,
        }
    }
}

struct Tunnel<'a, S> {
    client: &'a mut Wire<S>,
    instance: &'a mut Wire<TcpStream>,
    up: Way,
    down: Way,
    is_ending: bool,
}

impl<S: ClientIo> Tunnel<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = pump(cx, self.client, self.instance, &mut self.up, false)?;
        let down = pump(cx, self.instance, self.client, &mut self.down, self.is_ending)?;
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
        cursor.advance(&from.input);
        return move_all(from, to);
    }
    let whole = cursor.finish_frame(&from.input);
    to.output.extend_from_slice(&from.input.split_to(whole));
    if cursor.is_between_frames() {
        // After a close frame nothing may follow, not even another.
        if !cursor.has_closed() {
            to.output.extend_from_slice(&GOING_AWAY);
        }
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
