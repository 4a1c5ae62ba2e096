//! What rows a request becomes, as tables that a person can read.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fmt::Write as _;

use trimtab_model::{Arm, Identity};
use trimtab_telemetry::otlp::{self, Decoded, DeltaKeeper};
use trimtab_telemetry::{LABELS_MAX, is_stale};

const NOW: u64 = 1_800_000_000_000_000_000;

fn instance() -> Identity {
    Identity {
        service: Some("blocks".parse().unwrap()),
        cohort: Some(Arm::Baseline),
        ..Identity::default()
    }
}

/// One metric of a resource that claims to be `liar`.
fn metrics(metric: &str, identity: &Identity, deltas: &mut DeltaKeeper) -> Decoded {
    let resource = r#"{"attributes":[{"key":"service.name","value":{"stringValue":"liar"}}]}"#;
    let body = format!(
        r#"{{"resourceMetrics":[{{"resource":{resource},"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#
    );
    otlp::decode_metrics_json(body.as_bytes(), identity, NOW, deltas).unwrap()
}

fn show(decoded: &Decoded) -> String {
    let mut out = String::new();
    for sample in &decoded.batch.samples {
        let value = if is_stale(sample.value) {
            "stale".to_owned()
        } else {
            sample.value.to_string()
        };
        writeln!(out, "{} {value}", sample.labels).unwrap();
    }
    out.push_str(&decoded.message());
    out.trim_end().to_owned()
}

#[test]
fn each_kind_of_metric() {
    for (metric, expected) in [
        (
            r#"{"name":"queue.length","unit":"{job}","gauge":{"dataPoints":[{"asInt":"7"}]}}"#,
            r#"queue_length{cohort="baseline", service="blocks"} 7"#,
        ),
        (
            r#"{"name":"sent","unit":"By","sum":{"isMonotonic":true,"aggregationTemporality":2,"dataPoints":[
                {"asDouble":1.5,"attributes":[{"key":"http.route","value":{"stringValue":"/a"}},{"key":"service","value":{"stringValue":"x"}}]}]}}"#,
            r#"sent_bytes_total{cohort="baseline", exported_service="x", http_route="/a", service="blocks"} 1.5"#,
        ),
        (
            r#"{"name":"t","unit":"s","histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[
                {"count":6,"sum":3.5,"bucketCounts":[1,2,3],"explicitBounds":[0.1,1]}]}}"#,
            "t_seconds_bucket{cohort=\"baseline\", le=\"0.1\", service=\"blocks\"} 1\n\
             t_seconds_bucket{cohort=\"baseline\", le=\"1\", service=\"blocks\"} 3\n\
             t_seconds_bucket{cohort=\"baseline\", le=\"+Inf\", service=\"blocks\"} 6\n\
             t_seconds_sum{cohort=\"baseline\", service=\"blocks\"} 3.5\n\
             t_seconds_count{cohort=\"baseline\", service=\"blocks\"} 6",
        ),
        (
            r#"{"name":"t","summary":{"dataPoints":[{"count":2,"sum":3,"quantileValues":[{"quantile":0.5,"value":1}]}]}}"#,
            "t{cohort=\"baseline\", quantile=\"0.5\", service=\"blocks\"} 1\n\
             t_sum{cohort=\"baseline\", service=\"blocks\"} 3\n\
             t_count{cohort=\"baseline\", service=\"blocks\"} 2",
        ),
        (
            r#"{"name":"gone","gauge":{"dataPoints":[{"flags":1}]}}"#,
            r#"gone{cohort="baseline", service="blocks"} stale"#,
        ),
    ] {
        assert_eq!(
            show(&metrics(metric, &instance(), &mut DeltaKeeper::new())),
            expected,
            "{metric}"
        );
    }
}

