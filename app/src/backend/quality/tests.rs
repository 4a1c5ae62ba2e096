use trimtab_api::{IncidentClass, IncidentState, Moment};
use trimtab_telemetry::{Labels, Sample};

use super::*;

fn vector(buckets: &[(&str, f64)]) -> Value {
    let sample = |(le, value): &(&str, f64)| Sample {
        labels: Labels::from_pairs([("le", *le)]),
        at_ms: 0,
        value: *value,
    };
    Value::Vector(buckets.iter().map(sample).collect())
}

#[test]
fn a_share_is_read_between_buckets() {
    let buckets = vector(&[("0.1", 50.0), ("0.3", 90.0), ("1", 98.0), ("+Inf", 100.0)]);
    let share = |limit| share_below(&buckets, limit).map(|share| (share * 1000.0).round() / 1000.0);
    assert_eq!(share(0.1), Some(0.5));
    assert_eq!(share(0.3), Some(0.9));
    assert_eq!(share(0.2), Some(0.7));
    // Beyond the last bound only what is surely below counts.
    assert_eq!(share(5.0), Some(0.98));
    assert_eq!(share_below(&vector(&[("0.1", 0.0), ("+Inf", 0.0)]), 0.1), None);
    assert_eq!(share_below(&Value::Scalar(1.0), 0.1), None);
}

fn incident(severity: Severity, opened: i64, resolved: Option<i64>) -> IncidentSummary {
    IncidentSummary {
        id: "incident-1".to_owned(),
        title: String::new(),
        service: "blocks".to_owned(),
        environment: "production".to_owned(),
        severity,
        class: IncidentClass::Unknown,
        state: if resolved.is_some() {
            IncidentState::Resolved
        } else {
            IncidentState::Open
        },
        state_text: String::new(),
        release: None,
        rollout: None,
        opened_at: Moment::from_millis(opened),
        resolved_at: resolved.map(Moment::from_millis),
        acknowledged_by: None,
        silenced: false,
    }
}

#[test]
fn repair_and_failure_times_are_of_serious_incidents_in_the_window() {
    let all = [
        incident(Severity::Critical, 10_000, Some(30_000)),
        incident(Severity::High, 50_000, Some(60_000)),
        incident(Severity::Medium, 1_000, Some(90_000)),
    ];
    let all: Vec<&IncidentSummary> = all.iter().collect();
    // 100 s observed, 30 s of them in two incidents.
    assert_eq!(
        repair_times(&all, 0, 100_000, Some(100_000)),
        (Some(15.0), Some(35.0))
    );
    // The first one ended before the window began.
    assert_eq!(
        repair_times(&all, 40_000, 100_000, Some(60_000)),
        (Some(10.0), Some(50.0))
    );
    assert_eq!(repair_times(&[], 0, 100_000, Some(100_000)), (None, None));
    let open = incident(Severity::Critical, 90_000, None);
    assert_eq!(
        repair_times(&[&open], 0, 100_000, Some(100_000)),
        (None, Some(90.0))
    );
}
