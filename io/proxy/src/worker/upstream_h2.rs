//! Connections to instances that speak HTTP/2: few, each for many requests.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::pipe::Piped;

/// Requests under way on one connection before another is opened; servers allow 100 and more.
const STREAMS_MAX: u32 = 100;
/// A silent connection with requests under way is asked for a sign of life after this, and given up
/// after as long again.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Runs hyper's tasks on the thread they were begun on.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// The connections to one instance, on one lane.
#[derive(Debug, Default)]
pub(super) struct Channels(RefCell<Vec<Channel>>);

#[derive(Debug)]
struct Channel {
    sender: SendRequest<UploadBody>,
    active: Rc<Cell<u32>>,
}

/// A place on a connection, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) sender: SendRequest<UploadBody>,
    active: Rc<Cell<u32>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.active.set(self.active.get() - 1);
    }
}

impl Channels {
    /// A place on a connection with room, if there is one.
    pub(super) fn take(&self) -> Option<Place> {
        let mut channels = self.0.borrow_mut();
        channels.retain(|channel| !channel.sender.is_closed());
        let channel = channels
            .iter()
            .find(|channel| channel.active.get() < STREAMS_MAX)?;
        channel.active.set(channel.active.get() + 1);
        Some(Place {
            sender: channel.sender.clone(),
            active: Rc::clone(&channel.active),
        })
    }

    /// A place on a new connection.
    pub(super) async fn open(&self, address: SocketAddr, limit: Duration) -> io::Result<Place> {
        let sender = tokio::time::timeout(limit, connect(address))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        let active = Rc::new(Cell::new(1));
        self.0.borrow_mut().push(Channel {
            sender: sender.clone(),
            active: Rc::clone(&active),
        });
        Ok(Place { sender, active })
    }
}

/// Opens a connection; it lives as long as it has a sender or a request.
pub(super) async fn connect(address: SocketAddr) -> io::Result<SendRequest<UploadBody>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .adaptive_window(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        // Its requests hear of its failure one by one.
        let _over = connection.await;
    });
    Ok(sender)
}

/// How far an upload has come, seen from outside.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) moved: Cell<Instant>,
    pub(super) ended: Cell<bool>,
    sent: Cell<u64>,
    bytes_max: u64,
    pub(super) is_too_large: Cell<bool>,
}

impl Progress {
    pub(super) fn new(bytes_max: u64) -> Rc<Self> {
        Rc::new(Progress {
            moved: Cell::new(Instant::now()),
            ended: Cell::new(false),
            sent: Cell::new(0),
            bytes_max,
            is_too_large: Cell::new(false),
        })
    }

    fn end(&self) {
        self.moved.set(Instant::now());
        self.ended.set(true);
    }
}

/// What a client sends, whichever protocol it speaks.
#[derive(Debug)]
pub(super) enum ClientBody {
    Incoming(Incoming),
    Piped(Piped),
}

impl ClientBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self {
            ClientBody::Incoming(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(io::Error::other))),
            ClientBody::Piped(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ClientBody::Incoming(body) => body.is_end_stream(),
            ClientBody::Piped(body) => body.is_end_stream(),
        }
    }
}

/// A request's body on its way to an instance, trailers included.
#[derive(Debug)]
pub(super) enum UploadBody {
    Whole(Option<Bytes>),
    Client(ClientBody, Rc<Progress>),
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let (body, progress) = match self.get_mut() {
            UploadBody::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            UploadBody::Client(body, progress) => (body, progress),
        };
        let frame = std::task::ready!(body.poll_frame(cx));
        progress.moved.set(Instant::now());
        if let Some(Ok(frame)) = &frame {
            let count = frame.data_ref().map_or(0, Bytes::len);
            progress.sent.set(progress.sent.get() + count as u64);
        }
        if progress.sent.get() > progress.bytes_max {
            progress.is_too_large.set(true);
            return Poll::Ready(Some(Err(io::Error::other("the body is too large"))));
        }
        if frame.is_none() || body.is_end_stream() {
            progress.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UploadBody::Whole(bytes) => bytes.is_none(),
            UploadBody::Client(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            UploadBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            UploadBody::Client(ClientBody::Incoming(body), _) => body.size_hint(),
            UploadBody::Client(ClientBody::Piped(_), _) => SizeHint::default(),
        }
    }
}
