#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use trimtab_model::{LatencyHistogram, Weight};

use super::super::{Batch, Config, Decision, Judge, Lanes, Outcomes, Panel, Standing, Subject};
use super::*;

const ALPHA: f64 = 0.01;
const RUNS: usize = 4_000;

fn config(kind: CustomKind) -> CustomConfig {
    CustomConfig {
        name: "queue_lag".to_owned(),
        kind,
        tolerance: Tolerance::Share(0.0),
        share: 0.2,
        intervals_min: 5,
        unit: "s".to_owned(),
        lane: 0,
    }
}

fn at(interval: usize) -> Timestamp {
    Timestamp(1_000_000 + 10_000 * interval as i64)
}

/// Roughly normal: the sum of twelve uniform draws.
fn normal(random: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

/// The share of runs of 150 intervals in which the evidence of one metric alone ever reaches 1/alpha.
fn fired(kind: CustomKind, seed: u64, mut reading: impl FnMut(&mut fastrand::Rng, usize) -> Reading) -> f64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut fired = 0;
    for _ in 0..RUNS {
        let mut custom = Custom::new(config(kind));
        for interval in 0..150 {
            custom.take(at(interval), &reading(&mut random, interval));
            if custom.log_e() >= (1.0 / ALPHA).ln() {
                fired += 1;
                break;
            }
        }
    }
    fired as f64 / RUNS as f64
}

/// Three standard errors above alpha.
fn limit() -> f64 {
    ALPHA + 3.0 * (ALPHA * (1.0 - ALPHA) / RUNS as f64).sqrt()
}

#[test]
fn equal_figures_fire_no_more_often_than_alpha() {
    let figures = |baseline, candidate| Reading::Figures { baseline, candidate };
    // The tolerance is nothing here: the hardest case.
    let plain = fired(CustomKind::LowerIsBetter, 1, |r, _| figures(normal(r), normal(r)));
    // Tails without a mean.
    let tails = fired(CustomKind::HigherIsBetter, 2, |r, _| {
        figures(1.0 / (r.f64() + 1e-12), 1.0 / (r.f64() + 1e-12))
    });
    // Both arms drift and burst together.
    let mut level = 0.0;
    let bursts = fired(CustomKind::LowerIsBetter, 3, |r, interval| {
        level = if interval == 0 {
            0.0
        } else {
            0.95 * level + normal(r)
        };
        let burst = if r.f64() < 0.05 { 100.0 } else { 0.0 };
        figures(level + burst + normal(r), level + burst + normal(r))
    });
    for share in [plain, tails, bursts] {
        assert!(share <= limit(), "{share}");
    }
}

#[test]
fn equal_rates_of_counts_fire_no_more_often_than_alpha() {
    let (mut baseline, mut candidate) = ([0.0; 2], [0.0; 2]);
    let share = fired(CustomKind::Counts, 4, |r, interval| {
        if interval == 0 {
            (baseline, candidate) = ([0.0; 2], [0.0; 2]);
        }
        // One in twenty goes to the candidate, and the rate that both share wanders.
        let rate = 0.01 + 0.04 * (interval as f64 / 20.0).sin().abs();
        for (arm, events) in [(&mut baseline, 190), (&mut candidate, 10)] {
            arm[1] += f64::from(events);
            arm[0] += (0..events).filter(|_| r.f64() < rate).count() as f64;
        }
        let counters = |arm: [f64; 2]| Counters {
            bad: arm[0],
            total: arm[1],
        };
        Reading::Counters {
            baseline: counters(baseline),
            candidate: counters(candidate),
        }
    });
    assert!(share <= limit(), "{share}");
}

