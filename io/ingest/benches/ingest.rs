//! How many rows one core takes in through the real HTTP listener, durably, and what they weigh on
//! disk. Prints one flat JSON object. Senders and listener share this process, so the CPU time includes
//! sending; bodies are made beforehand.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Point;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use trimtab_ingest::{Identities, Ingest, IngestConfig, Sink};
use trimtab_model::Identity;
use trimtab_series::{Series, SeriesConfig};
use trimtab_store::{SignalStore, Store, StoreConfig};

/// Rows in one request, about what SDKs send.
const ROWS: usize = 500;
/// Different bodies of each signal; they are sent in turn.
const BODIES: usize = 600;
/// Connections that send at once.
const SENDERS: usize = 4;
/// How long each signal is sent.
const DURATION: Duration = Duration::from_secs(4);

struct Everybody;

impl Identities for Everybody {
    fn identify(&self, _: &str) -> Option<Identity> {
        Some(Identity {
            service: Some("blocks".parse().unwrap()),
            environment: Some("production".parse().unwrap()),
            release: Some("blocks-r2".parse().unwrap()),
            instance: Some("blocks-r2-production-1".parse().unwrap()),
            ..Identity::default()
        })
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut figures = BTreeMap::new();
    for (path, rows, bodies) in [
        ("/v1/logs", "log_lines", logs()),
        ("/v1/metrics", "samples", metrics()),
        ("/v1/traces", "spans", traces()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let measured = runtime.block_on(measure(folder.path(), path, bodies));
        figures.insert(
            format!("ingest_{rows}_per_core_second"),
            measured.rows / measured.cpu_seconds,
        );
        figures.insert(
            format!("ingest_{rows}_per_second"),
            measured.rows / measured.seconds,
        );
        figures.insert(
            format!("ingest_bytes_on_disk_per_{}", &rows[..rows.len() - 1]),
            measured.bytes / measured.rows,
        );
    }
    for figure in figures.values_mut() {
        *figure = (*figure * 100.0).round() / 100.0;
    }
    println!("{}", serde_json::to_string(&figures).unwrap());
}

struct Measured {
    rows: f64,
    seconds: f64,
    cpu_seconds: f64,
    bytes: f64,
}

async fn measure(folder: &Path, path: &'static str, bodies: Vec<Bytes>) -> Measured {
    let series = Series::open(folder.join("series"), SeriesConfig::default()).unwrap();
    let store: Arc<dyn SignalStore> =
        Arc::new(Store::open(folder.join("store"), StoreConfig::default()).unwrap());
    let config = IngestConfig {
        grpc_addr: ([127, 0, 0, 1], 0).into(),
        http_addr: ([127, 0, 0, 1], 0).into(),
        ..IngestConfig::default()
    };
    let ingest = Ingest::start(
        config,
        Arc::new(Everybody),
        series.clone(),
        Arc::clone(&store),
        Sink::new(64),
    )
    .await
    .unwrap();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let bodies = Arc::new(bodies);
    let senders = (0..SENDERS).map(|sender| {
        let (bodies, address) = (Arc::clone(&bodies), ingest.http_addr());
        tokio::spawn(async move { send(address, path, &bodies, sender, began).await })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let rows: u64 = ingest.stats().accepted.values().sum();
    assert_eq!(ingest.stats().rejected_total(), 0);
    series.flush().await.unwrap();
    store.flush().await.unwrap();
    Measured {
        rows: rows as f64,
        seconds,
        cpu_seconds,
        bytes: bytes_below(folder) as f64,
    }
}

/// Every body is sent at most once: times would repeat.
async fn send(address: std::net::SocketAddr, path: &str, bodies: &[Bytes], first: usize, began: Instant) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for body in bodies.iter().skip(first).step_by(SENDERS) {
        loop {
            if began.elapsed() > DURATION {
                return;
            }
            let request = Request::post(path)
                .header("host", "localhost")
                .header("authorization", "Bearer any")
                .header("content-type", "application/x-protobuf")
                .body(Full::new(body.clone()))
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            let status = response.status();
            response.into_body().collect().await.unwrap();
            if status == 200 {
                break;
            }
            // The stores write as fast as they can; senders come back, as SDKs do.
            assert_eq!(status, 503);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Half an hour ago, so that times may move on from body to body.
fn start_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now - Duration::from_secs(1800)).as_nanos() as u64
}

fn bodies(make: impl Fn(&mut fastrand::Rng, u64) -> Vec<u8>) -> Vec<Bytes> {
    let mut rng = fastrand::Rng::with_seed(7);
    let start = start_nanos();
    (0..BODIES)
        .map(|body| make(&mut rng, start + body as u64 * 1_000_000_000).into())
        .collect()
}

fn logs() -> Vec<Bytes> {
    bodies(|rng, at| {
        let log_records = (0..ROWS).map(|row| LogRecord {
            time_unix_nano: at + row as u64 * 1_000_000,
            severity_number: if rng.u8(..20) == 0 { 17 } else { 9 },
            body: Some(AnyValue {
                value: Some(Value::StringValue(match rng.u8(..3) {
                    0 => format!("merged {} operations into block {}", rng.u8(..), rng.u16(..)),
                    1 => format!("GET /blocks/{} answered 200 in {} ms", rng.u16(..), rng.u8(..)),
                    _ => format!("search for {:x} found {} blocks", rng.u32(..), rng.u8(..)),
                })),
            }),
            attributes: vec![
                text("http.route", "/blocks/{id}"),
                attribute("user.id", Value::IntValue(i64::from(rng.u16(..)))),
                attribute("duration_ms", Value::DoubleValue(rng.f64() * 100.0)),
            ],
            trace_id: rng.u128(1..).to_be_bytes().to_vec(),
            span_id: rng.u64(1..).to_be_bytes().to_vec(),
            ..LogRecord::default()
        });
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                scope_logs: vec![ScopeLogs {
                    log_records: log_records.collect(),
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        }
        .encode_to_vec()
    })
}

/// One body is one report of 500 series, a second after the one before.
fn metrics() -> Vec<Bytes> {
    bodies(|rng, at| {
        let seconds = (at / 1_000_000_000) as f64;
        let metrics = (0..ROWS / 10).map(|metric| Metric {
            name: format!("app.counter.{metric}"),
            data: Some(Data::Sum(Sum {
                data_points: (0..10)
                    .map(|point| NumberDataPoint {
                        attributes: vec![
                            text("http.route", format!("/route/{point}")),
                            text("method", "GET"),
                        ],
                        time_unix_nano: at,
                        value: Some(Point::AsDouble((seconds * 10.0 + rng.f64() * 5.0).floor())),
                        ..NumberDataPoint::default()
                    })
                    .collect(),
                aggregation_temporality: 2,
                is_monotonic: true,
            })),
            ..Metric::default()
        });
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                scope_metrics: vec![ScopeMetrics {
                    metrics: metrics.collect(),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
        .encode_to_vec()
    })
}

fn traces() -> Vec<Bytes> {
    bodies(|rng, at| {
        let mut trace = vec![];
        let mut parent = vec![];
        let spans = (0..ROWS).map(|row| {
            if row % 5 == 0 {
                trace = rng.u128(1..).to_be_bytes().to_vec();
                parent = vec![];
            }
            let id = rng.u64(1..).to_be_bytes().to_vec();
            let start = at + row as u64 * 1_000_000;
            Span {
                trace_id: trace.clone(),
                span_id: id.clone(),
                parent_span_id: std::mem::replace(&mut parent, id),
                name: ["POST /blocks", "merge", "SELECT blocks", "INSERT block", "encode"][row % 5]
                    .to_owned(),
                kind: 1 + (row % 3) as i32,
                start_time_unix_nano: start,
                end_time_unix_nano: start + u64::from(rng.u32(..50_000_000)),
                attributes: vec![
                    text("http.route", "/blocks"),
                    attribute("http.response.status_code", Value::IntValue(200)),
                    attribute("user.id", Value::IntValue(i64::from(rng.u16(..)))),
                ],
                ..Span::default()
            }
        });
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans: vec![ScopeSpans {
                    spans: spans.collect(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }
        .encode_to_vec()
    })
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold spaces, the 12th and 13th fields are in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            data if data.is_dir() => bytes_below(&entry.path()),
            data => data.len(),
        })
        .sum()
}
