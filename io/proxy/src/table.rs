//! The routing table: who gets which share of the traffic. Applied whole, persisted whole.

mod policy;
mod sticky;

use std::collections::HashSet;
use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use trimtab_model::{
    EnvironmentName, Generation, InstanceId, ReleaseId, RolloutId, ServiceName, Timestamp, Weight,
};

pub use policy::{Ejection, LimitBy, Maintenance, Policy, RateLimit, Tester, TesterBy};
pub use sticky::{Sticky, StickyBy};
pub(crate) use sticky::{TICKETS, Ticket, TicketOffice, cookie_name};

/// The version of the table's wire and disk format that this crate reads and writes.
pub(crate) const TABLE_FORMAT: u16 = 1;
/// More routes than this are refused.
const ROUTES_MAX: usize = 1_000;
/// More endpoints in one pool than this are refused.
const ENDPOINTS_MAX: usize = 1_000;

/// Why a table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum TableError {
    /// Written by a newer Trimtab.
    #[error("read a routing table of format {found}: this proxy knows format {known}; upgrade the proxy")]
    Format {
        /// Format of the table.
        found: u16,
        /// Format known here.
        known: u16,
    },
    /// An older table than the one in force, or another one under the same number.
    #[error("apply routing table {offered}: table {in_force} is in force already")]
    OlderVersion {
        /// Version offered.
        offered: u64,
        /// Version in force.
        in_force: u64,
    },
    /// A route decided in an older generation than the one in force.
    #[error(
        "apply routing table: {service}/{environment} was decided in generation {offered}, but generation {in_force} is in force already"
    )]
    OlderGeneration {
        /// Service of the route.
        service: ServiceName,
        /// Environment of the route.
        environment: EnvironmentName,
        /// Generation offered.
        offered: u64,
        /// Generation in force.
        in_force: u64,
    },
    /// The table contradicts itself.
    #[error("apply routing table: {what}")]
    Invalid {
        /// What is wrong, and where.
        what: String,
    },
}

/// Everything the proxy routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingTable {
    /// Version of this format; [`RoutingTable::new`] sets it.
    pub format: u16,
    /// Grows with every change; an older table is refused.
    pub version: u64,
    /// The routes, in any order: the longest path prefix wins within a host, a named host wins over `*`.
    pub routes: Vec<Route>,
}

/// Where requests for one host and path prefix go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The service behind it.
    pub service: ServiceName,
    /// The environment behind it.
    pub environment: EnvironmentName,
    /// Host name without port, in lower case, or `*` for any.
    pub host: String,
    /// Path prefix that begins with `/`; `/api` covers `/api` and `/api/x`, not `/apix`.
    pub path_prefix: String,
    /// Of the machine that decided this route; an older one is refused.
    pub generation: Generation,
    /// Milliseconds within which the response's head must have come, else 504.
    pub timeout_ms: u64,
    /// Which releases share the traffic.
    pub split: Split,
    /// Safe requests copied to a release off traffic.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// How testers reach a release off traffic; none: they can't.
    #[serde(default)]
    pub preview: Option<Preview>,
    /// Whatever else it does with its requests.
    #[serde(default)]
    pub policy: Policy,
}

/// Traffic shared by one release or two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The rollout under way, if any; every cell carries it.
    pub rollout: Option<RolloutId>,
    /// The release that served before. A pool without endpoints answers 503.
    pub baseline: Pool,
    /// The release on trial.
    pub candidate: Option<Pool>,
    /// The candidate's share: the probability of each request's coin.
    pub candidate_weight: Weight,
    /// Whether the coin is tossed for each user instead of each request; needs a rollout.
    #[serde(default)]
    pub sticky: Option<Sticky>,
}

/// The instances of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The release.
    pub release: ReleaseId,
    /// Its instances.
    pub endpoints: Vec<Endpoint>,
    /// How the proxy checks them.
    pub health: Probe,
    /// What they speak.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What instances speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte on. Clients must speak HTTP/2 too.
    Http2,
    /// The same, and the health check asks `grpc.health.v1.Health` for the whole server.
    Grpc,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The instance's id.
    pub instance: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// An active health check: `GET path`, healthy on 200 to 399.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Only whether it takes connections: how it is asked for its health is not the proxy's to know.
    #[serde(default)]
    pub connect_only: bool,
    /// Path asked for, beginning with `/`.
    pub path: String,
    /// Milliseconds between two probes.
    pub interval_ms: u64,
    /// Milliseconds after which a probe has failed.
    pub timeout_ms: u64,
    /// Passes in a row that make an unhealthy endpoint healthy.
    pub healthy_after: u32,
    /// Failures in a row that make an endpoint unhealthy.
    pub unhealthy_after: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            connect_only: false,
            path: "/health".to_owned(),
            interval_ms: 500,
            timeout_ms: 1_000,
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

/// A share of the safe requests (GET and HEAD without a body), sent once more to a pool off
/// traffic; the copies' responses are dropped and counted in cells with `mirrored` set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Who gets the copies.
    pub pool: Pool,
    /// How many of the requests are copied.
    pub share: Weight,
}

/// Testers' way to a release: `x-trimtab-preview: <release>` and, in `x-trimtab-preview-token`,
/// what [`preview_token`] makes with the same secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Key of the token's signature.
    pub secret: String,
}

impl std::fmt::Debug for Preview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Preview { secret: … }")
    }
}

/// A token that lets its bearer reach `release` by the preview header until `expires_at`:
/// `<expiry in ms>.<HMAC-SHA256 in hex>`.
pub fn preview_token(secret: &str, release: &ReleaseId, expires_at: Timestamp) -> String {
    let mac = signer(secret, release, expires_at);
    let signature: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}.{signature}", expires_at.0)
}

