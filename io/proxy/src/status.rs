//! How the proxy and the instances behind it are.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, InstanceId, ReleaseId, ServiceName, Timestamp};

/// What the active health check thinks of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not probed often enough yet; gets traffic, so that a restarted worker serves at once.
    Unknown,
    /// Passed the threshold.
    Healthy,
    /// Failed the threshold; gets no traffic.
    Unhealthy,
}

/// One endpoint and its last probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Service it belongs to.
    pub service: ServiceName,
    /// Environment it belongs to.
    pub environment: EnvironmentName,
    /// Its release.
    pub release: ReleaseId,
    /// The instance.
    pub instance: InstanceId,
    /// Where it is.
    pub address: SocketAddr,
    /// The verdict of the thresholds.
    pub health: Health,
    /// Passes in a row up to now.
    pub passes: u32,
    /// Failures in a row up to now.
    pub failures: u32,
    /// When the last probe ended.
    pub probed_at: Option<Timestamp>,
    /// The last probe's HTTP status, if there was an answer.
    pub last_status: Option<u16>,
    /// The first 512 bytes of the last probe's body, as text.
    pub last_body: String,
    /// Why the last probe got no answer.
    pub last_error: Option<String>,
}

/// What the worker counted since it started; for people and metrics, not for verdicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections open now.
    pub connections_open: u64,
    /// Connections to instances opened.
    pub upstream_connections: u64,
    /// Requests that ended, whatever became of them.
    pub requests: u64,
    /// Requests refused as malformed or beyond a limit before they reached a route.
    pub refused: u64,
    /// Requests that no route wanted.
    pub unrouted: u64,
    /// Testers' requests by preview header (in no cell).
    pub previewed: u64,
    /// Requests turned away by a rate limit (429).
    pub rate_limited: u64,
    /// Requests answered with a maintenance page.
    pub maintained: u64,
    /// Times that a request was held, because its route was paused or had no instance.
    pub held: u64,
    /// Requests not held because too many were.
    pub hold_refused: u64,
    /// Times that an instance was left out for failing.
    pub ejections: u64,
    /// Files that one arm did not have and the other did.
    pub assets_crossed: u64,
    /// Copies not sent because too many were under way.
    pub mirror_dropped: u64,
    /// Operations folded into `other`.
    pub operations_folded: u64,
    /// TLS handshakes that failed.
    pub tls_failed: u64,
    /// Times that a new certificate was taken from its files.
    pub tls_reloads: u64,
    /// Times that accepting paused because the connection limit was reached.
    pub accept_paused: u64,
}

impl Counters {
    /// Adds another's counts; `connections_open` is a level and stays.
    pub(crate) fn add(&mut self, other: &Counters) {
        self.connections += other.connections;
        self.upstream_connections += other.upstream_connections;
        self.requests += other.requests;
        self.refused += other.refused;
        self.unrouted += other.unrouted;
        self.previewed += other.previewed;
        self.rate_limited += other.rate_limited;
        self.maintained += other.maintained;
        self.held += other.held;
        self.hold_refused += other.hold_refused;
        self.ejections += other.ejections;
        self.assets_crossed += other.assets_crossed;
        self.mirror_dropped += other.mirror_dropped;
        self.operations_folded += other.operations_folded;
        self.tls_reloads += other.tls_reloads;
        self.tls_failed += other.tls_failed;
        self.accept_paused += other.accept_paused;
    }
}

/// Requests under way to a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Requests and tunnels open, in every worker.
    pub requests: u64,
    /// Draining workers that have not reported yet, so that `requests` may be too low.
    pub unheard_workers: u64,
}

impl InFlight {
    /// Nothing is under way, and everyone said so.
    pub fn is_drained(&self) -> bool {
        self.requests == 0 && self.unheard_workers == 0
    }
}

/// The whole proxy at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Process id of the holder.
    pub holder_pid: u32,
    /// Process id of the worker that serves.
    pub worker_pid: u32,
    /// Older workers that still drain.
    pub draining_pids: Vec<u32>,
    /// Workers started again after a crash, since the holder started.
    pub worker_restarts: u64,
    /// When the worker began to serve.
    pub worker_started_at: Timestamp,
    /// The crate version of the worker's program.
    pub worker_version: String,
    /// HTTP listeners as bound (the real port where 0 was asked for).
    pub listen: Vec<SocketAddr>,
    /// HTTPS listeners as bound.
    pub listen_tls: Vec<SocketAddr>,
    /// Version of the table in force; 0 before the first.
    pub table_version: u64,
    /// Every endpoint of the table.
    pub endpoints: Vec<EndpointStatus>,
    /// Why the certificate's files could not be read again; the certificate before serves on.
    #[serde(default)]
    pub tls_error: Option<String>,
    /// Counts since the worker started.
    pub counters: Counters,
    /// Bytes of frames on disk that `serve` has not acknowledged.
    pub spool_bytes: u64,
    /// Frames dropped because the spool was full, since it was made.
    pub frames_dropped: u64,
    /// The newest frame's sequence.
    pub frame_sequence: u64,
}
