#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use trimtab_detection::verdict::{Batch, Config, Judge};
use trimtab_model::Weight;

use super::*;

fn served(requests: u64, errors: u64) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for n in 0..requests {
        outcomes.record(10_000, n < errors, false);
    }
    outcomes
}

#[test]
fn an_arm_without_requests_has_no_rate() {
    let release = ReleaseId::new("blocks-r2").unwrap();
    let none = figures(&release, &Outcomes::default(), None, 0);
    assert_eq!((none.requests, none.error_percent, none.p95_ms), (0, None, None));
    let some = figures(&release, &served(200, 3), Some(20.0), 1);
    assert_eq!(
        (some.requests, some.errors, some.error_percent),
        (200, 3, Some(1.5))
    );
    assert!((9.0..11.0).contains(&some.p95_ms.unwrap()));
}

#[test]
fn evidence_tells_rates_in_per_cent_and_what_decides() {
    let mut judge = Judge::new(Config::default(), None);
    let mut batch = Batch::new(Timestamp(1_000), Weight::from_percent(50.0).unwrap());
    batch.baseline = served(500, 0);
    batch.candidate = served(500, 250);
    judge.add(&batch);
    let verdict = judge.verdict();
    let errors = one(&verdict.metrics[0], &verdict, None, Counted::Requests);
    assert_eq!(errors.metric, "errors");
    assert_eq!(
        (errors.baseline, errors.candidate, errors.effect),
        (Some(0.0), Some(50.0), Some(50.0))
    );
    assert_eq!(errors.decision, VerdictDecision::Regressed);
    assert!(errors.e_value.unwrap().is_finite());
    assert!(errors.counts.unwrap().contains("250 of 500 of the candidate"));
    let of_flag = one(&verdict.metrics[0], &verdict, None, Counted::Users);
    assert_eq!(
        of_flag.counts.unwrap(),
        "0 of 500 users without the flag, 250 of 500 with it"
    );
    assert_eq!(decision(verdict.decision, false), VerdictDecision::Regressed);
}

#[test]
fn the_weight_in_force_is_drawn_as_steps() {
    let at = |at, candidate_percent| api::WeightStep {
        at: api::Moment::from_millis(at),
        candidate_percent,
        reason: String::new(),
    };
    let chart = weights_chart(
        &[at(2_000, 95.0), at(4_000, 0.0)],
        Timestamp(1_000),
        Timestamp(5_000),
        1_000,
    );
    let drawn: Vec<Option<f64>> = chart.series[0].points.iter().map(|(_, value)| *value).collect();
    assert_eq!(drawn, [Some(0.0), Some(95.0), Some(95.0), Some(0.0), Some(0.0)]);
}