#[test]
fn a_worse_figure_is_called_within_a_dozen_intervals() {
    let mut custom = Custom::new(CustomConfig {
        tolerance: Tolerance::Share(0.25),
        ..config(CustomKind::LowerIsBetter)
    });
    let needed = (1.0 / (ALPHA * 0.2f64)).ln();
    let mut random = fastrand::Rng::with_seed(5);
    let called = (0..60).find(|interval| {
        let (baseline, candidate) = (2.0 + 0.2 * normal(&mut random), 4.0 + 0.2 * normal(&mut random));
        custom.take(at(*interval), &Reading::Figures { baseline, candidate });
        custom.log_e() >= needed
    });
    assert!(called.is_some_and(|interval| interval < 12), "{called:?}");
    let evidence = custom.evidence();
    let (low, high) = evidence.interval.unwrap();
    assert!(low > 1.0 && high < 3.0, "{low} {high}");
    assert!(
        custom.describe().contains("worse than tolerated in 1"),
        "{}",
        custom.describe()
    );
}

#[test]
fn what_is_within_the_tolerance_is_well() {
    for (tolerance, well) in [
        (Tolerance::Share(0.25), true),
        (Tolerance::Absolute(0.5), true),
        (Tolerance::Absolute(0.2), false),
    ] {
        let mut custom = Custom::new(CustomConfig {
            tolerance,
            ..config(CustomKind::HigherIsBetter)
        });
        for interval in 0..10 {
            let reading = Reading::Figures {
                baseline: 2.0,
                candidate: 1.6,
            };
            custom.take(at(interval), &reading);
        }
        assert_eq!(
            custom.open().is_none(),
            well,
            "{tolerance:?}: {:?}",
            custom.open()
        );
    }
}

#[test]
fn an_absence_is_never_good() {
    let well = Reading::Figures {
        baseline: 2.0,
        candidate: 2.0,
    };
    for absence in [Absence::NoTraffic, Absence::MissingMetric, Absence::FailedQuery] {
        let mut custom = Custom::new(config(CustomKind::LowerIsBetter));
        (0..8).for_each(|interval| custom.take(at(interval), &well));
        assert_eq!(custom.open(), None);
        let (intervals, log_e) = (custom.evidence().intervals, custom.log_e());
        custom.take(at(8), &Reading::Nothing(absence, "why".to_owned()));
        let (said, reason) = custom.open().unwrap();
        assert_eq!(said, Some(absence));
        assert!(
            reason.contains("queue_lag: why") && reason.contains(absence.as_str()),
            "{reason}"
        );
        // It is no evidence either way.
        assert_eq!((custom.evidence().intervals, custom.log_e()), (intervals, log_e));
        custom.take(at(9), &well);
        assert_eq!(custom.open(), None);
    }
    let mut custom = Custom::new(config(CustomKind::LowerIsBetter));
    let nan = Reading::Figures {
        baseline: f64::NAN,
        candidate: 2.0,
    };
    custom.take(at(0), &nan);
    assert_eq!(custom.open().unwrap().0, Some(Absence::MissingMetric));
}

#[test]
fn counters_that_begin_anew_are_left_out() {
    let mut custom = Custom::new(config(CustomKind::Counts));
    let counters = |bad, total| Counters { bad, total };
    let mut take = |interval, baseline, candidate| {
        custom.take(at(interval), &Reading::Counters { baseline, candidate });
        (custom.baseline, custom.candidate)
    };
    assert_eq!(
        take(0, counters(50.0, 900.0), counters(0.0, 3.0)),
        Default::default()
    );
    let seen = take(1, counters(51.0, 1000.0), counters(1.0, 13.0));
    assert_eq!(seen, (Tally::new(100, 1), Tally::new(10, 1)));
    assert_eq!(take(2, counters(1.0, 10.0), counters(1.0, 23.0)), seen);
    let seen = take(3, counters(1.0, 110.0), counters(1.0, 33.0));
    assert_eq!(seen, (Tally::new(200, 1), Tally::new(20, 1)));
}

