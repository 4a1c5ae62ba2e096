//! A connection with its two buffers, and a deadline that costs nothing until it is near.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// Bytes of free room made for a read: at first, and once reads fill it.
const READ_BYTES: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// Largest buffer kept while nothing is under way.
const IDLE_BYTES_MAX: usize = 16 * 1024;

/// A byte stream, what was read from it and not yet used, and what is to be written to it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    /// The stream.
    pub(crate) io: S,
    /// Read, not yet used.
    pub(crate) input: BytesMut,
    /// To be written.
    pub(crate) output: BytesMut,
    read_bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(io: S) -> Self {
        Wire {
            io,
            input: BytesMut::new(),
            output: BytesMut::new(),
            read_bytes: READ_BYTES,
        }
    }

    /// Lets go of buffers that a large body has made large.
    pub(crate) fn rest(&mut self) {
        self.read_bytes = READ_BYTES;
        for buffer in [&mut self.input, &mut self.output] {
            if buffer.is_empty() && buffer.capacity() > IDLE_BYTES_MAX {
                *buffer = BytesMut::new();
            }
        }
    }

    /// Reads what is there into `input`; 0 means the other side has finished.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(self.read_bytes);
        // Stateless, so that a future made for one poll loses nothing.
        let read = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx))?;
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 4).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(read))
    }

    /// Writes `output` until it is empty.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// [`Wire::poll_flush`] as a future.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }
}

/// One timer for all the waits of a connection. Moving the deadline further away touches no timer:
/// the timer fires at the old moment and is set anew.
#[derive(Debug)]
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Self {
        Deadline {
            sleep: Box::pin(tokio::time::sleep_until(at)),
            at,
        }
    }

    /// Moves the deadline.
    pub(crate) fn set(&mut self, at: Instant) {
        self.at = at;
        if at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
        }
    }

    /// Ready once the deadline has passed; wakes the task then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.sleep.deadline() >= self.at {
                return Poll::Ready(());
            }
            let at = self.at;
            self.sleep.as_mut().reset(at);
        }
    }
}
