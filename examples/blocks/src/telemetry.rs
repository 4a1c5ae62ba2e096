//! What the service says about itself: Prometheus metrics, JSON log lines, and spans that go out by OTLP.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

/// Counters that are there from the start, so that rates have a zero to begin at.
const COUNTERS: [(&str, &str); 6] = [
    ("blocks_created_total", "Blocks created."),
    ("crdt_operations_total", "Operations merged by sync."),
    ("file_queries_total", "Reads and appends of the notebook's file."),
    ("plugin_loads_total", "Plug-ins loaded."),
    ("search_queries_total", "Searches."),
    ("sync_events_total", "Sync requests."),
];
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// A user who sent nothing for this long is not active.
const ACTIVE: Duration = Duration::from_secs(60);
/// Users remembered at a time; more are not counted.
const USERS_MAX: usize = 10_000;

pub struct Telemetry {
    counters: Mutex<BTreeMap<&'static str, u64>>,
    requests: Mutex<BTreeMap<(String, &'static str, u16), u64>>,
    durations: Mutex<BTreeMap<&'static str, Durations>>,
    users: Mutex<HashMap<String, Instant>>,
    spans: Option<mpsc::Sender<Finished>>,
    logs: bool,
}

#[derive(Default)]
struct Durations {
    counts: [u64; SECONDS.len()],
    count: u64,
    sum: f64,
}

/// A span that has ended.
pub struct Finished {
    pub trace: u128,
    pub id: u64,
    pub parent: Option<u64>,
    pub name: String,
    pub server: bool,
    pub start: SystemTime,
    pub end: SystemTime,
    pub attributes: Map<String, Value>,
    pub error: Option<String>,
}

/// A span under way; ends when dropped.
pub struct Span {
    telemetry: Arc<Telemetry>,
    trace: u128,
    sampled: bool,
    id: u64,
    parent: Option<u64>,
    name: String,
    server: bool,
    start: SystemTime,
    rest: Mutex<(Map<String, Value>, Option<String>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random() -> u64 {
    // Each `RandomState` has keys of its own, made from the system's randomness.
    RandomState::new().build_hasher().finish() | 1
}

impl Telemetry {
    pub fn new(spans: Option<mpsc::Sender<Finished>>, logs: bool) -> Arc<Self> {
        Arc::new(Telemetry {
            counters: Mutex::new(COUNTERS.iter().map(|(name, _)| (*name, 0)).collect()),
            requests: Mutex::default(),
            durations: Mutex::default(),
            users: Mutex::default(),
            spans,
            logs,
        })
    }

    /// For tests.
    pub fn silent() -> Arc<Self> {
        Self::new(None, false)
    }

    pub fn count(&self, counter: &'static str, by: u64) {
        *lock(&self.counters).entry(counter).or_default() += by;
    }

    pub fn seen(&self, user: &str) {
        let mut users = lock(&self.users);
        if users.len() < USERS_MAX || users.contains_key(user) {
            users.insert(user.to_owned(), Instant::now());
        }
    }

    pub fn served(&self, method: &str, route: &'static str, status: u16, took: Duration) {
        *lock(&self.requests)
            .entry((method.to_owned(), route, status))
            .or_default() += 1;
        let mut durations = lock(&self.durations);
        let durations = durations.entry(route).or_default();
        let seconds = took.as_secs_f64();
        for (count, bound) in durations.counts.iter_mut().zip(SECONDS) {
            *count += u64::from(seconds <= bound);
        }
        durations.count += 1;
        durations.sum += seconds;
    }

    /// Prometheus' text format.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let counters = lock(&self.counters);
        for (name, help) in COUNTERS {
            let value = counters.get(name).copied().unwrap_or(0);
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
            );
        }
        let mut users = lock(&self.users);
        users.retain(|_, last| last.elapsed() < ACTIVE);
        let _ = writeln!(
            text,
            "# HELP active_users Users of the last minute.\n# TYPE active_users gauge"
        );
        let _ = writeln!(text, "active_users {}", users.len());
        let _ = writeln!(
            text,
            "# HELP http_requests_total Requests served.\n# TYPE http_requests_total counter"
        );
        for ((method, route, status), count) in lock(&self.requests).iter() {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let _ = writeln!(text, "http_requests_total{{{labels}}} {count}");
        }
        let name = "http_request_duration_seconds";
        let _ = writeln!(
            text,
            "# HELP {name} Time to serve a request.\n# TYPE {name} histogram"
        );
        for (route, durations) in lock(&self.durations).iter() {
            for (bound, count) in SECONDS.iter().zip(durations.counts) {
                let _ = writeln!(text, "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(
                text,
                "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {}",
                durations.count
            );
            let _ = writeln!(text, "{name}_sum{{route=\"{route}\"}} {}", durations.sum);
            let _ = writeln!(text, "{name}_count{{route=\"{route}\"}} {}", durations.count);
        }
        text
    }

    /// The span of a request, which goes on with the trace of a W3C `traceparent` if there is one.
    pub fn root(self: &Arc<Self>, name: &str, traceparent: Option<&str>) -> Span {
        let given = traceparent.and_then(parse_traceparent);
        let (trace, parent, sampled) = match given {
            Some((trace, parent, sampled)) => (trace, Some(parent), sampled),
            None => (u128::from(random()) << 64 | u128::from(random()), None, true),
        };
        Span {
            telemetry: Arc::clone(self),
            trace,
            sampled,
            id: random(),
            parent,
            name: name.to_owned(),
            server: true,
            start: SystemTime::now(),
            rest: Mutex::default(),
        }
    }

    /// One JSON object on standard output.
    pub fn log(&self, level: &str, message: &str, fields: Value, span: Option<&Span>) {
        if !self.logs {
            return;
        }
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as u64;
        let mut line = json!({"time": time, "level": level, "message": message, "target": "blocks"});
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        if let Some(span) = span {
            line["trace_id"] = format!("{:032x}", span.trace).into();
            line["span_id"] = format!("{:016x}", span.id).into();
        }
        println!("{line}");
    }
}

fn parse_traceparent(text: &str) -> Option<(u128, u64, bool)> {
    let mut parts = text.split('-');
    let (_, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if trace.len() != 32 || parent.len() != 16 {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    let parent = u64::from_str_radix(parent, 16)
        .ok()
        .filter(|parent| *parent != 0)?;
    Some((trace, parent, u8::from_str_radix(flags, 16).ok()? & 1 == 1))
}

impl Span {
    pub fn child(&self, name: &str) -> Span {
        Span {
            telemetry: Arc::clone(&self.telemetry),
            trace: self.trace,
            sampled: self.sampled,
            id: random(),
            parent: Some(self.id),
            name: name.to_owned(),
            server: false,
            start: SystemTime::now(),
            rest: Mutex::default(),
        }
    }

    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    pub fn set(&self, attribute: &str, value: impl Into<Value>) {
        lock(&self.rest).0.insert(attribute.to_owned(), value.into());
    }

    pub fn fail(&self, reason: &str) {
        lock(&self.rest).1 = Some(reason.to_owned());
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(spans) = self.telemetry.spans.as_ref().filter(|_| self.sampled) else {
            return;
        };
        let (attributes, error) = std::mem::take(&mut *lock(&self.rest));
        // A full queue loses spans, never time.
        let _ = spans.try_send(Finished {
            trace: self.trace,
            id: self.id,
            parent: self.parent,
            name: std::mem::take(&mut self.name),
            server: self.server,
            start: self.start,
            end: SystemTime::now(),
            attributes,
            error,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_on_and_nonsense_begins_anew() {
        let telemetry = Telemetry::silent();
        let given = telemetry.root(
            "x",
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        );
        assert_eq!(
            (given.trace, given.parent),
            (0x0af7651916cd43dd8448eb211c80319c, Some(0xb7ad6b7169203331))
        );
        assert_eq!(given.child("y").parent, Some(given.id));
        assert_eq!(telemetry.root("x", Some("00-zz")).parent, None);
    }

    #[test]
    fn metrics_are_there_from_the_start() {
        let telemetry = Telemetry::silent();
        telemetry.seen("ann");
        telemetry.seen("ann");
        telemetry.served("GET", "/blocks", 200, Duration::from_millis(7));
        let text = telemetry.metrics();
        assert!(text.contains("\nblocks_created_total 0\n"));
        assert!(text.contains("\nactive_users 1\n"));
        assert!(text.contains("{route=\"/blocks\",le=\"0.005\"} 0\n"));
        assert!(text.contains("{route=\"/blocks\",le=\"0.01\"} 1\n"));
    }
}
