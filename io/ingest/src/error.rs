//! What can go wrong when signals come in.

use std::io;
use std::net::SocketAddr;

use trimtab_series::SeriesError;
use trimtab_store::StoreError;
use trimtab_telemetry::prometheus::TextError;

/// Why listening or storing failed.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The port is taken.
    #[error(
        "failed to listen on {address} for {what}: the port is in use; stop what uses it (`ss -ltnp sport = :{port}` shows it) or set another `{setting}` in trimtab-server.yaml",
        port = address.port()
    )]
    PortInUse {
        /// What would have listened, for example `OTLP over gRPC`.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting that names the address.
        setting: &'static str,
    },
    /// The address cannot be listened on for another reason.
    #[error(
        "failed to listen on {address} for {what}: {source}; `{setting}` in trimtab-server.yaml names the address"
    )]
    Listen {
        /// What would have listened.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting that names the address.
        setting: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The metric store's answer.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// The answer of the store of logs, spans and events.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an instance's metrics could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// No connection, or it broke.
    #[error("failed to read http://{address}{path}: {reason}")]
    Unreachable {
        /// The instance.
        address: SocketAddr,
        /// The path.
        path: String,
        /// What happened.
        reason: String,
    },
    /// Not in time.
    #[error("failed to read http://{address}{path}: no answer within {millis} ms")]
    TimedOut {
        /// The instance.
        address: SocketAddr,
        /// The path.
        path: String,
        /// The limit.
        millis: u128,
    },
    /// An answer other than 200.
    #[error("failed to read http://{address}{path}: it answered {status}")]
    Status {
        /// The instance.
        address: SocketAddr,
        /// The path.
        path: String,
        /// The answer's status.
        status: u16,
    },
    /// More than [`crate::METRICS_BYTES_MAX`] bytes.
    #[error("failed to read http://{address}{path}: more than {max} bytes")]
    TooLarge {
        /// The instance.
        address: SocketAddr,
        /// The path.
        path: String,
        /// The limit.
        max: usize,
    },
    /// Not Prometheus' text format.
    #[error("failed to read http://{address}{path}: {source}")]
    Text {
        /// The instance.
        address: SocketAddr,
        /// The path.
        path: String,
        /// What is wrong, and in which line.
        source: TextError,
    },
}
