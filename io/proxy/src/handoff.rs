//! The holder hands its listening sockets to a worker: file descriptors over a Unix socket.
//!
//! The worker inherits its end of the socket as standard input. After the first message, which
//! carries the descriptors, both sides write one word per line; the end of the stream tells each
//! that the other is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

/// Most sockets handed over at once.
const SOCKETS_MAX: usize = 64;
/// Longest first message.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What comes with the descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handed {
    /// HTTP listeners; their descriptors follow the control socket's.
    pub(crate) plain: usize,
    /// HTTPS listeners, after those.
    pub(crate) tls: usize,
    /// Older workers that may still drain and will report here.
    pub(crate) draining_pids: Vec<u32>,
}

/// The holder's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Take the lead: load the table, accept, answer on the control socket.
    Lead,
    /// Give up the lead, then drain and end.
    Yield,
    /// Stop: give up the lead and end as soon as no request is open.
    Stop,
}

/// The worker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Ready to lead.
    Prepared,
    /// Accepting.
    Leading,
    /// Accepts no more; the spool is free.
    Yielded,
}

impl Order {
    const ALL: [(Order, &'static str); 3] = [
        (Order::Lead, "lead"),
        (Order::Yield, "yield"),
        (Order::Stop, "stop"),
    ];

    pub(crate) fn line(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(order, _)| *order == self)
            .map_or("", |(_, line)| line)
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(_, text)| *text == line)
            .map(|(order, _)| order)
    }
}

impl Word {
    const ALL: [(Word, &'static str); 3] = [
        (Word::Prepared, "prepared"),
        (Word::Leading, "leading"),
        (Word::Yielded, "yielded"),
    ];

    pub(crate) fn line(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(word, _)| *word == self)
            .map_or("", |(_, line)| line)
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(_, text)| *text == line)
            .map(|(word, _)| word)
    }
}

/// Sends a message with descriptors: the control socket, the HTTP, then the HTTPS listeners.
pub(crate) fn send(stream: impl AsFd, handed: &Handed, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let message = serde_json::to_vec(handed)?;
    if message.len() > MESSAGE_BYTES_MAX || sockets.len() > SOCKETS_MAX {
        return Err(io::Error::other(format!(
            "hand over {} sockets: at most {SOCKETS_MAX}",
            sockets.len()
        )));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(sockets));
    rustix::net::sendmsg(
        stream,
        &[IoSlice::new(&message)],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

/// Receives what [`send`] sent.
pub(crate) fn receive(stream: impl AsFd) -> io::Result<(Handed, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let received = rustix::net::recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut message)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let sockets = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((serde_json::from_slice(&message[..received.bytes])?, sockets))
}

/// The worker's end of the socket: what it inherited as standard input.
pub(crate) fn inherited() -> io::Result<UnixStream> {
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}
