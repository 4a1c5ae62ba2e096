//! An HTTP/2 client's stream as hyper has it: frames come in one by one, past the guard, and what is
//! written in one turn goes out together, for a call of the system costs more than copying a frame.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::h2_guard::{Code, Guard};

/// Bytes held back at most; more go out at once.
const CORKED_MAX: usize = 64 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
const GOAWAY: u8 = 7;
/// What a client that broke the protocol may still send, so that it can read why.
const LINGER_FOR: Duration = Duration::from_secs(1);
/// Largest buffer kept by a connection with little to write.
const IDLE_BYTES_MAX: usize = 16 * 1024;

/// Reads what was read before first, holds writes back until [`Corked::poll_uncork`]. Clones share
/// the stream.
#[derive(Debug)]
pub(super) struct Corked<S>(Rc<RefCell<Held<S>>>);

#[derive(Debug)]
struct Held<S> {
    io: S,
    guard: Guard,
    /// Read, and not yet handed on.
    input: BytesMut,
    /// The client broke the protocol: nothing it sends is handed on any more.
    is_broken: bool,
    output: BytesMut,
    /// Where in the output the next frame begins.
    frame_at: usize,
}

impl<S> Clone for Corked<S> {
    fn clone(&self) -> Self {
        Corked(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    /// `input` was read before.
    pub(super) fn new(input: BytesMut, io: S) -> Self {
        Corked(Rc::new(RefCell::new(Held {
            io,
            guard: Guard::new(),
            input,
            is_broken: false,
            output: BytesMut::new(),
            frame_at: 0,
        })))
    }

    /// Whether the client broke the protocol; it was told how.
    pub(super) fn is_broken(&self) -> bool {
        self.0.borrow().is_broken
    }

    /// Writes what was held back; to be called at the end of each turn.
    pub(super) fn poll_uncork(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_write_out(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Corked<S> {
    /// Ends the connection so that the client can read the last of it; hyper is done with it.
    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "hyper, the other owner, reads no more"
    )]
    pub(super) async fn linger(&self) {
        let held = &mut *self.0.borrow_mut();
        if held.io.shutdown().await.is_err() {
            return;
        }
        let mut space = vec![0; READ_BYTES];
        let drain = async { while let Ok(1..) = held.io.read(&mut space).await {} };
        // Whoever sends for longer is cut off.
        let _late = tokio::time::timeout(LINGER_FOR, drain).await;
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let was_small = self.output.len() <= IDLE_BYTES_MAX;
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.frame_at = self.frame_at.saturating_sub(written);
            if written == self.output.len() {
                self.output.clear();
            } else {
                self.output.advance(written);
            }
        }
        if was_small && self.output.capacity() > IDLE_BYTES_MAX {
            self.output = BytesMut::new();
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<S> Held<S> {
    /// Ends the connection for what the client did (RFC 9113 §5.4.1).
    fn break_off(&mut self, code: Code) {
        self.is_broken = true;
        self.input.clear();
        self.output.extend_from_slice(&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0]);
        self.output
            .extend_from_slice(&self.guard.last_stream().to_be_bytes());
        self.output.extend_from_slice(&(code as u32).to_be_bytes());
        self.frame_at = self.output.len();
    }

    /// Gives a GOAWAY among the frames just written its right code. hyper writes a frame's head in one
    /// piece.
    fn mend_codes(&mut self) {
        while let Some(head) = self.output.get(self.frame_at..self.frame_at + 9) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let is_goaway = head[3] == GOAWAY;
            if let Some(code) = self.output.get_mut(self.frame_at + 13..self.frame_at + 17)
                && is_goaway
            {
                let said = u32::from_be_bytes([code[0], code[1], code[2], code[3]]);
                code.copy_from_slice(&self.guard.code_of(said).to_be_bytes());
            }
            self.frame_at += 9 + length;
        }
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    /// Makes room for a write: pending while the stream takes no more of what is held.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.output.len() < CORKED_MAX {
            return Poll::Ready(Ok(()));
        }
        match self.poll_write_out(cx) {
            Poll::Pending if self.output.len() < CORKED_MAX => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let held = &mut *self.0.borrow_mut();
        loop {
            if held.is_broken {
                // As if the client had left; who writes sees to the rest.
                return Poll::Ready(Ok(()));
            }
            match held.guard.admit(&held.input) {
                Ok(0) => {}
                Ok(count) => {
                    let count = count.min(buffer.remaining());
                    buffer.put_slice(&held.input[..count]);
                    held.input.advance(count);
                    held.guard.handed(count);
                    return Poll::Ready(Ok(()));
                }
                Err(code) => {
                    held.break_off(code);
                    continue;
                }
            }
            held.input.reserve(READ_BYTES);
            if ready!(pin!(held.io.read_buf(&mut held.input)).poll(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let held = &mut *self.0.borrow_mut();
        ready!(held.poll_room(cx))?;
        held.output.extend_from_slice(bytes);
        held.mend_codes();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let held = &mut *self.0.borrow_mut();
        ready!(held.poll_room(cx))?;
        let before = held.output.len();
        for slice in slices {
            held.output.extend_from_slice(slice);
        }
        held.mend_codes();
        Poll::Ready(Ok(held.output.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: the end of the turn comes soon enough.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = &mut *self.0.borrow_mut();
        ready!(held.poll_write_out(cx))?;
        Pin::new(&mut held.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[tokio::test]
    async fn writes_of_a_turn_go_out_together_and_in_order() {
        let (near, mut far) = tokio::io::duplex(100_000);
        let mut corked = Corked::new(BytesMut::from(&b"PRI * HTTP/2.0 and so on"[..]), near);
        let mut seen = [0; 24];
        corked.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"PRI * HTTP/2.0 and so on");
        corked.write_all(b"one ").await.unwrap();
        corked.flush().await.unwrap();
        corked.write_all(b"two").await.unwrap();
        let mut read = vec![0; 64];
        assert!(futures_util::poll!(std::pin::pin!(far.read(&mut read))).is_pending());
        std::future::poll_fn(|cx| corked.poll_uncork(cx)).await.unwrap();
        let count = far.read(&mut read).await.unwrap();
        assert_eq!(&read[..count], b"one two");
        far.write_all(&[0, 0, 2, 0x20, 0, 0, 0, 0, 0, 7, 7])
            .await
            .unwrap();
        let count = corked.read(&mut seen).await.unwrap();
        assert_eq!(seen[count - 3..count], [0, 7, 7]);
        corked.write_all(b"bye").await.unwrap();
        corked.shutdown().await.unwrap();
        drop(corked);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"bye");
    }

    #[tokio::test]
    async fn a_slow_reader_holds_the_writer_back() {
        let (near, mut far) = tokio::io::duplex(1_000);
        let mut corked = Corked::new(BytesMut::new(), near);
        let body = vec![b'x'; 400_000];
        let writing = async {
            for piece in body.chunks(16_000) {
                corked.write_all(piece).await.unwrap();
                assert!(corked.0.borrow().output.len() < CORKED_MAX + 16_000);
            }
            corked.shutdown().await.unwrap();
            drop(corked);
        };
        let mut seen = Vec::new();
        let reading = far.read_to_end(&mut seen);
        let ((), read) = futures_util::future::join(writing, reading).await;
        assert_eq!((read.unwrap(), seen), (body.len(), body));
    }
}
