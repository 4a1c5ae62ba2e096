//! What OpenFeature's and OpenTelemetry's libraries do in a service: asks who has a flag on, and tells of
//! each request. Spans that could not be delivered are delivered later.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::variable;

/// Between two exports.
const EXPORT_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Spans that wait while nobody takes them.
const WAITING_MAX: usize = 20_000;

/// The way to the server's flags, and to its telemetry.
pub(crate) struct Flags {
    spans: Sender<Value>,
    number: AtomicU64,
    seed: u64,
}

/// A request that was answered.
pub(crate) struct Told<'a> {
    pub(crate) user: &'a str,
    pub(crate) path: &'a str,
    pub(crate) traceparent: &'a str,
    pub(crate) began: SystemTime,
    pub(crate) status: u16,
}

impl Flags {
    pub(crate) fn new(started: SystemTime) -> Flags {
        let (spans, told) = channel();
        std::thread::spawn(move || export(&told));
        Flags {
            spans,
            number: AtomicU64::new(0),
            seed: nanos(started) ^ u64::from(std::process::id()).rotate_left(40),
        }
    }

    /// Whether a user has a flag on; the code's own default is off.
    pub(crate) fn is_on(&self, key: &str, user: &str) -> bool {
        let context = json!({"context": {"targetingKey": user}});
        let url = format!("{}/ofrep/v1/evaluate/flags/{key}", variable("OFREP_ENDPOINT"));
        let answer = post(&url, &variable("OFREP_HEADERS"), &context);
        let value = answer
            .ok()
            .and_then(|body| serde_json::from_str::<Value>(&body).ok());
        value.is_some_and(|value| value["value"] == json!(true))
    }

    /// Tells of a request by a server span.
    pub(crate) fn tell(&self, told: &Told<'_>) {
        let mut parent = told.traceparent.split('-').skip(1);
        let number = self.number.fetch_add(1, Relaxed) + 1;
        let id = format!(
            "{:016x}",
            (self.seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
        );
        let trace = parent.next().map_or_else(|| format!("{id}{id}"), str::to_owned);
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let span = json!({
            "traceId": trace,
            "spanId": id,
            "parentSpanId": parent.next().unwrap_or_default(),
            "name": format!("GET {}", told.path),
            "kind": 2,
            "startTimeUnixNano": nanos(told.began).to_string(),
            "endTimeUnixNano": nanos(SystemTime::now()).to_string(),
            "status": {"code": if told.status >= 500 { 2 } else { 0 }},
            "attributes": [
                text("http.request.method", "GET"),
                text("url.path", told.path),
                text("enduser.id", told.user),
                {"key": "http.response.status_code", "value": {"intValue": told.status.to_string()}},
            ],
        });
        // The exporter lives as long as this process.
        let _ = self.spans.send(span);
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

fn export(told: &Receiver<Value>) {
    let url = format!("{}/v1/traces", variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let headers = variable("OTEL_EXPORTER_OTLP_HEADERS");
    let mut waiting: Vec<Value> = Vec::new();
    loop {
        std::thread::sleep(EXPORT_PAUSE);
        waiting.extend(told.try_iter());
        waiting.truncate(WAITING_MAX);
        if waiting.is_empty() {
            continue;
        }
        let body = json!({"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": waiting}]}]});
        match post(&url, &headers, &body) {
            Ok(_) => waiting.clear(),
            Err(error) => eprintln!("failed to export {} spans: {error}", waiting.len()),
        }
    }
}

/// Posts JSON with headers as the environment has them (`name=value,…`, percent-encoded); the body of a
/// good answer.
fn post(url: &str, headers: &str, body: &Value) -> std::io::Result<String> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.to_string();
    let mut request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers.split(',').filter_map(|header| header.split_once('=')) {
        request.push_str(&format!("{name}: {}\r\n", value.replace("%20", " ")));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let first = answer.lines().next().unwrap_or_default();
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) if first.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(format!("{url} answered {first:?}"))),
    }
}
