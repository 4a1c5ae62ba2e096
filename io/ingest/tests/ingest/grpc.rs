//! OTLP over gRPC with hand-made requests; `sdk.rs` has the real ones.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use trimtab_ingest::{Signal, Trouble};

use crate::rig::{self, Rig, start};

/// A delta of two that ended this many milliseconds before now.
fn delta(name: &str, description: String, ms_ago: u64) -> ExportMetricsServiceRequest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let metric = Metric {
        name: name.to_owned(),
        description,
        data: Some(Data::Sum(Sum {
            data_points: vec![NumberDataPoint {
                time_unix_nano: now.as_nanos() as u64 - ms_ago * 1_000_000,
                value: Some(Value::AsInt(2)),
                ..NumberDataPoint::default()
            }],
            aggregation_temporality: 1,
            is_monotonic: true,
        })),
        ..Metric::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

async fn client(rig: &Rig) -> MetricsServiceClient<Channel> {
    MetricsServiceClient::connect(format!("http://{}", rig.ingest.grpc_addr()))
        .await
        .unwrap()
        .send_compressed(CompressionEncoding::Gzip)
}

fn with_token<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let token = format!("Bearer {}", rig::TOKEN).parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

#[tokio::test]
async fn deltas_become_running_totals() {
    let rig = start().await;
    let mut client = client(&rig).await;
    for ms_ago in [3000, 2000, 1000] {
        let request = with_token(delta("jobs", String::new(), ms_ago));
        let answer = client.export(request).await.unwrap();
        assert_eq!(answer.into_inner().partial_success, None);
    }
    let late = client
        .export(with_token(delta("jobs", String::new(), 5000)))
        .await
        .unwrap();
    let partial = late.into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 1);
    assert!(
        partial.error_message.contains("not newer"),
        "{}",
        partial.error_message
    );
    let series = rig.metric("jobs_total").await;
    let values: Vec<f64> = series[0].points.iter().map(|(_, value)| *value).collect();
    assert_eq!(values, [2.0, 4.0, 6.0]);
    assert_eq!(series[0].labels.get("release"), Some("blocks-r2"));
}

#[tokio::test]
async fn strangers_and_giants_are_refused_and_counted() {
    let rig = start().await;
    let mut client = client(&rig).await;
    let status = client.export(delta("jobs", String::new(), 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    // Compresses well and decodes to more than the limit.
    let giant = delta("jobs", "x".repeat(9 << 20), 0);
    let status = client.export(with_token(giant)).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{status}"
    );
    let stats = rig.ingest.stats();
    assert_eq!(stats.requests_refused[&Trouble::Unauthenticated], 1);
    assert_eq!(stats.requests_refused[&Trouble::TooLarge], 1);
    assert_eq!(stats.accepted.get(&Signal::Metrics), None);
}