/// Whether `token` was made by [`preview_token`] for this release and has not expired.
pub(crate) fn preview_token_valid(secret: &str, release: &ReleaseId, token: &str, now: Timestamp) -> bool {
    let Some((expiry, signature)) = token.split_once('.') else {
        return false;
    };
    let Ok(expires_at) = expiry.parse().map(Timestamp) else {
        return false;
    };
    let bytes: Option<Vec<u8>> = signature
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    expires_at > now
        && bytes.is_some_and(|bytes| signer(secret, release, expires_at).verify_slice(&bytes).is_ok())
}

fn signer(secret: &str, release: &ReleaseId, expires_at: Timestamp) -> Hmac<Sha256> {
    let mut mac = keyed(secret);
    mac.update(format!("trimtab-preview\n{release}\n{}", expires_at.0).as_bytes());
    mac
}

/// HMAC-SHA256 under a secret of any length: it is hashed to 32 bytes and padded, as RFC 2104 allows.
fn keyed(secret: &str) -> Hmac<Sha256> {
    use sha2::Digest;
    let mut block = [0; 64];
    block[..32].copy_from_slice(&Sha256::digest(secret.as_bytes()));
    Hmac::new(&block.into())
}

impl RoutingTable {
    /// A table of this crate's format.
    pub fn new(version: u64, routes: Vec<Route>) -> Self {
        RoutingTable {
            format: TABLE_FORMAT,
            version,
            routes,
        }
    }

    /// Whether this table may take the place of `in_force`: it makes sense in itself, its version
    /// is newer (or it is the very same table) and no route is of an older generation.
    pub fn check_successor_of(&self, in_force: &RoutingTable) -> Result<(), TableError> {
        self.check()?;
        let same = self.version == in_force.version && self == in_force;
        if self.version < in_force.version
            || (self.version == in_force.version && !same && in_force.version > 0)
        {
            return Err(TableError::OlderVersion {
                offered: self.version,
                in_force: in_force.version,
            });
        }
        for route in &self.routes {
            let newest = in_force
                .routes
                .iter()
                .filter(|old| old.service == route.service && old.environment == route.environment)
                .map(|old| old.generation)
                .max();
            if let Some(newest) = newest.filter(|newest| *newest > route.generation) {
                return Err(TableError::OlderGeneration {
                    service: route.service.clone(),
                    environment: route.environment.clone(),
                    offered: route.generation.0,
                    in_force: newest.0,
                });
            }
        }
        Ok(())
    }

    /// Whether the table makes sense in itself.
    pub fn check(&self) -> Result<(), TableError> {
        if self.format != TABLE_FORMAT {
            return Err(TableError::Format {
                found: self.format,
                known: TABLE_FORMAT,
            });
        }
        let invalid = |what: String| Err(TableError::Invalid { what });
        if self.routes.len() > ROUTES_MAX {
            return invalid(format!("{} routes are more than {ROUTES_MAX}", self.routes.len()));
        }
        let mut seen = HashSet::new();
        for route in &self.routes {
            if !seen.insert((&route.host, &route.path_prefix)) {
                return invalid(format!("two routes for {}{}", route.host, route.path_prefix));
            }
            if let Some(what) = route.problem() {
                return invalid(format!("route {}{}: {what}", route.host, route.path_prefix));
            }
        }
        Ok(())
    }
}

impl Route {
    fn problem(&self) -> Option<String> {
        let host_fine = !self.host.is_empty()
            && self
                .host
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
        if !host_fine {
            return Some("the host must be a lower-case name or *".to_owned());
        }
        if !self.path_prefix.starts_with('/') {
            return Some("the path prefix must begin with /".to_owned());
        }
        if self.timeout_ms == 0 {
            return Some("the time-out must be above zero".to_owned());
        }
        if self.split.candidate.is_none() && self.split.candidate_weight != Weight::ZERO {
            return Some(format!(
                "a weight of {} without a candidate",
                self.split.candidate_weight
            ));
        }
        if let Some(sticky) = &self.split.sticky {
            if self.split.rollout.is_none() {
                return Some("sticky arms without a rollout that ends them".to_owned());
            }
            if matches!(&sticky.by, StickyBy::Header(name) if !policy::is_name(name, true)) {
                return Some(format!("the header of {sticky:?} is malformed"));
            }
        }
        let mirrored = self.mirror.as_ref().map(|mirror| mirror.pool.protocol);
        if mirrored.is_some_and(|protocol| protocol != Protocol::Http1) {
            return Some("requests are mirrored to HTTP/1.1 only".to_owned());
        }
        self.policy
            .problem()
            .or_else(|| self.pools().find_map(Pool::problem))
    }

    /// Every pool of the route: baseline, candidate, mirror.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.split.baseline)
            .chain(self.split.candidate.as_ref())
            .chain(self.mirror.as_ref().map(|mirror| &mirror.pool))
    }
}

impl Pool {
    fn problem(&self) -> Option<String> {
        let probe = &self.health;
        if self.endpoints.len() > ENDPOINTS_MAX {
            return Some(format!(
                "{} has more than {ENDPOINTS_MAX} endpoints",
                self.release
            ));
        }
        if !probe.path.starts_with('/') || probe.path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Some(format!(
                "{}: the probe's path must begin with / and have no blanks",
                self.release
            ));
        }
        if probe.interval_ms == 0
            || probe.timeout_ms == 0
            || probe.healthy_after == 0
            || probe.unhealthy_after == 0
        {
            return Some(format!(
                "{}: the probe's numbers must be above zero",
                self.release
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests;
