//! Settings of single metrics go before the plan's own.

use insta::assert_snapshot;

use super::tables::{good, healthy, observed, play, timer};
use super::*;

fn on_regressed(metric: &str, on: OnRegressed) -> super::tables::Happening {
    observed(Verdict::Regressed {
        reason: format!("{metric} worse"),
        metric: Some(metric.to_owned()),
        on: Some(on),
    })
}

fn lacks(lack: Lack, on: OnInconclusive) -> super::tables::Happening {
    observed(Verdict::Inconclusive {
        reason: "queue_lag says nothing".to_owned(),
        metric: Some("queue_lag".to_owned()),
        lack: Some(lack),
        on: Some(on),
    })
}

#[test]
fn a_metric_that_is_only_reported_does_not_silence_the_others() {
    let story = [
        good(),
        good(),
        good(),
        on_regressed("client errors", OnRegressed::Report),
        on_regressed("errors", OnRegressed::RollBack),
    ];
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % [observe 1, notify WouldRollBack]
    taking traffic off the candidate (regression: errors worse) [shift 0 %]
    ");
}

#[test]
fn a_reported_regression_does_not_answer_a_question_about_another() {
    let story = [
        good(),
        good(),
        good(),
        on_regressed("client errors", OnRegressed::Report),
        on_regressed("queue_lag", OnRegressed::Ask),
        timer(),
    ];
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % [observe 1, notify WouldRollBack]
    waiting for a person at 5 %: regression: queue_lag worse [ask, observe 2, notify Asked]
    taking traffic off the candidate (regression: queue_lag worse, and nobody answered in time) [shift 0 %]
    ");
}

#[test]
fn what_acts_by_itself_still_does_while_a_person_is_asked() {
    let story = [
        good(),
        good(),
        good(),
        on_regressed("queue_lag", OnRegressed::Ask),
        healthy(),
        on_regressed("errors", OnRegressed::RollBack),
    ];
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    waiting for a person at 5 %: regression: queue_lag worse [ask, observe 1, notify Asked]
    waiting for a person at 5 %: regression: queue_lag worse []
    taking traffic off the candidate (regression: errors worse) [shift 0 %]
    ");
}

#[test]
fn an_absence_leads_where_its_setting_says() {
    let story = |happening| [good(), good(), good(), happening];
    let asked = play(&canary(), &story(lacks(Lack::MissingMetric, OnInconclusive::Ask)));
    assert_snapshot!(asked, @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    waiting for a person at 5 %: queue_lag says nothing [ask, observe 1, notify Asked]
    ");
    let back = play(
        &canary(),
        &story(lacks(Lack::FailedQuery, OnInconclusive::RollBack)),
    );
    assert_snapshot!(back, @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    taking traffic off the candidate (inconclusive: queue_lag says nothing) [shift 0 %]
    ");
    let told = play(
        &canary(),
        &story(lacks(Lack::FailedQuery, OnInconclusive::Report)),
    );
    assert_snapshot!(told, @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    shifting 25 % to the candidate [shift 25 %, observe 1, notify Inconclusive]
    ");
    let mut longer = Vec::from(story(lacks(Lack::NoTraffic, OnInconclusive::Extend)));
    longer.push(healthy());
    assert_snapshot!(play(&canary(), &longer), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % [observe 1]
    shifting 25 % to the candidate [shift 25 %, observe 2]
    ");
}

#[test]
fn what_a_step_lacked_is_kept_for_the_notice() {
    let mut plan = canary();
    let mut state = start(&plan);
    plan.limits = Limits::default();
    for happening in [
        good(),
        good(),
        good(),
        lacks(Lack::MissingMetric, OnInconclusive::Report),
    ] {
        let event = happening(&plan, &state);
        state = step(&plan, state, event).0;
    }
    assert_eq!(state.unproven.as_deref(), Some("queue_lag says nothing"));
}

/// Events that were journalled before metrics had settings read as they did.
#[test]
fn verdicts_without_a_setting_still_read() {
    let old = r#"{"is":"regressed","reason":"errors"}"#;
    let verdict: Verdict = serde_json::from_str(old).unwrap();
    assert_eq!(verdict, Verdict::regressed("errors"));
    assert_eq!(serde_json::to_string(&verdict).unwrap(), old);
}