fn batch(interval: usize, baseline: (u64, u64), candidate: (u64, u64)) -> Batch {
    let outcomes = |(requests, refused): (u64, u64)| {
        let mut latency = LatencyHistogram::default();
        (0..requests).for_each(|_| latency.record(5_000));
        Outcomes {
            requests,
            errors: 0,
            client_errors: refused,
            latency,
        }
    };
    let mut batch = Batch::new(at(interval), Weight::from_percent(50.0).unwrap());
    batch.baseline = outcomes(baseline);
    batch.candidate = outcomes(candidate);
    batch
}

#[test]
fn a_metric_alone_calls_a_regression_and_shares_the_alpha() {
    let custom = vec![CustomConfig {
        tolerance: Tolerance::Share(0.25),
        ..config(CustomKind::LowerIsBetter)
    }];
    let alpha = Panel::alpha_of_judge(&custom, ALPHA);
    assert!((alpha - 0.008).abs() < 1e-12);
    let mut judge = Judge::new(
        Config {
            alpha,
            ..Config::default()
        },
        None,
    );
    let mut panel = Panel::new(custom, Lanes::default());
    for interval in 0..40 {
        judge.add(&batch(interval, (100, 0), (100, 0)));
        panel.decide(&judge, at(interval));
        let reading = Reading::Figures {
            baseline: 1.0,
            candidate: 3.0,
        };
        panel.take(&judge, "queue_lag", at(interval), &reading);
    }
    let verdict = panel.verdict(&judge);
    assert_eq!(verdict.decision, Decision::Regressed);
    assert_eq!(verdict.leading_custom.as_deref(), Some("queue_lag"));
    assert!((verdict.alpha - ALPHA).abs() < 1e-12 && verdict.alpha_left == 0.0);
    assert!(
        verdict.reason.starts_with("queue_lag: worse than tolerated in"),
        "{}",
        verdict.reason
    );
    // The counts alone are well.
    assert_eq!(judge.decision(), Decision::Healthy);
    let text = serde_json::to_string(&panel).unwrap();
    let read: Panel = serde_json::from_str(&text).unwrap();
    assert_eq!(read.decision(&judge), Decision::Regressed);
}

#[test]
fn lanes_are_called_by_themselves() {
    let lanes = Lanes {
        errors: 0,
        latency: 0,
        client_errors: 3,
    };
    let mut judge = Judge::new(Config::default(), None);
    let mut panel = Panel::new(Vec::new(), lanes);
    for interval in 0..40 {
        judge.add(&batch(interval, (100, 1), (100, 60)));
        panel.decide(&judge, at(interval));
    }
    let Standing::Regressed(call) = panel.standing(&judge, |_| false) else {
        panic!("{:?}", panel.standing(&judge, |_| false));
    };
    assert_eq!((call.lane, call.subject), (3, Subject::ClientErrors));
    // Once people know of it, what is left is judged by itself.
    assert_eq!(panel.standing(&judge, |lane| lane == 3), Standing::Healthy);
    let failing = {
        let mut failing = batch(41, (100, 0), (100, 0));
        failing.candidate.errors = 60;
        failing
    };
    judge.add(&failing);
    panel.decide(&judge, at(41));
    let Standing::Regressed(call) = panel.standing(&judge, |lane| lane == 3) else {
        panic!("{:?}", panel.standing(&judge, |lane| lane == 3));
    };
    assert_eq!((call.lane, call.subject), (0, Subject::Errors));
}

#[test]
fn without_settings_the_panel_is_the_judge() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut judge = Judge::new(Config::default(), None);
    let mut panel = Panel::default();
    for interval in 0..60 {
        let bad = random.u64(0..=2 + interval / 8);
        let mut batch = batch(interval as usize, (40, 0), (40, 0));
        batch.candidate.errors = bad;
        judge.add(&batch);
        panel.decide(&judge, at(interval as usize));
        assert_eq!(panel.decision(&judge), judge.decision(), "{interval}");
    }
    assert_eq!(panel.onset(), judge.onset());
}
