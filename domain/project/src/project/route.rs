//! Which requests are a service's, and what the proxy does with them besides sharing them out.

use schemars::JsonSchema;
use serde::Serialize;

use super::production::host;
use super::reading::url_path;
use crate::Period;
use crate::read::Value;

/// Most tester rules.
const TESTERS_MAX: usize = 20;
/// Longest that requests are held.
const HOLD_MAX: Period = Period::seconds(60);

/// Which requests are the service's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Route {
    /// The host name; `*` is any.
    pub host: String,
    /// The path's beginning.
    pub path: String,
    /// When a request without an answer counts as failed.
    pub timeout: Period,
    /// What instances speak.
    pub protocol: Protocol,
    /// How users are kept on their arm while a rollout shares them out: `cookie`, or the name of a
    /// header that tells users apart. Left out, each request tosses a coin of its own.
    pub sticky: Option<String>,
    /// Requests that reach the new release whatever its share is.
    pub testers: Vec<Tester>,
    /// How long a request waits for an instance when there is none.
    pub hold: Period,
    /// How many requests may come.
    pub rate_limit: Option<RateLimit>,
    /// When an instance that keeps failing is left out for a while.
    pub ejection: Option<Ejection>,
    /// How long an instance that joins others takes to its full share.
    pub slow_start: Period,
    /// How long a connection to an instance may take.
    pub connect_timeout: Option<Period>,
    /// How long a body may stand still.
    pub stall_timeout: Option<Period>,
    /// Largest body of a request, in bytes.
    pub body_max: Option<u64>,
    /// A file named by its content that one release does not have is asked of the other.
    pub asset_fallback: bool,
    /// Instances get `Forwarded` (RFC 7239) too.
    pub forwarded: bool,
}

impl Default for Route {
    fn default() -> Self {
        Route {
            host: "*".to_owned(),
            path: "/".to_owned(),
            timeout: Period::seconds(10),
            protocol: Protocol::Http1,
            sticky: None,
            testers: Vec::new(),
            // Longer than a crashed instance takes to be back, shorter than people's patience.
            hold: Period::seconds(3),
            rate_limit: None,
            ejection: None,
            slow_start: Period::default(),
            connect_timeout: None,
            stall_timeout: None,
            body_max: None,
            asset_fallback: false,
            forwarded: false,
        }
    }
}

/// What instances speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    /// gRPC: HTTP/2, with its own health check.
    Grpc,
}

/// A header or a cookie, one of them, whose value marks testers' requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tester {
    /// The header's name.
    pub header: Option<String>,
    /// The cookie's name.
    pub cookie: Option<String>,
    /// The value.
    pub value: String,
}

/// How many requests may come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RateLimit {
    /// A second, over time.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
    /// Who shares the limit: `route` (everyone), `address`, or the name of a header.
    pub by: String,
}

/// When an instance is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ejection {
    /// After so many failures in a row.
    pub failures: u32,
    /// For so long the first time, longer after that.
    pub lasts: Period,
}

/// `production.route:`.
pub(super) fn route(value: Value<'_>) -> Option<Route> {
    let fields = value.fields(&[
        "host",
        "path",
        "timeout",
        "protocol",
        "sticky",
        "testers",
        "hold",
        "rate_limit",
        "ejection",
        "slow_start",
        "connect_timeout",
        "stall_timeout",
        "body_max",
        "asset_fallback",
        "forwarded",
    ])?;
    let protocols = [
        ("http1", Protocol::Http1),
        ("http2", Protocol::Http2),
        ("grpc", Protocol::Grpc),
    ];
    let usual = Route::default();
    let route = Route {
        host: fields.or("host", host, usual.host),
        path: fields.or("path", url_path, usual.path),
        timeout: fields.or("timeout", Value::positive_period, usual.timeout),
        protocol: fields.or("protocol", |v| v.one_of(&protocols), usual.protocol),
        sticky: fields.maybe("sticky", header),
        testers: fields.or(
            "testers",
            |v| v.list(TESTERS_MAX, "[{header: x-beta, value: '1'}]", tester),
            Vec::new(),
        ),
        hold: fields.or("hold", Value::period, usual.hold),
        rate_limit: fields.maybe("rate_limit", rate_limit),
        ejection: fields.maybe("ejection", ejection),
        slow_start: fields.or("slow_start", Value::period, usual.slow_start),
        connect_timeout: fields.maybe("connect_timeout", Value::positive_period),
        stall_timeout: fields.maybe("stall_timeout", Value::positive_period),
        body_max: fields.maybe("body_max", Value::bytes),
        asset_fallback: fields.or("asset_fallback", Value::boolean, usual.asset_fallback),
        forwarded: fields.or("forwarded", Value::boolean, usual.forwarded),
    };
    if route.hold > HOLD_MAX {
        fields.clash("hold", "clients give up before that", "write at most 60s");
    }
    Some(route)
}

/// The name of a header (or a word that stands for something else), in lower case.
pub(super) fn header(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?.to_lowercase();
    if is_token(&text) {
        return Some(text);
    }
    let what = format!("{text:?} is not the name of a header");
    sink.report(
        node.place,
        &path,
        what,
        "write letters, digits and dashes: x-user",
    );
    None
}

/// The name of a cookie, which is what it is in upper case and in lower.
fn cookie(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    if is_token(&text) {
        return Some(text);
    }
    let what = format!("{text:?} is not the name of a cookie");
    sink.report(node.place, &path, what, "write letters, digits and dashes: beta");
    None
}

fn is_token(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 100 && text.chars().all(allowed)
}

fn tester(value: Value<'_>) -> Option<Tester> {
    let fields = value.fields(&["header", "cookie", "value"])?;
    let tester = Tester {
        header: fields.maybe("header", header),
        cookie: fields.maybe("cookie", cookie),
        value: fields.need("value", "value: yes", Value::text)?,
    };
    if tester.header.is_some() == tester.cookie.is_some() {
        let what = "a tester is known by a header or by a cookie";
        fields.clash("header", what, "write one of 'header' and 'cookie'");
        return None;
    }
    if tester.value.is_empty() {
        fields.clash(
            "value",
            "an empty value marks nobody",
            "write a word that only testers know",
        );
    }
    Some(tester)
}

fn rate_limit(value: Value<'_>) -> Option<RateLimit> {
    let fields = value.fields(&["per_second", "burst", "by"])?;
    let number = |v: Value<'_>| v.integer(1, 1_000_000).and_then(|n| u32::try_from(n).ok());
    let per_second = fields.need("per_second", "per_second: 100", number)?;
    Some(RateLimit {
        per_second,
        burst: fields.or("burst", number, per_second),
        by: fields.or("by", header, "address".to_owned()),
    })
}

fn ejection(value: Value<'_>) -> Option<Ejection> {
    let fields = value.fields(&["failures", "lasts"])?;
    let number = |v: Value<'_>| v.integer(1, 1_000).and_then(|n| u32::try_from(n).ok());
    Some(Ejection {
        failures: fields.or("failures", number, 5),
        lasts: fields.or("lasts", Value::positive_period, Period::seconds(10)),
    })
}
