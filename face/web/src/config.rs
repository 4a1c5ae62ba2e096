//! Settings of the web server.

use std::sync::Arc;
use std::time::Duration;

use crate::OneTimeCodes;

/// Everything the web server is told at its start.
#[derive(Clone)]
pub struct WebConfig {
    /// Hosts (with or without port) that requests may name, besides loopback names with the port
    /// listened on: `trimtab.example.org`. Protects from DNS rebinding.
    pub hosts_allowed: Vec<String>,
    /// Key that signs sessions: keep it in a file of mode 0600 for sessions to outlive a restart.
    pub session_key: [u8; 32],
    /// How long a session lives.
    pub session_lifetime: Duration,
    /// People reach the server by HTTPS: cookies are marked Secure.
    pub https: bool,
    /// One-time admin codes: `/login?code=…` takes them.
    pub codes: Arc<OneTimeCodes>,
    /// Largest request body in bytes.
    pub body_bytes_max: usize,
    /// Live streams at the same time.
    pub streams_max: usize,
}

impl WebConfig {
    /// Loopback only, twelve-hour sessions, bodies up to 1 MiB, 200 streams.
    pub fn new(session_key: [u8; 32], codes: Arc<OneTimeCodes>) -> Self {
        WebConfig {
            hosts_allowed: Vec::new(),
            session_key,
            session_lifetime: Duration::from_secs(12 * 3600),
            https: false,
            codes,
            body_bytes_max: 1 << 20,
            streams_max: 200,
        }
    }
}
