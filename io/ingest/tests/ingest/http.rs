//! OTLP over HTTP.

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord as ProtoRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use trimtab_ingest::{Signal, Sink, Trouble};
use trimtab_store::{
    Appended, EventQuery, LogQuery, Replay, Retained, SignalStore, SpanQuery, StoreError, StoreStats, Tail,
    TailFilter, TimeRange,
};
use trimtab_telemetry::{Batch, Event, Level, LogRecord, Span, TraceId};

use crate::rig::{self, start};

const LOG: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"liar"}}]},
    "scopeLogs":[{"logRecords":[{"severityNumber":17,"body":{"stringValue":"it broke"}}]}]}]}"#;

fn logs_protobuf(bodies: &[&str]) -> Vec<u8> {
    let record = |body: &&str| ProtoRecord {
        body: Some(AnyValue {
            value: Some(Value::StringValue((*body).to_owned())),
        }),
        ..ProtoRecord::default()
    };
    let scope = ScopeLogs {
        log_records: bodies.iter().map(record).collect(),
        ..ScopeLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![scope],
            ..ResourceLogs::default()
        }],
    }
    .encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn logs_are_stamped_stored_and_shown() {
    let rig = start().await;
    let mut shown = rig.ingest.intake().sink().subscribe();
    let answer = rig.post_json("/v1/logs", LOG).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "{}"));
    let logs = rig.logs().await;
    assert_eq!(logs.len(), 1);
    assert_eq!((logs[0].body.as_str(), logs[0].level), ("it broke", Level::Error));
    assert_eq!(*logs[0].identity, rig::identity());
    assert_eq!(logs[0].resource["service.name"].as_str(), Some("blocks"));
    assert_eq!(logs[0].resource["service.version"].as_str(), Some("blocks-r2"));
    assert_eq!(shown.next().await.unwrap().logs[0].body, "it broke");
    assert_eq!(rig.ingest.stats().accepted[&Signal::Logs], 1);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let rig = start().await;
    let headers = [("content-type", "application/x-protobuf")];
    let answer = rig
        .post("/v1/logs", &headers, logs_protobuf(&["one", "two"]))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        ExportLogsServiceResponse::decode(answer.body).unwrap(),
        ExportLogsServiceResponse::default()
    );
    let rig::Rig {
        ingest,
        series,
        store,
        folder,
    } = rig;
    ingest.shutdown().await;
    drop((series, store));
    let (_, store) = rig::open(&folder);
    assert_eq!(store.scan_logs(LogQuery::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_is_needed() {
    let rig = start().await;
    let json = ("content-type", "application/json");
    for headers in [vec![json], vec![json, ("authorization", "Bearer wrong")]] {
        let answer = rig::post(rig.ingest.http_addr(), "/v1/logs", &headers, LOG.into()).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(answer.text().contains("\"code\":16"), "{}", answer.text());
    }
    let answer = rig::post(
        rig.ingest.http_addr(),
        "/v1/logs",
        &[json, ("x-trimtab-token", rig::TOKEN)],
        LOG.into(),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(rig.ingest.stats().requests_refused[&Trouble::Unauthenticated], 2);
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let rig = start().await;
    let body = logs_protobuf(&["packed"]);
    for (encoding, body) in [
        ("gzip", gzip(&body)),
        ("zstd", zstd::encode_all(body.as_slice(), 3).unwrap()),
        ("identity", body.clone()),
    ] {
        let headers = [
            ("content-type", "application/x-protobuf"),
            ("content-encoding", encoding),
        ];
        assert_eq!(
            rig.post("/v1/logs", &headers, body).await.status,
            200,
            "{encoding}"
        );
    }
    assert_eq!(rig.logs().await.len(), 3);
}

/// The most memory this process has used, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn bombs_are_refused_in_bounded_memory() {
    const BLOWN_UP: usize = 512 << 20;
    let rig = start().await;
    let zeros = vec![0u8; 1 << 20];
    let mut gzipped = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    let mut zstandard = zstd::Encoder::new(vec![], 1).unwrap();
    for _ in 0..BLOWN_UP >> 20 {
        gzipped.write_all(&zeros).unwrap();
        zstandard.write_all(&zeros).unwrap();
    }
    let before = peak_bytes();
    for (encoding, bomb) in [
        ("gzip", gzipped.finish().unwrap()),
        ("zstd", zstandard.finish().unwrap()),
    ] {
        assert!(bomb.len() < 4 << 20, "{encoding}: {} bytes", bomb.len());
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", encoding),
        ];
        let answer = rig.post("/v1/logs", &headers, bomb).await;
        assert_eq!(answer.status, 413, "{encoding}: {}", answer.text());
        assert!(
            answer.text().contains("decompresses to more than 8388608 bytes"),
            "{}",
            answer.text()
        );
    }
    // Other tests run beside this one; together they stay far below one bomb.
    let grown = peak_bytes() - before;
    assert!(grown < (BLOWN_UP / 3) as u64, "memory grew by {grown} bytes");
    assert_eq!(rig.ingest.stats().requests_refused[&Trouble::TooLarge], 2);
}

#[tokio::test]
async fn bad_bodies_get_a_clear_answer() {
    let rig = start().await;
    let answer = rig
        .post(
            "/v1/logs",
            &[("content-type", "application/json")],
            vec![b' '; 5 << 20],
        )
        .await;
    assert_eq!(answer.status, 413);
    for (body, problem) in [
        ("{\"resourceLogs\":", "EOF while parsing"),
        ("[]", "body: expected an object, got a list"),
        (
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"soon"}]}]}]}"#,
            r#"resourceLogs[0].scopeLogs[0].logRecords[0].timeUnixNano: expected a whole number, got \"soon\""#,
        ),
    ] {
        let answer = rig.post_json("/v1/logs", body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(problem), "{}", answer.text());
        assert!(answer.text().contains("\"code\":3"), "{}", answer.text());
    }
    let protobuf = ("content-type", "application/x-protobuf");
    let answer = rig.post("/v1/traces", &[protobuf], vec![0xff; 20]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    // google.rpc.Status: field 1 the code, field 2 the message.
    assert_eq!(answer.body[..3], [0x08, 3, 0x12]);
    let answer = rig
        .post(
            "/v1/logs",
            &[protobuf, ("content-encoding", "gzip")],
            vec![1, 2, 3],
        )
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        rig.post("/v1/logs", &[("content-type", "text/plain")], "x")
            .await
            .status,
        415
    );
    assert_eq!(
        rig.post("/v1/logs", &[protobuf, ("content-encoding", "br")], "x")
            .await
            .status,
        415
    );
    assert_eq!(rig.post_json("/v1/other", "{}").await.status, 404);
    let stats = rig.ingest.stats();
    assert_eq!(stats.requests_refused[&Trouble::Malformed], 5);
    assert_eq!(stats.requests_refused[&Trouble::Unsupported], 2);
    assert!(rig.logs().await.is_empty());
}

