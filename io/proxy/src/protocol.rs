//! What `serve` and the proxy say to each other: length-prefixed JSON over Unix sockets.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use trimtab_model::{EnvironmentName, InstanceId, ReleaseId, ServiceName, Timestamp};

use crate::{
    Cell, Counters, EndpointStatus, InFlight, RequestRecord, RoutingTable, TableError, UserRequests,
};

/// Longest message.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The worker's socket, whichever worker leads.
pub(crate) fn control_socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// The holder's socket.
pub(crate) fn holder_socket(dir: &Path) -> PathBuf {
    dir.join("holder.sock")
}

/// Where the answers to an ACME server's challenges lie.
pub(crate) fn challenges_dir(dir: &Path) -> PathBuf {
    dir.join("challenges")
}

/// Where certificates lie that came by themselves.
pub(crate) fn certificates_dir(dir: &Path) -> PathBuf {
    dir.join("certificates")
}

/// Where holder and worker log.
pub(crate) fn log_file(dir: &Path) -> PathBuf {
    dir.join("proxy.log")
}

/// Asked of the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Request {
    Apply {
        table: Box<RoutingTable>,
    },
    /// In one environment, or in all.
    InFlight {
        service: ServiceName,
        #[serde(default)]
        environment: Option<EnvironmentName>,
        release: ReleaseId,
        /// Only these instances; none means all.
        #[serde(default)]
        instances: Vec<InstanceId>,
        /// WebSockets and event streams are asked to end.
        #[serde(default)]
        drain: bool,
    },
    Status,
    /// Turns the connection into a stream of frames.
    Frames {
        after: u64,
    },
    Acknowledge {
        sequence: u64,
    },
    /// A draining worker's counts. `number` grows by one, so that a repeated delivery counts once.
    Deliver {
        pid: u32,
        number: u64,
        batch: Batch,
    },
    /// The listening sockets, for a new holder after the old one died; they come beside the reply.
    Surrender,
}

/// A release where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Placement {
    pub(crate) service: ServiceName,
    pub(crate) environment: EnvironmentName,
    pub(crate) release: ReleaseId,
}

/// Counts on their way into a frame.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) cells: Vec<Cell>,
    pub(crate) requests: Vec<RequestRecord>,
    pub(crate) in_flight: Vec<(Placement, u64)>,
    #[serde(default)]
    pub(crate) busy: Vec<(InstanceId, u64)>,
    #[serde(default)]
    pub(crate) users: Vec<UserRequests>,
}

/// The worker's reply.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum Reply {
    Done,
    TableRefused { error: TableError },
    Failed { what: String },
    InFlight { in_flight: InFlight },
    Status { status: Box<WorkerStatus> },
}

/// The worker's part of the status.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    pub(crate) pid: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) version: String,
    pub(crate) table_version: u64,
    pub(crate) endpoints: Vec<EndpointStatus>,
    pub(crate) counters: Counters,
    #[serde(default)]
    pub(crate) tls_error: Option<String>,
    pub(crate) spool_bytes: u64,
    pub(crate) frames_dropped: u64,
    pub(crate) frame_sequence: u64,
}

/// Asked of the holder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum HolderRequest {
    Status,
    Upgrade { program: PathBuf },
    Shutdown,
}

/// The holder's reply.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum HolderReply {
    Done,
    Failed { what: String },
    Status { status: HolderStatus },
}

/// The holder's part of the status.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct HolderStatus {
    pub(crate) pid: u32,
    pub(crate) worker_pid: u32,
    pub(crate) draining_pids: Vec<u32>,
    pub(crate) worker_restarts: u64,
    pub(crate) listen: Vec<std::net::SocketAddr>,
    pub(crate) listen_tls: Vec<std::net::SocketAddr>,
}

/// Writes one message.
pub(crate) async fn send<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    send_bytes(stream, &serde_json::to_vec(message)?).await
}

/// Writes one message that is JSON already.
pub(crate) async fn send_bytes(stream: &mut (impl AsyncWrite + Unpin), json: &[u8]) -> io::Result<()> {
    let length = u32::try_from(json.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message = Vec::with_capacity(json.len() + 4);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(json);
    stream.write_all(&message).await
}

/// Reads one message.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = stream.read_u32().await? as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a message of {length} bytes is longer than {MESSAGE_BYTES_MAX}"
        )));
    }
    let mut json = vec![0; length];
    stream.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}
