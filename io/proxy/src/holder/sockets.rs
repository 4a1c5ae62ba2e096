//! The sockets that outlive every worker.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::HolderError;
use crate::ProxyConfig;
use crate::handoff::Handed;
use crate::protocol::control_socket;

/// Connections that wait while no worker accepts, as far as the system's own limit allows.
const BACKLOG: i32 = 4096;

/// The listening sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    control: Option<UnixListener>,
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
}

impl Sockets {
    /// Binds what the configuration names.
    pub(super) fn bind(config: &ProxyConfig) -> Result<Self, HolderError> {
        let bind = |addresses: &[SocketAddr]| {
            addresses
                .iter()
                .map(|address| listen(*address))
                .collect::<Result<Vec<_>, HolderError>>()
        };
        let (plain, tls) = (bind(&config.listen)?, bind(&config.listen_tls)?);
        let path = control_socket(&config.dir);
        remove_stale(&path)?;
        Ok(Sockets {
            control: Some(UnixListener::bind(&path)?),
            plain,
            tls,
        })
    }

    /// From descriptors handed over by a worker.
    pub(super) fn from_handed(handed: &Handed, sockets: Vec<OwnedFd>) -> Option<Self> {
        if sockets.len() != 1 + handed.plain + handed.tls {
            return None;
        }
        let mut sockets = sockets.into_iter();
        Some(Sockets {
            control: sockets.next().map(UnixListener::from),
            plain: sockets
                .by_ref()
                .take(handed.plain)
                .map(TcpListener::from)
                .collect(),
            tls: sockets.map(TcpListener::from).collect(),
        })
    }

    /// What a worker is told about them.
    pub(super) fn handed(&self, draining: &[u32]) -> Handed {
        Handed {
            plain: self.plain.len(),
            tls: self.tls.len(),
            draining_pids: draining.to_vec(),
        }
    }

    /// In the order in which they are handed over.
    pub(super) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        let control = self.control.iter().map(AsFd::as_fd);
        control
            .chain(self.plain.iter().chain(&self.tls).map(AsFd::as_fd))
            .collect()
    }

    /// The addresses as bound.
    pub(super) fn addresses(&self, tls: bool) -> Vec<SocketAddr> {
        let listeners = if tls { &self.tls } else { &self.plain };
        listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Closes the holder's descriptors.
    pub(super) fn close(&mut self) {
        (self.control, self.plain, self.tls) = (None, Vec::new(), Vec::new());
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, HolderError> {
    let fail = |source| HolderError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(fail)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|error| fail(error.into()))?;
    Ok(listener)
}

/// Removes a socket file that nobody listens on any more.
pub(super) fn remove_stale(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