#[tokio::test]
async fn refused_rows_are_told_and_counted() {
    let rig = start().await;
    let good = r#"{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"good"}"#;
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{good},{{"traceId":"00","name":"bad"}}]}}]}}]}}"#
    );
    let answer = rig.post_json("/v1/traces", &body).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().contains(r#""rejectedSpans":"1""#),
        "{}",
        answer.text()
    );
    assert!(
        answer.text().contains("1 refused: the trace id is not 16 bytes"),
        "{}",
        answer.text()
    );

    let protobuf = [("content-type", "application/x-protobuf")];
    // resource_spans { scope_spans { spans { name: "x" } } }
    let answer = rig
        .post(
            "/v1/traces",
            &protobuf,
            vec![0x0a, 7, 0x12, 5, 0x12, 3, 0x2a, 1, b'x'],
        )
        .await;
    let partial = ExportTraceServiceResponse::decode(answer.body)
        .unwrap()
        .partial_success
        .unwrap();
    assert_eq!(partial.rejected_spans, 1);

    let stats = rig.ingest.stats();
    assert_eq!(stats.accepted[&Signal::Traces], 1);
    assert_eq!(stats.rejected[&(Signal::Traces, "bad_id")], 2);
    let samples: Vec<String> = stats
        .samples(5)
        .iter()
        .map(|s| format!("{} {}", s.labels, s.value))
        .collect();
    assert!(
        samples.contains(&r#"trimtab_ingest_rejected_total{reason="bad_id", signal="traces"} 2"#.to_owned())
    );
    assert!(samples.contains(&r#"trimtab_ingest_rows_total{signal="traces"} 1"#.to_owned()));
}

#[tokio::test]
async fn a_clock_that_jumped_is_refused_and_counted() {
    let rig = start().await;
    let body = LOG.replace(
        "\"severityNumber\"",
        "\"timeUnixNano\":\"9000000000000000000\",\"severityNumber\"",
    );
    let answer = rig.post_json("/v1/logs", &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("check the clock"), "{}", answer.text());
    assert_eq!(rig.ingest.stats().rejected[&(Signal::Logs, "ahead_of_time")], 1);
    assert!(rig.logs().await.is_empty());
}

#[tokio::test]
async fn a_slow_analyser_misses_batches_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (series, store) = rig::open(&folder);
    let sink = Sink::new(2);
    let mut slow = sink.subscribe();
    let rig = rig::start_with(folder, series, store, sink).await;
    for _ in 0..6 {
        assert_eq!(rig.post_json("/v1/logs", LOG).await.status, 200);
    }
    assert!(slow.next().await.is_some());
    assert_eq!(rig.ingest.stats().batches_missed, 4);
    assert_eq!(rig.logs().await.len(), 6);
}

#[tokio::test]
async fn a_store_in_trouble_makes_senders_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (series, _) = rig::open(&folder);
    let rig = rig::start_with(folder, series, Arc::new(Full), Sink::new(2)).await;
    let answer = rig.post_json("/v1/logs", LOG).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(answer.text().contains("try again later"), "{}", answer.text());
    let stats = rig.ingest.stats();
    assert_eq!(stats.requests_refused[&Trouble::Overloaded], 1);
    assert_eq!(stats.accepted.get(&Signal::Logs), None);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_mend() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (series, store) = rig::open(&folder);
    let error = rig::listen(rig::free(), address, series, store, Sink::new(1))
        .await
        .unwrap_err();
    let port = address.port();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to listen on 127.0.0.1:{port} for OTLP over HTTP: the port is in use; stop what uses it (`ss -ltnp sport = :{port}` shows it) or set another `otlp_http` in trimtab-server.yaml"
        )
    );
}

/// A store that cannot keep up.
struct Full;

#[async_trait]
impl SignalStore for Full {
    async fn append(&self, _: Batch, _: &str) -> Result<Appended, StoreError> {
        Err(StoreError::Behind {
            memory_bytes: 7,
            reason: "the disk is full".to_owned(),
        })
    }

    async fn scan_logs(&self, _: LogQuery) -> Result<Vec<LogRecord>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn trace(&self, _: TraceId) -> Result<Vec<Span>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn search_spans(&self, _: SpanQuery) -> Result<Vec<Span>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn events(&self, _: EventQuery) -> Result<Vec<Event>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn replay(&self, _: TimeRange) -> Result<Replay, StoreError> {
        Err(StoreError::Closed)
    }

    fn tail(&self, filter: TailFilter) -> Tail {
        Tail::new(tokio::sync::broadcast::channel(1).1, filter, Arc::default())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn retain(&self, _: i64) -> Result<Retained, StoreError> {
        Err(StoreError::Closed)
    }

    async fn remove_before(&self, _: i64) -> Result<Retained, StoreError> {
        Err(StoreError::Closed)
    }

    fn files(&self) -> Vec<trimtab_store::Aged> {
        Vec::new()
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}
