//! Reads jobs on a rollout's way: a command, or a request to a program that says yes or no.

use std::net::{Ipv4Addr, Ipv6Addr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::reading::command;
use super::{Command, Production, Project};
use crate::Period;
use crate::fields::Fields;
use crate::read::Value;
use crate::yaml::Kind;

/// Most attempts of one request.
const ATTEMPTS_MAX: u64 = 20;
/// Longest address.
const ADDRESS_BYTES_MAX: usize = 2048;
/// Most statuses that may be expected.
const EXPECTED_MAX: usize = 20;
/// The longest pause between two attempts, also when the receiver asks for more.
pub const HOOK_PAUSE_MAX: Period = Period::seconds(60);

/// What is done at a place on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Job {
    /// A command in the artifact's folder.
    Command(Command),
    /// A request.
    Http(HttpHook),
}

/// A request that says what is about to happen; a good answer lets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HttpHook {
    /// Where it goes: `https://host/path`.
    pub http: String,
    /// How it is sent.
    pub method: Method,
    /// How long one answer may take.
    pub timeout: Period,
    /// The entry of the server's `hooks` that it is signed with.
    pub secret: Option<String>,
    /// The entry of the server's `hooks` whose bearer token it carries.
    pub bearer: Option<String>,
    /// How often it is sent at most, until there is an answer that decides.
    pub attempts: u32,
    /// The statuses that mean yes.
    pub expect: Expect,
    /// Host and port that it goes to; the port only when it is not the scheme's own.
    #[serde(skip)]
    pub host: String,
    /// Line and column.
    #[serde(skip)]
    pub at: (usize, usize),
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// With a body.
    Post,
    /// With a body.
    Put,
    /// Without a body.
    Get,
}

/// The statuses that mean yes, as ranges from and to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect(Vec<(u16, u16)>);

impl Expect {
    /// True for a status that means yes.
    pub fn holds(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}

impl Default for Expect {
    fn default() -> Self {
        Expect(vec![(200, 299)])
    }
}

impl Serialize for Expect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |(from, to): &(u16, u16)| match from == to {
            true => from.to_string(),
            false => format!("{}xx", from / 100),
        };
        serializer.collect_seq(self.0.iter().map(text))
    }
}

impl JsonSchema for Expect {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expect".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = serde_json::json!({ "anyOf": [
            { "type": "integer", "minimum": 200, "maximum": 499 },
            { "type": "string", "pattern": "^[234](xx|[0-9][0-9])$" }
        ] });
        json_schema!({
            "description": "Statuses that mean yes: 2xx, 204, [200, 404].",
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 20 }]
        })
    }
}

impl HttpHook {
    /// The longest that it may take, with every attempt and every pause.
    pub fn longest_ms(&self) -> u64 {
        let attempts = u64::from(self.attempts);
        let pauses = attempts.saturating_sub(1) * HOOK_PAUSE_MAX.as_millis();
        attempts
            .saturating_mul(self.timeout.as_millis())
            .saturating_add(pauses)
    }
}

impl Job {
    /// The longest that it may take.
    pub fn longest_ms(&self) -> u64 {
        match self {
            Job::Command(command) => command.timeout.as_millis(),
            Job::Http(hook) => hook.longest_ms(),
        }
    }
}

impl Production {
    /// Every job on the way, with its field.
    pub fn jobs(&self) -> Vec<(String, &Job)> {
        let hooks = &self.hooks;
        let hooks = [
            ("before", &hooks.before),
            ("expand", &hooks.expand),
            ("contract", &hooks.contract),
            ("after", &hooks.after),
        ];
        let hooks = hooks
            .into_iter()
            .map(|(name, job)| (format!("production.hooks.{name}"), job));
        let steps = self.steps.iter().enumerate();
        let steps = steps.map(|(index, step)| (format!("production.steps[{index}].job"), &step.job));
        let of_flag = self.flag.iter().flat_map(|flag| flag.steps.iter().enumerate());
        let of_flag = of_flag.map(|(index, step)| (format!("production.flag.steps[{index}].job"), &step.job));
        let all = hooks.chain(steps).chain(of_flag);
        all.filter_map(|(field, job)| Some((field, job.as_ref()?)))
            .collect()
    }
}

