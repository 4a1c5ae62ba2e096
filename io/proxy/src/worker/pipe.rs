//! The body of an HTTP/1.1 request on its way into HTTP/2: what the client sends is put in at one
//! end, what the instance takes comes out at the other, and little lies between.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;

use super::upstream::{BodySource, UploadError};

/// Bytes in between above which the client is not read.
const BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Shared {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    ended: bool,
    /// The client failed: the body will never be whole.
    failed: bool,
    /// Nobody takes any more.
    abandoned: bool,
    /// Who waits for a frame, and for room.
    taker: Option<Waker>,
    giver: Option<Waker>,
}

impl Shared {
    fn wake_taker(&mut self) {
        if let Some(waker) = self.taker.take() {
            waker.wake();
        }
    }

    fn wake_giver(&mut self) {
        if let Some(waker) = self.giver.take() {
            waker.wake();
        }
    }
}

/// The end that the client's body is put into.
#[derive(Debug)]
pub(super) struct Feed(Rc<RefCell<Shared>>);

/// The end that is a body itself.
#[derive(Debug)]
pub(super) struct Piped(Rc<RefCell<Shared>>);

/// A pipe; one that is `ended` carries nothing.
pub(super) fn pipe() -> (Feed, Piped) {
    let shared = Rc::new(RefCell::new(Shared::default()));
    (Feed(Rc::clone(&shared)), Piped(shared))
}

impl Feed {
    /// Whether all of the client's body was put in.
    pub(super) fn is_done(&self) -> bool {
        self.0.borrow().ended
    }

    /// Moves what the client has sent, as far as there is room.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl BodySource,
    ) -> Result<(), UploadError> {
        loop {
            {
                let mut shared = self.0.borrow_mut();
                if shared.ended || shared.failed || shared.abandoned {
                    return Ok(());
                }
                if shared.bytes >= BYTES_MAX {
                    shared.giver = Some(cx.waker().clone());
                    return Ok(());
                }
            }
            let piece = source.poll_piece(cx);
            let mut shared = self.0.borrow_mut();
            match piece {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(piece))) => {
                    shared.bytes += piece.len();
                    shared.frames.push_back(Frame::data(piece));
                }
                Poll::Ready(Some(Err(error))) => {
                    shared.failed = true;
                    shared.wake_taker();
                    return Err(error);
                }
                Poll::Ready(None) => {
                    let trailers = source.take_trailers();
                    if !trailers.is_empty() {
                        shared.frames.push_back(Frame::trailers(trailers.to_http()));
                    }
                    shared.ended = true;
                }
            }
            shared.wake_taker();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.failed |= !shared.ended;
        shared.wake_taker();
    }
}

impl Piped {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut shared = self.0.borrow_mut();
        if let Some(frame) = shared.frames.pop_front() {
            shared.bytes -= frame.data_ref().map_or(0, Bytes::len);
            shared.wake_giver();
            return Poll::Ready(Some(Ok(frame)));
        }
        if shared.failed {
            return Poll::Ready(Some(Err(io::Error::other("the client broke off"))));
        }
        if shared.ended {
            return Poll::Ready(None);
        }
        shared.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let shared = self.0.borrow();
        shared.ended && shared.frames.is_empty()
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.abandoned = true;
        shared.wake_giver();
    }
}
