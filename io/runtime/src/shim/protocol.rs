//! What is said over a shim's socket: one JSON line each way.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use trimtab_model::Generation;

use crate::Instance;
use crate::folder::Folder;

/// Longest request or reply in bytes.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;

/// Version of the messages; a shim may be older than the control process.
const PROTOCOL_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    message: T,
}

/// What is asked of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Status,
    Stop {
        grace: Duration,
        generation: Generation,
    },
    Restart {
        generation: Generation,
    },
    /// The same spec was ensured by a newer decision.
    Advance {
        generation: Generation,
    },
}

impl Request {
    pub(crate) fn generation(&self) -> Option<Generation> {
        match self {
            Request::Status => None,
            Request::Stop { generation, .. }
            | Request::Restart { generation }
            | Request::Advance { generation } => Some(*generation),
        }
    }
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Done(Box<Instance>),
    Older { newest: Generation },
    Refused { reason: String },
}

/// Asks the shim of `folder`, waiting at most `patience`.
pub(crate) async fn ask(folder: &Folder, request: &Request, patience: Duration) -> Result<Reply, String> {
    let exchange = async {
        let (_open, path) = folder.socket()?;
        let mut stream = UnixStream::connect(path).await?;
        send(&mut stream, request).await?;
        receive(&mut stream).await
    };
    match tokio::time::timeout(patience, exchange).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {patience:?}")),
    }
}

pub(super) async fn send<T: Serialize>(stream: &mut UnixStream, message: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(&Envelope {
        version: PROTOCOL_VERSION,
        message,
    })?;
    line.push(b'\n');
    stream.write_all(&line).await
}

pub(super) async fn receive<T: for<'de> Deserialize<'de>>(stream: &mut UnixStream) -> std::io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MESSAGE_BYTES_MAX))
        .read_until(b'\n', &mut line)
        .await?;
    if line.is_empty() {
        return Err(std::io::Error::other("the connection was closed"));
    }
    let envelope: Envelope<T> = serde_json::from_slice(&line)?;
    if envelope.version != PROTOCOL_VERSION {
        return Err(std::io::Error::other(format!(
            "unknown protocol version {}",
            envelope.version
        )));
    }
    Ok(envelope.message)
}
