#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
use trimtab_telemetry::{
    AttributeValue, Event, Level, LogRecord, Span, SpanEvent, SpanKind, SpanLink, SpanStatus,
};

use super::*;
use crate::TEMPLATE_ATTRIBUTE;

fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        service: Some("blocks".parse().unwrap()),
        environment: Some("production".parse().unwrap()),
        release: Some("blocks-r2".parse().unwrap()),
        instance: Some("blocks-r2-production-1".parse().unwrap()),
        rollout: Some("rollout-4".parse().unwrap()),
        cohort: Some(Arm::Candidate),
    })
}

fn attributes() -> Attributes {
    Attributes::from([
        ("code".to_owned(), 200.into()),
        ("raw".to_owned(), AttributeValue::Bytes(vec![0, 255])),
        ("infinite".to_owned(), f64::INFINITY.into()),
    ])
}

fn round_trip<R: Row + PartialEq + std::fmt::Debug>(rows: &[R]) {
    let columns = R::columns(&rows.iter().collect::<Vec<_>>());
    let batch = RecordBatch::try_new(R::schema(), columns).unwrap();
    assert_eq!(R::read(&batch).unwrap(), rows);
    let without = batch.project(&[0]).unwrap();
    assert!(R::read(&without).unwrap_err().contains("lacks the column"));
}

#[test]
fn logs_come_back_as_they_were() {
    let full = LogRecord {
        identity: identity(),
        at_nanos: 1_700_000_000_123_456_789,
        observed_nanos: 1_700_000_000_200_000_000,
        level: Level::Error,
        body: "cannot open \u{1f512}\nsecond line\0".to_owned(),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".parse().unwrap()),
        span_id: Some("b7ad6b7169203331".parse().unwrap()),
        scope: "blocks::store".to_owned(),
        attributes: {
            let mut all = attributes();
            all.insert(TEMPLATE_ATTRIBUTE.to_owned(), "t17".into());
            all
        },
        resource: Arc::new(attributes()),
    };
    let bare = LogRecord {
        identity: Arc::default(),
        at_nanos: 0,
        observed_nanos: 0,
        level: Level::Trace,
        body: String::new(),
        trace_id: None,
        span_id: None,
        scope: String::new(),
        attributes: Attributes::new(),
        resource: Arc::default(),
    };
    let odd_template = LogRecord {
        attributes: Attributes::from([(TEMPLATE_ATTRIBUTE.to_owned(), 5.into())]),
        ..bare.clone()
    };
    round_trip(&[full.clone(), bare, odd_template, full]);
}

#[test]
fn spans_come_back_as_they_were() {
    let full = Span {
        identity: identity(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".parse().unwrap(),
        span_id: "b7ad6b7169203331".parse().unwrap(),
        parent_span_id: Some("b7ad6b7169203332".parse().unwrap()),
        name: "GET /blocks".to_owned(),
        kind: SpanKind::Server,
        start_nanos: 5,
        end_nanos: 9,
        status: SpanStatus::Error,
        status_message: "boom".to_owned(),
        scope: "http".to_owned(),
        attributes: attributes(),
        resource: Arc::new(attributes()),
        events: vec![SpanEvent {
            at_nanos: 6,
            name: "exception".to_owned(),
            attributes: attributes(),
        }],
        links: vec![SpanLink {
            trace_id: "1af7651916cd43dd8448eb211c80319c".parse().unwrap(),
            span_id: "c7ad6b7169203331".parse().unwrap(),
            attributes: attributes(),
        }],
    };
    let bare = Span {
        identity: Arc::default(),
        parent_span_id: None,
        kind: SpanKind::Internal,
        status: SpanStatus::Unset,
        status_message: String::new(),
        scope: String::new(),
        attributes: Attributes::new(),
        resource: Arc::default(),
        events: Vec::new(),
        links: Vec::new(),
        ..full.clone()
    };
    round_trip(&[full, bare]);
}

#[test]
fn events_come_back_as_they_were() {
    round_trip(&[Event {
        identity: identity(),
        at_nanos: 7,
        id: "17".to_owned(),
        source: "journal".to_owned(),
        kind: "rollout.traffic_shifted".to_owned(),
        title: "5 % to blocks-r2".to_owned(),
        attributes: attributes(),
    }]);
}
