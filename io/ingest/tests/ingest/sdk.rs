//! The official Python SDK sends over both transports.

use std::path::PathBuf;
use std::process::Command;

use trimtab_model::Identity;
use trimtab_store::SpanQuery;
use trimtab_telemetry::{Attributes, Level, SpanKind, SpanStatus};

use crate::rig::{self, Rig, TOKEN, start};

/// An interpreter that has the SDK and its exporters.
fn python() -> PathBuf {
    let python = std::env::var_os("TRIMTAB_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let modules = "import opentelemetry.sdk, opentelemetry.exporter.otlp.proto.grpc, opentelemetry.exporter.otlp.proto.http";
    let has_them = Command::new(&python).args(["-c", modules]).output();
    assert!(
        has_them.is_ok_and(|output| output.status.success()),
        "{} has no opentelemetry-sdk with its OTLP exporters: run `cargo xtask test`, which installs them",
        python.display()
    );
    python
}

async fn send(protocol: &str, endpoint: String, compression: &str) {
    let script = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/tests/ingest/sdk.py";
    let mut command = Command::new(python());
    command.args([&script, protocol, &endpoint, TOKEN, compression]);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_stamped(identity: &Identity, resource: &Attributes) {
    assert_eq!(*identity, rig::identity());
    let text = |name: &str| resource.get(name).and_then(|value| value.as_str());
    assert_eq!(text("service.name"), Some("blocks"));
    assert_eq!(text("deployment.environment.name"), Some("production"));
    assert_eq!(text("host.name"), Some("box"));
    assert_eq!(text("trimtab.cohort"), Some("candidate"));
}

async fn all_arrived(rig: &Rig) {
    let spans = rig.store.search_spans(SpanQuery::default()).await.unwrap();
    assert_eq!(spans.len(), 1);
    let span = &spans[0];
    assert_eq!(
        (span.name.as_str(), span.kind, span.status),
        ("POST /blocks", SpanKind::Server, SpanStatus::Error)
    );
    assert_eq!(span.events[0].name, "exception");
    assert_eq!(span.scope, "sdk-test");
    is_stamped(&span.identity, &span.resource);

    let logs = rig.logs().await;
    assert_eq!(logs.len(), 1);
    assert_eq!(
        (logs[0].body.as_str(), logs[0].level),
        ("failed to merge block 7", Level::Error)
    );
    assert_eq!(logs[0].trace_id, Some(span.trace_id));
    assert_eq!(logs[0].span_id, Some(span.span_id));
    is_stamped(&logs[0].identity, &logs[0].resource);

    let counters = rig.metric("blocks_created_total").await;
    assert_eq!(
        counters[0].labels.to_string(),
        r#"blocks_created_total{cohort="candidate", environment="production", instance="blocks-r2-production-1", kind="text", release="blocks-r2", service="blocks"}"#
    );
    assert_eq!(counters[0].points[0].1, 3.0);
    let buckets = rig.metric("http_server_request_duration_seconds_bucket").await;
    let infinite = buckets
        .iter()
        .find(|series| series.labels.get("le") == Some("+Inf"))
        .unwrap();
    assert_eq!(infinite.points[0].1, 1.0);
    assert_eq!(infinite.labels.get("http_route"), Some("/blocks"));
    assert_eq!(
        rig.metric("http_server_request_duration_seconds_count")
            .await
            .len(),
        1
    );
    assert_eq!(rig.ingest.stats().rejected_total(), 0);
}

#[tokio::test]
async fn the_sdk_sends_over_grpc() {
    let rig = start().await;
    send("grpc", format!("http://{}", rig.ingest.grpc_addr()), "gzip").await;
    all_arrived(&rig).await;
}

#[tokio::test]
async fn the_sdk_sends_over_http() {
    let rig = start().await;
    send("http", format!("http://{}", rig.ingest.http_addr()), "gzip").await;
    all_arrived(&rig).await;
}

#[tokio::test]
async fn the_sdk_sends_without_compression() {
    let rig = start().await;
    send("http", format!("http://{}", rig.ingest.http_addr()), "none").await;
    all_arrived(&rig).await;
}
