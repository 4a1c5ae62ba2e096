//! How a proxy is started. Kept as `config.json` in its folder, read by holder and worker.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::peers::TrustedPeers;

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
    /// Where to listen for HTTPS. Certificates are `tls`, `certificates`, and what ACME brought.
    #[serde(default)]
    pub listen_tls: Vec<SocketAddr>,
    /// Certificate and key for whoever names no host, or one that no other certificate is for.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// More of them, each for the hosts that it names.
    #[serde(default)]
    pub certificates: Vec<TlsFiles>,
    /// Certificates may come while it runs (see [`Acme`](crate::Acme)): it listens without one.
    #[serde(default)]
    pub awaits_certificates: bool,
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
            certificates: Vec::new(),
            awaits_certificates: false,
            threads: 0,
            trusted_peers: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Why a configuration cannot be used; each finishes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `config.json` is missing or damaged.
    #[error("read {path}: {reason}; `serve` writes it anew when it starts")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It contradicts itself.
    #[error("use the proxy's configuration: {0}")]
    Invalid(String),
}

impl ProxyConfig {
    /// Where it is kept.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("config.json")
    }

    /// Reads and checks what is kept in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self, ConfigError> {
        let path = Self::path(dir);
        let fail = |reason: String| ConfigError::Read {
            path: path.clone(),
            reason,
        };
        let json = std::fs::read(&path).map_err(|error| fail(error.to_string()))?;
        let config: ProxyConfig = serde_json::from_slice(&json).map_err(|error| fail(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Whether it makes sense.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let invalid = |what: &str| Err(ConfigError::Invalid(what.to_owned()));
        if self.listen.is_empty() && self.listen_tls.is_empty() {
            return invalid("it listens nowhere: give an address");
        }
        let has_some = self.tls.is_some() || !self.certificates.is_empty() || self.awaits_certificates;
        if !self.listen_tls.is_empty() && !has_some {
            return invalid("HTTPS needs a certificate and a key");
        }
        self.trusted_peers().map(drop)
    }

    pub(crate) fn trusted_peers(&self) -> Result<TrustedPeers, ConfigError> {
        TrustedPeers::parse(&self.trusted_peers).map_err(ConfigError::Invalid)
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
    /// Milliseconds that a WebSocket's client has for its goodbye after the proxy's (1001).
    pub tunnel_grace_ms: u64,
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
            tunnel_grace_ms: 5_000,
            drain_ms: 30_000,
            spool_bytes_max: 256 * 1024 * 1024,
        }
    }
}