impl Project {
    /// Every command, with its field.
    pub fn commands(&self) -> Vec<(String, &Command)> {
        let pipeline = &self.pipeline;
        let staging = self.staging.as_ref();
        let alone = [
            ("pipeline.install", pipeline.install.as_ref()),
            ("pipeline.build", pipeline.build.as_ref()),
            ("pipeline.unit", pipeline.unit.as_ref()),
            ("pipeline.integration", pipeline.integration.as_ref()),
            ("pipeline.e2e", pipeline.e2e.as_ref()),
            (
                "staging.smoke",
                staging.and_then(|staging| staging.smoke.as_ref()),
            ),
            (
                "staging.integration",
                staging.and_then(|staging| staging.integration.as_ref()),
            ),
            (
                "staging.performance",
                staging.and_then(|staging| staging.performance.as_ref()),
            ),
            ("production.test", self.production.test.as_ref()),
        ];
        let alone = alone
            .into_iter()
            .filter_map(|(field, command)| Some((field.to_owned(), command?)));
        let jobs = self.production.jobs().into_iter();
        let jobs = jobs.filter_map(|(field, job)| match job {
            Job::Command(command) => Some((field, command)),
            Job::Http(_) => None,
        });
        alone.chain(jobs).collect()
    }
}

/// A command, or `{http: ADDRESS, …}`.
pub(super) fn job(value: Value<'_>) -> Option<Job> {
    match &value.node.kind {
        Kind::Map(entries) if entries.iter().any(|(key, _)| key.text == "http") => {
            http_hook(value).map(Job::Http)
        }
        Kind::Map(_) | Kind::Scalar { .. } | Kind::Nothing | Kind::List(_) => {
            command(value).map(Job::Command)
        }
    }
}

fn http_hook(value: Value<'_>) -> Option<HttpHook> {
    let place = value.node.place;
    let fields = value.fields(&[
        "http", "method", "timeout", "secret", "bearer", "attempts", "expect",
    ])?;
    let methods = [("POST", Method::Post), ("PUT", Method::Put), ("GET", Method::Get)];
    let address = fields.need(
        "http",
        "where it goes: 'http: https://ci.example.org/hook'",
        address,
    );
    let method = fields.or("method", |v| v.one_of(&methods), Method::Post);
    let timeout = fields.or("timeout", Value::positive_period, Period::seconds(10));
    let secret = fields.maybe("secret", entry);
    let bearer = fields.maybe("bearer", entry);
    // At most 20, so that it fits.
    let attempts = fields.or("attempts", |v| v.integer(1, ATTEMPTS_MAX), 5) as u32;
    let expect = fields.or("expect", expect, Expect::default());
    let (http, host) = address?;
    check_bearer(&fields, &http, &host, bearer.as_deref());
    Some(HttpHook {
        http,
        method,
        timeout,
        secret,
        bearer,
        attempts,
        expect,
        host,
        at: (place.line, place.column),
    })
}

/// A token is not shown to everybody between here and there.
fn check_bearer(fields: &Fields<'_>, http: &str, host: &str, bearer: Option<&str>) {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let here = bare == "localhost"
        || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
    if bearer.is_some() && http.starts_with("http://") && !here {
        let what = "the token would cross the network in the clear";
        fields.clash("bearer", what, "write the address with https://");
    }
}

/// The name of an entry of the server's `hooks`.
fn entry(value: Value<'_>) -> Option<String> {
    if matches!(value.node.kind, Kind::Map(_)) {
        let what = "expected a name; what it stands for is the server's, not the repository's, to say";
        return value.wrong(
            what,
            "write the name of an entry of `hooks` in trimtab-server.yaml",
        );
    }
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    if !crate::environment::is_variable(&text) {
        let mend = "write the name of an entry of `hooks` in trimtab-server.yaml: letters, digits and '_'";
        // What stands here may be the secret itself: it is not repeated.
        sink.report(node.place, &path, "not a name", mend);
        return None;
    }
    Some(text)
}

fn expect(value: Value<'_>) -> Option<Expect> {
    if matches!(value.node.kind, Kind::List(_)) {
        let (node, path, sink) = (value.node, value.path.clone(), value.sink);
        let all = value.list(EXPECTED_MAX, "[200, 204]", status)?;
        if all.is_empty() {
            sink.report(node.place, &path, "no answer would be a yes", "write 2xx");
            return None;
        }
        return Some(Expect(all));
    }
    status(value).map(|one| Expect(vec![one]))
}

