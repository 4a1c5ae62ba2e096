//! Generated requests give the same rows in protobuf and in JSON.
//!
//! The JSON is written here by the letter of the proto3 mapping, with its freedoms (numbers or text,
//! names or numbers of enums, either spelling of field names) chosen by a seed.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod mapping;
mod requests;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use trimtab_model::Identity;
use trimtab_telemetry::otlp::{self, DeltaKeeper};

use mapping::Writer;
use requests::{NOW, metric, record, resource, scope, span};

fn identity(known: bool) -> Identity {
    if known {
        Identity {
            service: Some("blocks".parse().unwrap()),
            release: Some("blocks-r2".parse().unwrap()),
            ..Identity::default()
        }
    } else {
        Identity::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_are_the_same(
        parts in vec((resource(), vec((scope(), vec(record(), 0..3)), 0..3)), 0..3),
        seed in any::<u64>(),
        known in any::<bool>(),
    ) {
        let scope_logs = |(scope, log_records)| ScopeLogs { scope, log_records, ..ScopeLogs::default() };
        let request = ExportLogsServiceRequest {
            resource_logs: parts
                .into_iter()
                .map(|(resource, scopes)| ResourceLogs {
                    resource,
                    scope_logs: scopes.into_iter().map(scope_logs).collect(),
                    ..ResourceLogs::default()
                })
                .collect(),
        };
        let json = Writer(seed).logs(&request).to_string();
        let of_protobuf = otlp::decode_logs_protobuf(&request.encode_to_vec(), &identity(known), NOW).unwrap();
        let of_json = otlp::decode_logs_json(json.as_bytes(), &identity(known), NOW).unwrap();
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"), "{}", json);
    }

    #[test]
    fn traces_are_the_same(
        parts in vec((resource(), vec((scope(), vec(span(), 0..3)), 0..3)), 0..3),
        seed in any::<u64>(),
        known in any::<bool>(),
    ) {
        let scope_spans = |(scope, spans)| ScopeSpans { scope, spans, ..ScopeSpans::default() };
        let request = ExportTraceServiceRequest {
            resource_spans: parts
                .into_iter()
                .map(|(resource, scopes)| ResourceSpans {
                    resource,
                    scope_spans: scopes.into_iter().map(scope_spans).collect(),
                    ..ResourceSpans::default()
                })
                .collect(),
        };
        let json = Writer(seed).traces(&request).to_string();
        let of_protobuf = otlp::decode_traces_protobuf(&request.encode_to_vec(), &identity(known), NOW).unwrap();
        let of_json = otlp::decode_traces_json(json.as_bytes(), &identity(known), NOW).unwrap();
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"), "{}", json);
    }

    #[test]
    fn metrics_are_the_same(
        parts in vec((resource(), vec(metric(), 0..4)), 0..3),
        seed in any::<u64>(),
        known in any::<bool>(),
    ) {
        let request = ExportMetricsServiceRequest {
            resource_metrics: parts
                .into_iter()
                .map(|(resource, metrics)| ResourceMetrics {
                    resource,
                    scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
                    ..ResourceMetrics::default()
                })
                .collect(),
        };
        let json = Writer(seed).metrics(&request).to_string();
        let (mut one, mut other) = (DeltaKeeper::new(), DeltaKeeper::new());
        let protobuf = request.encode_to_vec();
        let of_protobuf = otlp::decode_metrics_protobuf(&protobuf, &identity(known), NOW, &mut one).unwrap();
        let of_json = otlp::decode_metrics_json(json.as_bytes(), &identity(known), NOW, &mut other).unwrap();
        prop_assert_eq!(format!("{of_json:?}"), format!("{of_protobuf:?}"), "{}", json);
        for sample in &of_json.batch.samples {
            prop_assert!(sample.labels.get("service").is_none_or(|service| service == "blocks"));
            prop_assert!(sample.labels.get("release").is_none_or(|release| release == "blocks-r2"));
        }
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..200), text in "[\\[\\]{}:,\"a-z0-9]{0,60}") {
        let mut deltas = DeltaKeeper::new();
        let identity = identity(true);
        let _ = otlp::decode_logs_protobuf(&bytes, &identity, NOW);
        let _ = otlp::decode_traces_protobuf(&bytes, &identity, NOW);
        let _ = otlp::decode_metrics_protobuf(&bytes, &identity, NOW, &mut deltas);
        let _ = otlp::decode_logs_json(text.as_bytes(), &identity, NOW);
        let _ = otlp::decode_metrics_json(&bytes, &identity, NOW, &mut deltas);
        let _ = trimtab_telemetry::prometheus::parse_text(&text, &identity, 0);
        let _ = trimtab_telemetry::promql::parse(&text);
        let _ = trimtab_telemetry::log_line::parse(&text, &std::sync::Arc::default(), 0);
    }
}