#[test]
fn senders_without_a_service_keep_their_claim_under_its_own_name() {
    let metric = r#"{"name":"up","gauge":{"dataPoints":[{"asInt":1}]}}"#;
    let decoded = metrics(metric, &Identity::default(), &mut DeltaKeeper::new());
    assert_eq!(show(&decoded), r#"up{exported_service="liar"} 1"#);
}

#[test]
fn what_cannot_be_taken_is_told() {
    let many: Vec<String> = (0..LABELS_MAX)
        .map(|n| format!(r#"{{"key":"l{n}","value":{{"intValue":1}}}}"#))
        .collect();
    let many = format!(
        r#"{{"name":"x","gauge":{{"dataPoints":[{{"asInt":1,"attributes":[{}]}}]}}}}"#,
        many.join(",")
    );
    for (metric, expected) in [
        (r#"{"name":"x"}"#, "1 refused: the data point has no value"),
        (
            r#"{"name":"x","gauge":{"dataPoints":[{},{}]}}"#,
            "2 refused: the data point has no value",
        ),
        (
            r#"{"gauge":{"dataPoints":[{"asInt":1}]}}"#,
            "1 refused: the metric has no name",
        ),
        (
            r#"{"name":"x","sum":{"dataPoints":[{"asInt":1}]}}"#,
            "1 refused: the aggregation temporality is neither delta nor cumulative",
        ),
        (
            r#"{"name":"x","histogram":{"aggregationTemporality":2,"dataPoints":[{"bucketCounts":[1,1],"explicitBounds":[2,1]}]}}"#,
            "1 refused: the buckets don't fit their bounds, or the bounds don't ascend",
        ),
        (
            r#"{"name":"x","gauge":{"dataPoints":[{"asInt":1,"timeUnixNano":"1900000000000000000"}]}}"#,
            "1 refused: the time lies more than 10 minutes ahead: check the clock",
        ),
        (
            many.as_str(),
            "1 refused: the series has more than 64 labels, or one whose name or value is too long",
        ),
    ] {
        assert_eq!(
            show(&metrics(metric, &instance(), &mut DeltaKeeper::new())),
            expected,
            "{metric}"
        );
    }
}

#[test]
fn deltas_add_up_and_late_ones_are_refused() {
    let mut deltas = DeltaKeeper::new();
    let point = |value: i64, seconds_ago: u64| {
        let at = NOW - seconds_ago * 1_000_000_000;
        format!(
            r#"{{"name":"jobs","sum":{{"isMonotonic":true,"aggregationTemporality":1,"dataPoints":[{{"asInt":{value},"timeUnixNano":"{at}"}}]}}}}"#
        )
    };
    let mut send = |value, seconds_ago| {
        show(&metrics(
            &point(value, seconds_ago),
            &Identity::default(),
            &mut deltas,
        ))
    };
    assert_eq!(send(3, 30), r#"jobs_total{exported_service="liar"} 3"#);
    assert_eq!(send(4, 20), r#"jobs_total{exported_service="liar"} 7"#);
    assert_eq!(
        send(9, 25),
        "1 refused: the delta is not newer than one already counted"
    );
    assert_eq!(send(1, 10), r#"jobs_total{exported_service="liar"} 8"#);
    deltas.forget(i64::MAX);
    assert!(deltas.is_empty());
}

#[test]
fn claims_about_identity_do_not_survive() {
    let claim = |key: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"claimed"}}}}"#);
    let keys = [
        "service.name",
        "service.version",
        "service.instance.id",
        "deployment.environment.name",
        "trimtab.cohort",
        "host.name",
    ];
    let claims = keys.map(claim).join(",");
    let body = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{claims}]}},"scopeLogs":[{{"logRecords":[{{"body":{{"kvlistValue":{{"values":[]}}}}}}]}}]}}]}}"#
    );
    let decoded = otlp::decode_logs_json(body.as_bytes(), &instance(), NOW).unwrap();
    let record = &decoded.batch.logs[0];
    let shown: Vec<String> = record
        .resource
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        shown,
        [
            "host.name=claimed",
            "service.name=blocks",
            "trimtab.cohort=baseline"
        ]
    );
    assert_eq!((record.body.as_str(), record.at_nanos), ("{}", NOW));
}

#[test]
fn long_things_are_cut_and_counted() {
    let long = "ü".repeat(otlp::BODY_BYTES_MAX);
    let attributes: Vec<String> = (0..otlp::ATTRIBUTES_MAX + 5)
        .map(|n| format!(r#"{{"key":"a{n}","value":{{"boolValue":true}}}}"#))
        .collect();
    let body = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"{long}"}},"attributes":[{}]}}]}}]}}]}}"#,
        attributes.join(",")
    );
    let decoded = otlp::decode_logs_json(body.as_bytes(), &instance(), NOW).unwrap();
    assert_eq!((decoded.rejected, decoded.cut), (0, 6));
    assert_eq!(decoded.batch.logs[0].body.len(), otlp::BODY_BYTES_MAX);
    assert_eq!(decoded.batch.logs[0].attributes.len(), otlp::ATTRIBUTES_MAX);
}

#[test]
fn deep_values_are_cut_so_that_they_can_be_read_again() {
    let value = (0..30).fold(r#"{"intValue":1}"#.to_owned(), |inner, _| {
        format!(r#"{{"arrayValue":{{"values":[{inner}]}}}}"#)
    });
    let body = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"attributes":[{{"key":"a","value":{value}}}]}}]}}]}}]}}"#
    );
    let decoded = otlp::decode_logs_json(body.as_bytes(), &instance(), NOW).unwrap();
    assert_eq!((decoded.rejected, decoded.cut), (0, 1));
    let stored = serde_json::to_string(&decoded.batch).unwrap();
    assert_eq!(
        serde_json::from_str::<trimtab_telemetry::Batch>(&stored).unwrap(),
        decoded.batch
    );
}