fn status(value: Value<'_>) -> Option<(u16, u16)> {
    let range = value.parsed::<Range>("write 2xx, or statuses from 200 to 499: [200, 404]")?;
    Some(range.0)
}

struct Range((u16, u16));

impl std::str::FromStr for Range {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (from, to) = match text.strip_suffix("xx") {
            Some(hundreds) => {
                let hundreds: u16 = hundreds.parse().map_err(drop)?;
                let from = hundreds.checked_mul(100).ok_or(())?;
                (from, from.saturating_add(99))
            }
            None => {
                let one = text.parse().map_err(drop)?;
                (one, one)
            }
        };
        // 1xx is no answer, and 5xx none that may be trusted.
        ((200..500).contains(&from))
            .then_some(Range((from, to)))
            .ok_or(())
    }
}

/// An address, and the host and port that it leads to.
fn address(value: Value<'_>) -> Option<(String, String)> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    match host_of(&text) {
        Ok(host) => Some((text, host)),
        Err((what, mend)) => {
            sink.report(node.place, &path, what, mend);
            None
        }
    }
}

type Wrong = (&'static str, &'static str);

/// Host and port of an address. Stricter than browsers are, so that nobody who reads the address again can find
/// another host in it.
fn host_of(text: &str) -> Result<String, Wrong> {
    const MEND: &str = "write https://host/path";
    let (rest, own_port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, 443),
        (None, Some(rest)) => (rest, 80),
        (None, None) => return Err(("it does not begin with https:// (or http://)", MEND)),
    };
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(("the address has more than 2048 bytes", "shorten it"));
    }
    if text
        .chars()
        .any(|c| !c.is_ascii_graphic() || c == '\\' || c == '#')
    {
        return Err((
            "the address holds a character that none may hold",
            "write others than plain ones as %XX, and leave out '#' and '\\'",
        ));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err((
            "the address holds a user or a password",
            "name a token by 'bearer: NAME'",
        ));
    }
    host_and_port(authority, own_port).ok_or(("the address has no host, or not one that can be used", MEND))
}

/// `host` or `host:port` with the port left out where it is `own_port`; none when it is neither.
pub(crate) fn host_and_port(authority: &str, own_port: u16) -> Option<String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    let digits = |port: &&str| port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit());
    let port = match port {
        Some(port) => Some(port)
            .filter(digits)?
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)?,
        None => own_port,
    };
    let host = match host.strip_prefix('[') {
        Some(ip) => format!("[{}]", ip.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?),
        None => is_host(&host).then_some(host)?,
    };
    Some(match port == own_port {
        true => host,
        false => format!("{host}:{port}"),
    })
}

/// A name, or an IPv4 address in its one usual form.
fn is_host(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let is_label = |label: &&str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(allowed)
    };
    let last = labels.last().copied().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.chars().all(|c| c.is_ascii_digit());
    match is_number {
        true => host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.to_string() == host),
        false => host.len() <= 253 && labels.iter().all(is_label),
    }
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn an_address_leads_to_one_host_whoever_reads_it() {
        let good = [
            ("https://ci.example.org/hook?x=1", "ci.example.org"),
            ("https://CI.example.org", "ci.example.org"),
            ("https://ci.example.org:443/", "ci.example.org"),
            ("https://ci.example.org:8443/", "ci.example.org:8443"),
            ("http://ci.example.org:80/", "ci.example.org"),
            ("http://127.0.0.1:8080/a@b", "127.0.0.1:8080"),
            ("https://[::1]:8443/", "[::1]:8443"),
            ("https://[0:0::1]/", "[::1]"),
        ];
        for (text, host) in good {
            assert_eq!(host_of(text).as_deref(), Ok(host), "{text}");
        }
        let bad = [
            "ftp://ci.example.org/",
            "https:///hook",
            "https://",
            "https://user@ci.example.org/",
            "https://ci.example.org\\@evil.example/",
            "https://evil.example#@ci.example.org/",
            "https://ci.example.org:0/",
            "https://ci.example.org:+80/",
            "https://ci.example.org:99999/",
            "https://ci..org/",
            "https://ci.example.org./",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://127.1/",
            "https://127.0.0.01/",
            "https://ex%61mple.org/",
            "https://ｃi.example.org/",
            "https://ci.example.org/\n",
            "https://[::1/",
            "https://[::1%25eth0]/",
        ];
        for text in bad {
            assert!(host_of(text).is_err(), "{text}");
        }
    }
}
