//! How a proxy is started. Kept as `config.json` in its folder, read by holder and worker.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything the proxy is told once, at its start (a worker reads it again on an upgrade).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyConfig {
    /// The proxy's own folder: sockets, table, spool, log.
    pub dir: PathBuf,
    /// The program to start as `PROGRAM [arguments…] holder DIR` and `… worker DIR`.
    pub program: PathBuf,
    /// Arguments before `holder` or `worker`; `["proxy"]` for the `trimtab` binary.
    pub arguments: Vec<String>,
    /// Where to listen for HTTP/1.1 and cleartext HTTP/2.
    pub listen: Vec<SocketAddr>,
    /// Where to listen for HTTPS; needs `tls`.
    #[serde(default)]
    pub listen_tls: Vec<SocketAddr>,
    /// Certificate and key.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Serving threads, each with a runtime of its own; 0 means one per core.
    #[serde(default)]
    pub threads: usize,
    /// Networks whose `X-Forwarded-*` headers are believed, as `address/prefix-length`.
    #[serde(default)]
    pub trusted_peers: Vec<String>,
    /// What is refused.
    #[serde(default)]
    pub limits: Limits,
}

impl ProxyConfig {
    /// A proxy in `dir`, run by `program proxy …`, listening for HTTP at `listen`.
    pub fn new(dir: impl Into<PathBuf>, program: impl Into<PathBuf>, listen: Vec<SocketAddr>) -> Self {
        ProxyConfig {
            dir: dir.into(),
            program: program.into(),
            arguments: vec!["proxy".to_owned()],
            listen,
            listen_tls: Vec::new(),
            tls: None,
            threads: 0,
            trusted_peers: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What the proxy refuses or cuts off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of a request's head (431 above).
    pub header_bytes_max: usize,
    /// Headers in a request (431 above).
    pub headers_max: usize,
    /// Bytes of a request's body (413 above).
    pub body_bytes_max: u64,
    /// Milliseconds for a request's head to come; also how long an idle connection is kept.
    pub header_timeout_ms: u64,
    /// Client connections open at once; more wait in the listening queue.
    pub connections_max: usize,
    /// Streams open at once on one HTTP/2 connection.
    pub h2_streams_max: u32,
    /// Streams reset by an HTTP/2 client before it is shut out (rapid reset).
    pub h2_resets_max: usize,
    /// Milliseconds that a draining worker waits for open requests and tunnels.
    pub drain_ms: u64,
    /// Bytes of unacknowledged frames kept on disk; the oldest are dropped above it.
    pub spool_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes_max: 64 * 1024,
            headers_max: 100,
            body_bytes_max: 1024 * 1024 * 1024,
            header_timeout_ms: 60_000,
            connections_max: 16_384,
            h2_streams_max: 128,
            h2_resets_max: 64,
            drain_ms: 30_000,
            spool_bytes_max: 256 * 1024 * 1024,
        }
    }
}
