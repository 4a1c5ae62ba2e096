//! What a route does besides sharing out its traffic. Everything is off unless it is asked for.

use serde::{Deserialize, Serialize};
use trimtab_model::ReleaseId;

/// More tester rules on a route than this are refused.
const TESTERS_MAX: usize = 100;
/// Largest maintenance page.
const PAGE_BYTES_MAX: usize = 64 * 1024;
/// Longest that a request is held: clients and what is before the proxy give up after a minute.
const HOLD_MS_MAX: u64 = 60_000;

/// How a route treats its requests, besides the split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Requests that go to a release whatever the coin would say; the first rule that fits wins.
    pub testers: Vec<Tester>,
    /// A page for everyone but testers, instead of the service.
    pub maintenance: Option<Maintenance>,
    /// How many requests may come; more are answered with 429.
    pub rate_limit: Option<RateLimit>,
    /// Requests wait until a table comes that is not paused, at most `hold_ms`.
    pub paused: bool,
    /// Milliseconds that a request waits for an instance when there is none, instead of being answered
    /// with 502 or 503 at once.
    pub hold_ms: u64,
    /// Bytes of a request's body, below the proxy's own limit.
    pub body_bytes_max: Option<u64>,
    /// Milliseconds for a connection to an instance.
    pub connect_timeout_ms: Option<u64>,
    /// Milliseconds in which some byte of a body must move, either way.
    pub stall_timeout_ms: Option<u64>,
    /// When an instance that keeps failing is left out for a while.
    pub ejection: Option<Ejection>,
    /// Milliseconds in which an instance that joins others comes up to its full share.
    pub slow_start_ms: u64,
    /// A file named by its content (`app.3f9a2b1c.js`) that one arm does not have is asked of the
    /// other: a page of one release may be completed by a request to the other.
    pub asset_fallback: bool,
    /// `Forwarded` (RFC 7239) is written beside `X-Forwarded-*`.
    pub forwarded: bool,
    /// The header, its name in lower case, that says whose a request is: what became of it is reported
    /// under a hash of the value.
    pub users_by: Option<String>,
}

/// What people see while a service is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// The page, HTML.
    pub page: String,
    /// Seconds after which clients may ask again.
    pub retry_after_s: u32,
}

/// So many requests a second, and so many at once after a silence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests a second over time.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
    /// Who shares the limit.
    pub by: LimitBy,
}

/// Who shares a rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitBy {
    /// All requests of the route.
    Route,
    /// Each client address (IPv6: each /64).
    Address,
    /// Each value of this header, its name in lower case; requests without it share one.
    Header(String),
}

/// Leaves an instance out after failures in a row, for longer each time. Inside an arm only; when all
/// of its instances would be left out, none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// Failures in a row: 5xx, time-outs, refused or broken connections.
    pub failures: u32,
    /// Milliseconds the first time; twice, three times … as long after that, ten times at most.
    pub for_ms: u64,
}

/// Sends requests with a header or a cookie of a certain value to a release. They are testers' and
/// in no cell.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tester {
    /// Where the value stands.
    pub by: TesterBy,
    /// The value, compared as a whole.
    pub value: String,
    /// The release that serves these requests, if the route has it; else the coin decides.
    pub release: ReleaseId,
}

/// Where a tester's mark stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TesterBy {
    /// In this header, its name in lower case.
    Header(String),
    /// In this cookie.
    Cookie(String),
}

impl std::fmt::Debug for Tester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever knows the value reaches the release.
        write!(
            f,
            "Tester {{ by: {:?}, value: …, release: {} }}",
            self.by, self.release
        )
    }
}

impl Policy {
    pub(super) fn problem(&self) -> Option<String> {
        if self.testers.len() > TESTERS_MAX {
            return Some(format!("more than {TESTERS_MAX} tester rules"));
        }
        self.maintenance_problem()
            .or_else(|| self.number_problem())
            .or_else(|| self.tester_problem())
    }

    fn maintenance_problem(&self) -> Option<String> {
        let page = &self.maintenance.as_ref()?.page;
        (page.len() > PAGE_BYTES_MAX).then(|| format!("a maintenance page above {PAGE_BYTES_MAX} bytes"))
    }

    fn number_problem(&self) -> Option<String> {
        if self.hold_ms > HOLD_MS_MAX {
            return Some(format!("requests held for more than {HOLD_MS_MAX} ms"));
        }
        if self.paused && self.hold_ms == 0 {
            return Some("paused, but requests are held for 0 ms".to_owned());
        }
        let limit = self.rate_limit.as_ref();
        if limit.is_some_and(|limit| limit.per_second == 0 || limit.burst == 0) {
            return Some("a rate limit of zero: use a maintenance page".to_owned());
        }
        if let Some(LimitBy::Header(name)) = limit.map(|limit| &limit.by)
            && !is_name(name, true)
        {
            return Some(format!("the rate limit's header {name:?} is malformed"));
        }
        if let Some(name) = self.users_by.as_ref().filter(|name| !is_name(name, true)) {
            return Some(format!("the header of users {name:?} is malformed"));
        }
        if self
            .ejection
            .is_some_and(|ejection| ejection.failures == 0 || ejection.for_ms == 0)
        {
            return Some("ejection's numbers must be above zero".to_owned());
        }
        let timeouts = [self.connect_timeout_ms, self.stall_timeout_ms];
        timeouts
            .contains(&Some(0))
            .then(|| "the time-outs must be above zero".to_owned())
    }

    fn tester_problem(&self) -> Option<String> {
        self.testers.iter().find_map(|tester| {
            let (TesterBy::Header(name) | TesterBy::Cookie(name)) = &tester.by;
            let is_header = matches!(tester.by, TesterBy::Header(_));
            if tester.value.is_empty() {
                return Some(format!("the tester rule by {name} has no value"));
            }
            (!is_name(name, is_header)).then(|| format!("a tester rule's name {name:?} is malformed"))
        })
    }
}

/// A token of RFC 9110 §5.6.2; headers are compared in lower case.
pub(super) fn is_name(name: &str, lower: bool) -> bool {
    let allowed = |byte: u8| {
        (byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
            && !(lower && byte.is_ascii_uppercase())
    };
    !name.is_empty() && name.bytes().all(allowed)
}
