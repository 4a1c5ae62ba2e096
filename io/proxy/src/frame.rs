//! What the proxy reports: exact counts per operation and release, and a few requests in full.

use serde::{Deserialize, Serialize};
use trimtab_model::{
    Arm, EnvironmentName, InstanceId, LatencyHistogram, ReleaseId, RolloutId, ServiceName, Timestamp, Weight,
};

/// The version of the frame's format.
pub(crate) const FRAME_FORMAT: u16 = 1;

/// What was counted in a fraction of a second. Each request is in exactly one frame: the one of the
/// moment it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Version of this format.
    pub format: u16,
    /// Strictly growing, also across restarts of worker and holder; not without gaps.
    pub sequence: u64,
    /// End of the interval.
    pub at: Timestamp,
    /// Milliseconds that the frame covers: at most 200 while there is traffic; a frame without
    /// cells, sent once a second, covers the silence since the frame before.
    pub interval_ms: u64,
    /// The counts.
    pub cells: Vec<Cell>,
    /// Some requests in full, errors first, then the slowest; each doubles as the proxy's span.
    pub requests: Vec<RequestRecord>,
    /// What became of the requests of users whom a route knows by a header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserRequests>,
    /// Frames that were dropped before this one since the spool was made, because it was full.
    #[serde(default)]
    pub frames_dropped: u64,
}

/// Requests of known users on one route, one by one, so that users can be compared with each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRequests {
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
    /// In the order in which they ended.
    pub requests: Vec<UserRequest>,
    /// Requests that are not among them: there were too many.
    pub uncounted: u64,
}

/// One request of a known user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRequest {
    /// Who: `trimtab_flags::user_hash` of the header's value.
    pub user: u64,
    /// When it ended, nanoseconds since 1970.
    pub ended_nanos: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// 5xx, time-outs, broken responses, nobody to ask.
    pub failed: bool,
    /// 4xx, and clients that left.
    pub client_error: bool,
}

/// Counts of one operation on one release, under one weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The release that served, or should have.
    pub release: ReleaseId,
    /// The arm the coin drew.
    pub arm: Arm,
    /// The rollout under way at the draw.
    pub rollout: Option<RolloutId>,
    /// The probability of *the candidate* at the draw, for cells of either arm.
    pub weight: Weight,
    /// Method and path with numbers, uuids and hex replaced by `{id}`; `other` past the limit.
    pub operation: String,
    /// Requests that ended.
    pub requests: u64,
    /// Of these: 5xx, time-outs, responses broken off by the instance, no endpoint to send to.
    pub errors: u64,
    /// Of these: 4xx, and 499 for a client that left before the response's head.
    pub client_errors: u64,
    /// Of these: sent a second time, because the first connection died before a response byte.
    #[serde(default)]
    pub retries: u64,
    /// Time from the request's head to the response's last byte (its head, for upgrades and event
    /// streams).
    pub latency: LatencyHistogram,
    /// Copies of live requests, whose responses nobody saw.
    #[serde(default)]
    pub mirrored: bool,
    /// Requests of sticky users for whom no coin was tossed: their arm was known before. They are
    /// served and shown like others, but are no evidence.
    #[serde(default)]
    pub returning: bool,
    /// The weight under which these users were seen in the baseline before, when a raised weight
    /// tosses the coin for them once more; zero for all others.
    #[serde(default)]
    pub seen_weight: Weight,
}

impl Cell {
    /// How many coins were tossed: requests, or users where arms are sticky. Counts of the two arms
    /// can be held against [`Cell::probability`] (the ratio check).
    pub fn assigned(&self) -> u64 {
        if self.returning { 0 } else { self.requests }
    }

    /// The probability with which each of these coins fell for the candidate.
    pub fn probability(&self) -> f64 {
        let (now, before) = (self.weight.probability(), self.seen_weight.probability());
        if before >= now {
            return if before > 0.0 { 0.0 } else { now };
        }
        (now - before) / (1.0 - before)
    }
}

/// One request, as the proxy saw it. It is a span too: `span_id` is the parent of the instance's
/// server span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// 32 hex digits.
    pub trace_id: String,
    /// The proxy's span: 16 hex digits.
    pub span_id: String,
    /// The span that the client named in `traceparent`.
    pub parent_span_id: Option<String>,
    /// When the request's head had come, nanoseconds since 1970.
    pub start_nanos: u64,
    /// From there to the response's last byte.
    pub duration_nanos: u64,
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The release.
    pub release: ReleaseId,
    /// The instance that answered or failed; none when there was none to ask.
    pub instance: Option<InstanceId>,
    /// The arm drawn.
    pub arm: Arm,
    /// The rollout under way at the draw.
    pub rollout: Option<RolloutId>,
    /// As in the cell.
    pub operation: String,
    /// The method.
    pub method: String,
    /// The path as asked for, without the query, cut to 256 bytes.
    pub path: String,
    /// Status sent to the client; 499 when the client left first.
    pub status: u16,
    /// Why the proxy itself answered or broke off, if it did.
    pub error: Option<String>,
    /// A copy of a live request.
    #[serde(default)]
    pub mirrored: bool,
}
