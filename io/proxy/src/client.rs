//! `serve`'s side: starts or adopts a proxy, hands it tables, reads its frames.

mod frames;
mod gone;
mod start;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;
use trimtab_model::{EnvironmentName, InstanceId, ReleaseId, ServiceName};

use crate::protocol::{
    self, HolderReply, HolderRequest, HolderStatus, Reply, Request, control_socket, holder_socket, log_file,
};
use crate::{InFlight, ProxyConfig, ProxyStatus, RoutingTable, TableError};

pub use frames::FrameStream;

/// A proxy that is being restarted or upgraded answers within this, or there is something wrong.
const PATIENCE: Duration = Duration::from_secs(10);
/// An upgrade may wait for a slow program to start.
const PATIENCE_UPGRADE: Duration = Duration::from_secs(45);
/// Pause between two tries to reach the proxy.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Pause between two questions whether a release has drained.
const DRAIN_PAUSE: Duration = Duration::from_millis(25);

/// Why a call to the proxy failed; each finishes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The proxy refused the table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The proxy tried and said why it could not.
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
        source: io::Error,
    },
    /// The proxy did not start.
    #[error("start the proxy from {program}: {reason}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What happened, with the last lines of its log.
        reason: String,
    },
}

/// A handle to the proxy; clones share it. Each call finds the proxy anew if it was restarted.
#[derive(Debug, Clone)]
pub struct ProxyClient {
    config: Arc<ProxyConfig>,
}

impl ProxyClient {
    /// Adopts the proxy that runs in `config.dir`, or starts one there and waits until it accepts.
    /// An adopted proxy keeps the addresses that it was started with.
    pub async fn start_or_adopt(config: ProxyConfig) -> Result<Self, ClientError> {
        start::start_or_adopt(&config).await?;
        Ok(ProxyClient {
            config: Arc::new(config),
        })
    }

    /// Starts a holder again if none answers: a worker that outlived it goes on serving and hands the
    /// sockets over. Does nothing while one answers.
    pub async fn revive(&self) -> Result<(), ClientError> {
        start::start_or_adopt(&self.config).await
    }

    /// Puts a table in force: when this returns, it is on disk and every new request is routed by it.
    /// Applying the same table again does nothing; an older one is refused.
    pub async fn apply(&self, table: &RoutingTable) -> Result<(), ClientError> {
        let request = Request::Apply {
            table: Box::new(table.clone()),
        };
        self.done(&request).await
    }

    /// How many requests are under way to a release, in every worker and environment.
    pub async fn in_flight(
        &self,
        service: &ServiceName,
        release: &ReleaseId,
    ) -> Result<InFlight, ClientError> {
        self.count(service, None, release, &[], false).await
    }

    /// How many requests are under way to a release in one environment, in every worker.
    pub async fn in_flight_in(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
    ) -> Result<InFlight, ClientError> {
        self.count(service, Some(environment), release, &[], false).await
    }

    /// Waits until nothing is under way to a release in any environment, at most `limit`; says what
    /// was left. Its WebSockets are closed (1001) and its event streams ended: their clients come
    /// back, to whichever release serves by then.
    pub async fn wait_drained(
        &self,
        service: &ServiceName,
        release: &ReleaseId,
        limit: Duration,
    ) -> Result<InFlight, ClientError> {
        self.drained(service, None, release, &[], limit).await
    }

    /// The same for one environment: the release may be serving in another.
    pub async fn wait_drained_in(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
        limit: Duration,
    ) -> Result<InFlight, ClientError> {
        self.drained(service, Some(environment), release, &[], limit)
            .await
    }

    /// The same for some instances of a release, the others of which may be serving. The table in
    /// force must not name them any more.
    pub async fn wait_drained_of(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        release: &ReleaseId,
        instances: &[InstanceId],
        limit: Duration,
    ) -> Result<InFlight, ClientError> {
        if instances.is_empty() {
            return Ok(InFlight::default());
        }
        self.drained(service, Some(environment), release, instances, limit)
            .await
    }

    async fn count(
        &self,
        service: &ServiceName,
        environment: Option<&EnvironmentName>,
        release: &ReleaseId,
        instances: &[InstanceId],
        drain: bool,
    ) -> Result<InFlight, ClientError> {
        let request = Request::InFlight {
            service: service.clone(),
            environment: environment.cloned(),
            release: release.clone(),
            instances: instances.to_vec(),
            drain,
        };
        match self.ask(&request).await? {
            Reply::InFlight { in_flight } => Ok(in_flight),
            other => Err(unexpected(other)),
        }
    }

