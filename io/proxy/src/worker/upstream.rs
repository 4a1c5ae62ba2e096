//! A connection to an instance, for the time of one request.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::endpoint::EndpointState;
use crate::http1::{
    BodyLength, ResponseHead, Trailers, Wire, encode_chunk, encode_last_chunk, read_response,
};

/// Upload buffered beyond this waits for the instance to read.
const UPLOAD_BYTES_MAX: usize = 64 * 1024;

/// Interim answers (1xx) to one request.
const INTERIM_MAX: u32 = 32;

/// A leased connection; the endpoint counts it as load until it is dropped.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) wire: Wire<TcpStream>,
    pub(super) endpoint: Rc<EndpointState>,
    /// Whether an earlier request used it.
    pub(super) reused: bool,
    /// Whether a byte of the response has come.
    pub(super) answered: bool,
    interim: u32,
    lease: Lease,
}

/// A request under way at an instance, until dropped.
#[derive(Debug)]
pub(super) struct Lease(Rc<EndpointState>);

impl Lease {
    pub(super) fn take(endpoint: &Rc<EndpointState>) -> Self {
        endpoint.active.set(endpoint.active.get() + 1);
        Lease(Rc::clone(endpoint))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}

impl Upstream {
    /// An idle connection that still lives, or a new one (always a new one if `fresh`).
    pub(super) async fn connect(
        endpoint: Rc<EndpointState>,
        fresh: bool,
        limit: Duration,
    ) -> io::Result<Self> {
        let lease = Lease::take(&endpoint);
        while let Some(wire) = if fresh { None } else { endpoint.take_idle() } {
            if is_alive(&wire.io) {
                return Ok(Upstream::new(wire, endpoint, true, lease));
            }
        }
        let connect = TcpStream::connect(endpoint.endpoint.address);
        let stream = tokio::time::timeout(limit, connect)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(Upstream::new(Wire::new(stream), endpoint, false, lease))
    }

    fn new(wire: Wire<TcpStream>, endpoint: Rc<EndpointState>, reused: bool, lease: Lease) -> Self {
        Upstream {
            wire,
            endpoint,
            reused,
            answered: false,
            interim: 0,
            lease,
        }
    }

    /// Gives the connection back for the next request, if nothing is left on it.
    pub(super) fn release(self) {
        let Upstream {
            mut wire,
            endpoint,
            lease,
            ..
        } = self;
        drop(lease);
        if wire.input.is_empty() && wire.output.is_empty() {
            wire.rest();
            endpoint.keep_idle(wire);
        }
    }

    /// The response's head; interim ones (1xx except 101) go to `inform`. `Err` carries what to call
    /// the failure.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head_only: bool,
        inform: &mut impl FnMut(&ResponseHead),
    ) -> Poll<Result<ResponseHead, &'static str>> {
        loop {
            if !self.wire.input.is_empty() {
                match read_response(&mut self.wire.input, head_only) {
                    Ok(Some(head)) if head.status < 200 && head.status != 101 => {
                        self.interim += 1;
                        if self.interim > INTERIM_MAX {
                            return Poll::Ready(Err("too many interim answers"));
                        }
                        inform(&head);
                        continue;
                    }
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Ok(None) => {}
                    Err(what) => return Poll::Ready(Err(what)),
                }
            }
            match ready!(self.wire.poll_fill(cx)) {
                Ok(0) | Err(_) => {
                    return Poll::Ready(Err("the instance closed the connection before it answered"));
                }
                Ok(_) => self.answered = true,
            }
        }
    }
}

/// Whether an idle connection is still open: there must be nothing to read, not even its end.
fn is_alive(stream: &TcpStream) -> bool {
    match stream.poll_read_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => true,
        Poll::Ready(Err(_)) => false,
        Poll::Ready(Ok(())) => {
            matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        }
    }
}

/// Where a request's body comes from.
pub(super) trait BodySource {
    /// The next piece; none at the end. `Err` says how the client failed.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>>;

    /// The fields after the body, once it has ended.
    fn take_trailers(&mut self) -> Trailers {
        Trailers::default()
    }
}

/// Why an upload stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UploadError {
    /// The client left.
    ClientGone,
    /// The client sent wrong framing.
    Malformed,
    /// The body is beyond the limit.
    TooLarge,
}

/// A request's body on its way to the instance.
#[derive(Debug)]
pub(super) struct Upload {
    length: BodyLength,
    ended: bool,
    flushed: bool,
    /// The instance takes no more.
    broken: bool,
    sent: u64,
    bytes_max: u64,
}

impl Upload {
    pub(super) fn new(length: BodyLength, bytes_max: u64) -> Self {
        Upload {
            length,
            ended: length == BodyLength::Empty,
            flushed: false,
            broken: false,
            sent: 0,
            bytes_max,
        }
    }

    /// Whether head and body are with the instance.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.flushed
    }

    /// Whether there is a body.
    pub(super) fn has_body(&self) -> bool {
        self.length != BodyLength::Empty
    }

    /// Bytes of the body taken from the client.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Moves what can be moved. Ready when all is sent, or at the first failure.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl BodySource,
        wire: &mut Wire<TcpStream>,
    ) -> Poll<Result<(), UploadError>> {
        if self.is_done() {
            return Poll::Ready(Ok(()));
        }
        if self.broken {
            return Poll::Pending;
        }
        loop {
            while !self.ended && wire.output.len() < UPLOAD_BYTES_MAX {
                match source.poll_piece(cx) {
                    Poll::Ready(Some(piece)) => self.push(&piece?, wire)?,
                    Poll::Ready(None) => self.end(source, wire)?,
                    Poll::Pending => break,
                }
            }
            if ready!(wire.poll_flush(cx)).is_err() {
                // It may have answered before it closed: the answer is still to be read.
                self.broken = true;
                return Poll::Pending;
            }
            if self.ended {
                self.flushed = true;
                return Poll::Ready(Ok(()));
            }
            // The buffer is empty again: pending only if the source is.
            match source.poll_piece(cx) {
                Poll::Ready(Some(piece)) => self.push(&piece?, wire)?,
                Poll::Ready(None) => self.end(source, wire)?,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn push(&mut self, piece: &[u8], wire: &mut Wire<TcpStream>) -> Result<(), UploadError> {
        self.sent += piece.len() as u64;
        if self.sent > self.bytes_max {
            return Err(UploadError::TooLarge);
        }
        match self.length {
            _ if piece.is_empty() => {}
            BodyLength::Chunked => encode_chunk(&mut wire.output, piece),
            BodyLength::Bytes(length) if self.sent > length => return Err(UploadError::Malformed),
            _ => wire.output.extend_from_slice(piece),
        }
        Ok(())
    }

    fn end(&mut self, source: &mut impl BodySource, wire: &mut Wire<TcpStream>) -> Result<(), UploadError> {
        self.ended = true;
        match self.length {
            BodyLength::Chunked => encode_last_chunk(&mut wire.output, &source.take_trailers()),
            BodyLength::Bytes(length) if self.sent < length => return Err(UploadError::Malformed),
            _ => {}
        }
        Ok(())
    }
}
