//! The control socket: what `serve`, a draining worker or a new holder asks of the worker that leads.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lane::Ended;
use super::lead::{ApplyError, Lead};
use crate::handoff::{self, Handed};
use crate::protocol::{self, Reply, Request};

/// Bytes of frames read from disk at once.
const READ_BYTES: usize = 1024 * 1024;

/// The sockets that a new holder may ask for, and where its connection goes.
pub(super) struct Surrender {
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) plain: usize,
    pub(super) tls: usize,
    pub(super) relink: mpsc::UnboundedSender<UnixStream>,
}

/// Answers until dropped; connections end with it.
pub(super) async fn serve(lead: Rc<Lead>, listener: UnixListener, surrender: Rc<Surrender>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn_local(answer(Rc::clone(&lead), stream, Rc::clone(&surrender)));
                }
                Err(error) => {
                    tracing::error!(%error, "failed to accept on the control socket");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Answers one connection's requests until it ends.
async fn answer(lead: Rc<Lead>, mut stream: UnixStream, surrender: Rc<Surrender>) {
    while let Ok(request) = protocol::receive::<Request>(&mut stream).await {
        let reply = match request {
            Request::Frames { after } => {
                // The reader is gone, or comes back and asks anew.
                let _gone = stream_frames(&lead, &mut stream, after).await;
                return;
            }
            Request::Surrender => {
                hand_back(stream, &surrender);
                return;
            }
            request => reply_to(&lead, request).await,
        };
        if protocol::send(&mut stream, &reply).await.is_err() {
            return;
        }
    }
}

async fn reply_to(lead: &Lead, request: Request) -> Reply {
    match request {
        Request::Apply { table } => match lead.apply(*table).await {
            Ok(()) => Reply::Done,
            Err(ApplyError::Table(error)) => Reply::TableRefused { error },
            Err(error) => Reply::Failed {
                what: error.to_string(),
            },
        },
        Request::InFlight {
            service,
            environment,
            release,
            instances,
            drain,
        } => {
            let meant = Ended {
                service,
                environment,
                release,
                instances,
            };
            if drain {
                lead.end_streams(&meant);
            }
            Reply::InFlight {
                in_flight: lead.in_flight(&meant).await,
            }
        }
        Request::Status => Reply::Status {
            status: Box::new(lead.status()),
        },
        Request::Acknowledge { sequence } => match lead.with_spool(|spool| spool.acknowledge(sequence)) {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed {
                what: format!("forget acknowledged frames: {error}"),
            },
        },
        Request::Deliver { pid, number, batch } => {
            lead.deliver(pid, number, batch);
            Reply::Done
        }
        Request::Frames { .. } | Request::Surrender => Reply::Failed {
            what: "answer a request that takes the connection over".to_owned(),
        },
    }
}

async fn stream_frames(lead: &Lead, stream: &mut UnixStream, mut after: u64) -> std::io::Result<()> {
    let mut newest = lead.newest.subscribe();
    loop {
        newest.borrow_and_update();
        let frames = lead.with_spool(|spool| spool.read_after(after, READ_BYTES))?;
        let is_all = frames.is_empty();
        for (sequence, json) in frames {
            protocol::send_bytes(stream, &json).await?;
            after = sequence;
        }
        if is_all {
            newest.changed().await.map_err(std::io::Error::other)?;
        }
    }
}

/// Gives the listening sockets to a new holder, whose connection becomes the link.
fn hand_back(stream: UnixStream, surrender: &Surrender) {
    let handed = Handed {
        plain: surrender.plain,
        tls: surrender.tls,
        draining_pids: vec![std::process::id()],
    };
    let sockets: Vec<_> = surrender.sockets.iter().map(AsFd::as_fd).collect();
    match handoff::send(&stream, &handed, &sockets) {
        Ok(()) => {
            // The worker's main loop lives as long as this task.
            let _gone = surrender.relink.send(stream);
        }
        Err(error) => tracing::error!(%error, "failed to hand the sockets to a new holder"),
    }
}