    async fn drained(
        &self,
        service: &ServiceName,
        environment: Option<&EnvironmentName>,
        release: &ReleaseId,
        instances: &[InstanceId],
        limit: Duration,
    ) -> Result<InFlight, ClientError> {
        let until = Instant::now() + limit;
        loop {
            let in_flight = self.count(service, environment, release, instances, true).await?;
            if in_flight.is_drained() || Instant::now() >= until {
                return Ok(in_flight);
            }
            tokio::time::sleep(DRAIN_PAUSE).await;
        }
    }

    /// The frames after `sequence` (0 for all that are kept), from the spool first, then live. For
    /// one reader at a time: what it acknowledges is gone.
    pub fn frames(&self, after: u64) -> FrameStream {
        FrameStream::start(control_socket(&self.config.dir), after)
    }

    /// Says that every frame up to `sequence` is safe here, so that the proxy may forget them.
    pub async fn acknowledge(&self, sequence: u64) -> Result<(), ClientError> {
        self.done(&Request::Acknowledge { sequence }).await
    }

    /// How the proxy and the instances behind it are.
    pub async fn status(&self) -> Result<ProxyStatus, ClientError> {
        let holder = match self.ask_holder(&HolderRequest::Status, PATIENCE).await? {
            HolderReply::Status { status } => status,
            other => {
                return Err(ClientError::Refused(format!(
                    "read the holder's status: it said {other:?}"
                )));
            }
        };
        match self.ask(&Request::Status).await? {
            Reply::Status { status } => Ok(together(holder, *status)),
            other => Err(unexpected(other)),
        }
    }

    /// Starts a worker from `program`, hands over to it, lets the old one drain. Returns when the new
    /// one accepts; on failure the old program serves on. The configuration is read anew, except
    /// for the addresses.
    pub async fn upgrade(&self, program: PathBuf) -> Result<(), ClientError> {
        match self
            .ask_holder(&HolderRequest::Upgrade { program }, PATIENCE_UPGRADE)
            .await?
        {
            HolderReply::Failed { what } => Err(ClientError::Refused(what)),
            _ => Ok(()),
        }
    }

    /// Ends the proxy: listeners close at once, open requests get the drain limit.
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        let limit = Duration::from_millis(self.config.limits.drain_ms) * 2 + PATIENCE;
        self.ask_holder(&HolderRequest::Shutdown, limit).await.map(drop)
    }

    async fn done(&self, request: &Request) -> Result<(), ClientError> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Asks the worker that leads; asks again while none answers. Everything asked may be repeated.
    async fn ask(&self, request: &Request) -> Result<Reply, ClientError> {
        let socket = control_socket(&self.config.dir);
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = tokio::time::timeout_at(until, exchange(&socket, request)).await;
            match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(reply) => return Ok(reply),
                Err(error) if Instant::now() + RETRY_PAUSE >= until => {
                    return Err(self.unreachable(socket, &error));
                }
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    async fn ask_holder(
        &self,
        request: &HolderRequest,
        patience: Duration,
    ) -> Result<HolderReply, ClientError> {
        let socket = holder_socket(&self.config.dir);
        let asked = tokio::time::timeout(patience, exchange(&socket, request)).await;
        asked
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| self.unreachable(socket, &error))
    }

    fn unreachable(&self, socket: PathBuf, error: &io::Error) -> ClientError {
        ClientError::Unreachable {
            socket,
            reason: error.to_string(),
            log: log_file(&self.config.dir),
        }
    }
}

/// One question and its answer on a connection of its own.
async fn exchange<Q: serde::Serialize, A: serde::de::DeserializeOwned>(
    socket: &Path,
    question: &Q,
) -> io::Result<A> {
    let mut stream = UnixStream::connect(socket).await?;
    protocol::send(&mut stream, question).await?;
    protocol::receive(&mut stream).await
}

fn unexpected(reply: Reply) -> ClientError {
    match reply {
        Reply::TableRefused { error } => ClientError::Table(error),
        Reply::Failed { what } => ClientError::Refused(what),
        other => ClientError::Refused(format!("understand the proxy's reply {other:?}")),
    }
}

fn together(holder: HolderStatus, worker: protocol::WorkerStatus) -> ProxyStatus {
    ProxyStatus {
        holder_pid: holder.pid,
        worker_pid: worker.pid,
        draining_pids: holder.draining_pids,
        worker_restarts: holder.worker_restarts,
        worker_started_at: worker.started_at,
        worker_version: worker.version,
        listen: holder.listen,
        listen_tls: holder.listen_tls,
        table_version: worker.table_version,
        endpoints: worker.endpoints,
        counters: worker.counters,
        tls_error: worker.tls_error,
        spool_bytes: worker.spool_bytes,
        frames_dropped: worker.frames_dropped,
        frame_sequence: worker.frame_sequence,
    }
}
