//! The requests that the proxy reports in full become its spans, so that a trace begins where a user's request did.

use std::sync::Arc;

use trimtab_model::Identity;
use trimtab_proxy::{Frame, RequestRecord};
use trimtab_telemetry::{Attributes, Batch, Span, SpanKind, SpanStatus, identity_attributes};

/// The instrumentation scope by which the proxy's spans are told from those of services.
pub const SCOPE: &str = "trimtab.proxy";

/// The spans of a frame, and the key that makes storing them again harmless. The proxy bounds how many requests a
/// frame reports.
pub(crate) fn spans(frame: &Frame) -> (Batch, String) {
    let spans = frame.requests.iter().filter_map(span).collect();
    let batch = Batch {
        spans,
        ..Batch::default()
    };
    (batch, format!("proxy-frame@{}", frame.sequence))
}

/// None for ids that are none: the span could not be found again.
fn span(record: &RequestRecord) -> Option<Span> {
    let identity = Identity {
        service: Some(record.service.clone()),
        environment: Some(record.environment.clone()),
        release: Some(record.release.clone()),
        instance: record.instance.clone(),
        rollout: record.rollout.clone(),
        cohort: record.rollout.as_ref().map(|_| record.arm),
    };
    let failed = record.status >= 500 || record.error.is_some();
    Some(Span {
        trace_id: record.trace_id.parse().ok()?,
        span_id: record.span_id.parse().ok()?,
        parent_span_id: record.parent_span_id.as_ref().and_then(|id| id.parse().ok()),
        name: record.operation.clone(),
        kind: SpanKind::Server,
        start_nanos: record.start_nanos,
        end_nanos: record.start_nanos.saturating_add(record.duration_nanos),
        status: if failed {
            SpanStatus::Error
        } else {
            SpanStatus::Unset
        },
        status_message: record.error.clone().unwrap_or_default(),
        scope: SCOPE.to_owned(),
        attributes: attributes(record),
        resource: Arc::new(identity_attributes(&identity)),
        identity: Arc::new(identity),
        events: Vec::new(),
        links: Vec::new(),
    })
}

/// OpenTelemetry's names for what an HTTP server knows of a request.
fn attributes(record: &RequestRecord) -> Attributes {
    let mut attributes = Attributes::from([
        ("http.request.method".to_owned(), record.method.as_str().into()),
        ("url.path".to_owned(), record.path.as_str().into()),
        (
            "http.response.status_code".to_owned(),
            i64::from(record.status).into(),
        ),
    ]);
    if record.status >= 500 {
        attributes.insert("error.type".to_owned(), record.status.to_string().as_str().into());
    }
    if record.mirrored {
        attributes.insert("trimtab.mirrored".to_owned(), true.into());
    }
    attributes
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde_json::json;
    use trimtab_store::{SignalStore, Store, StoreConfig};

    use super::*;

    fn frame(sequence: u64, requests: serde_json::Value) -> Frame {
        serde_json::from_value(json!({
            "format": 1, "sequence": sequence, "at": 1_000, "interval_ms": 200, "cells": [], "requests": requests
        }))
        .unwrap()
    }

    fn request(trace: &str, span: &str, status: u16) -> serde_json::Value {
        json!({
            "trace_id": trace, "span_id": span, "parent_span_id": null,
            "start_nanos": 5_000_000u64, "duration_nanos": 2_000_000u64,
            "service": "blocks", "environment": "production", "release": "blocks-r2",
            "instance": "blocks-r2-production-1", "arm": "candidate", "rollout": "rollout-4",
            "operation": "GET /blocks/{id}", "method": "GET", "path": "/blocks/7", "status": status,
            "error": (status == 502).then_some("the instance closed the connection")
        })
    }

    #[tokio::test]
    async fn requests_of_the_proxy_are_the_first_spans_of_their_traces() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let frame = frame(
            9,
            json!([
                request(trace, "00f067aa0ba902b7", 502),
                request("not hex", "00f067aa0ba902b7", 200)
            ]),
        );
        let (batch, key) = spans(&frame);
        assert_eq!(batch.spans.len(), 1, "an id that is none is left out");
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        assert_eq!(store.append(batch.clone(), &key).await.unwrap().rows, 1);
        // The frame comes again when control was killed before it was acknowledged.
        assert!(store.append(spans(&frame).0, &key).await.unwrap().repeated);
        // The instance's own span names the proxy's as its parent.
        let mut own = batch.spans[0].clone();
        own.parent_span_id = Some(own.span_id);
        own.span_id = "00f067aa0ba902b8".parse().unwrap();
        own.scope = "blocks".to_owned();
        own.start_nanos += 1;
        let service = Batch {
            spans: vec![own],
            ..Batch::default()
        };
        store.append(service, "").await.unwrap();
        let found = store.trace(trace.parse().unwrap()).await.unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].scope.as_str(), found[0].parent_span_id), (SCOPE, None));
        assert_eq!(found[1].parent_span_id, Some(found[0].span_id));
        assert_eq!(found[0].status, SpanStatus::Error);
        assert_eq!(found[0].status_message, "the instance closed the connection");
        assert_eq!(found[0].identity.release.as_ref().unwrap().as_str(), "blocks-r2");
        assert_eq!(found[0].duration_nanos(), 2_000_000);
    }
}
