//! The judge on simulated traffic.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use fastrand::Rng;
use trimtab_detection::verdict::{
    Assigned, Batch, Config, Decision, Judge, Metric, Outcomes, Past, SharedCause, Verdict,
};
use trimtab_model::{Timestamp, Weight};

/// Error rate and latency factor of an arm.
#[derive(Clone, Copy)]
struct Arm(f64, f64);

const FINE: Arm = Arm(0.005, 1.0);

fn one(into: &mut Outcomes, arm: Arm, random: &mut Rng) {
    let tail = (1.0 - random.f64()).powf(-0.5);
    into.record((8_000.0 * tail * arm.1) as u64, random.f64() < arm.0, false);
}

/// Frames of 200 ms at `per_second` requests; the arms behave as `how` says of a time in seconds.
struct Traffic {
    random: Rng,
    per_second: u64,
    frame: i64,
    owed: f64,
}

impl Traffic {
    fn new(seed: u64, per_second: u64) -> Self {
        let random = Rng::with_seed(seed);
        Traffic {
            random,
            per_second,
            frame: 0,
            owed: 0.0,
        }
    }

    fn seconds(&self) -> f64 {
        self.frame as f64 * 0.2
    }

    fn next(&mut self, percent: f64, baseline: Arm, candidate: Arm) -> Batch {
        self.frame += 1;
        let weight = Weight::from_percent(percent).unwrap();
        let mut batch = Batch::new(Timestamp(1_000_000 + self.frame * 200), weight);
        self.owed += self.per_second as f64 * 0.2;
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            if self.random.f64() < weight.probability() {
                one(&mut batch.candidate, candidate, &mut self.random);
            } else {
                one(&mut batch.baseline, baseline, &mut self.random);
            }
        }
        batch
    }

    fn past(&mut self, windows: usize, requests: u64) -> Past {
        let mut past = Past::default();
        for _ in 0..windows {
            let mut window = Outcomes::default();
            for _ in 0..requests {
                one(&mut window, FINE, &mut self.random);
            }
            past.push(window);
        }
        past
    }
}

/// Plays until a decision is reached or the seconds are over.
fn play(
    traffic: &mut Traffic,
    judge: &mut Judge,
    seconds: f64,
    stop_at: &[Decision],
    how: impl Fn(f64) -> (f64, Arm, Arm),
) -> Verdict {
    let end = traffic.seconds() + seconds;
    while traffic.seconds() < end {
        let (percent, baseline, candidate) = how(traffic.seconds());
        let batch = traffic.next(percent, baseline, candidate);
        judge.add(&batch);
        if stop_at.contains(&judge.decision()) {
            break;
        }
    }
    judge.verdict()
}

#[test]
fn a_bad_release_is_called_within_two_seconds_of_a_full_switch() {
    let (mut late, mut total) = (0, 0.0);
    for seed in 0..40 {
        let mut traffic = Traffic::new(seed, 200);
        let past = traffic.past(6, 500);
        let mut judge = Judge::new(Config::default(), Some(past));
        let verdict = play(&mut traffic, &mut judge, 20.0, &[Decision::Regressed], |_| {
            (95.0, FINE, Arm(0.3, 1.0))
        });
        assert_eq!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
        assert_eq!(verdict.leading, Some(Metric::Errors));
        assert_eq!(verdict.alpha_left, 0.0);
        total += traffic.seconds();
        late += u32::from(traffic.seconds() > 2.0);
    }
    assert!(
        total / 40.0 < 1.5 && late <= 2,
        "mean {:.2} s, late {late}",
        total / 40.0
    );
}

#[test]
fn a_release_that_fails_half_costs_six_of_its_requests() {
    for (percent, most) in [(5.0, 6.5), (25.0, 6.5), (50.0, 7.7)] {
        let (runs, mut served) = (200, 0);
        for seed in 0..runs {
            // Ten requests a second, so that a frame holds two.
            let mut traffic = Traffic::new(seed, 10);
            let past = traffic.past(10, 600);
            let mut judge = Judge::new(Config::default(), Some(past));
            let verdict = play(&mut traffic, &mut judge, 600.0, &[Decision::Regressed], |_| {
                (percent, FINE, Arm(0.5, 1.0))
            });
            assert_eq!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
            let errors = verdict.metrics.iter().find(|m| m.metric == Metric::Errors);
            served += errors.unwrap().candidate.units;
        }
        let mean = served as f64 / runs as f64;
        assert!(mean < most, "{mean} at {percent} %");
    }
}

#[test]
fn a_fault_in_the_midst_of_the_watch_is_called_within_four_seconds() {
    let mut traffic = Traffic::new(3, 200);
    let past = traffic.past(6, 500);
    let mut judge = Judge::new(Config::default(), Some(past));
    let verdict = play(&mut traffic, &mut judge, 25.0, &[Decision::Regressed], |_| {
        (95.0, FINE, FINE)
    });
    assert_eq!(verdict.decision, Decision::Healthy, "{}", verdict.reason);
    let verdict = play(&mut traffic, &mut judge, 25.0, &[Decision::Regressed], |_| {
        (95.0, FINE, Arm(0.3, 1.0))
    });
    assert_eq!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
    // Later trouble may be anyone's, so the holdback must be fine more surely than at the start.
    assert!(traffic.seconds() < 29.0, "{}", traffic.seconds());
    let onset = judge.onset().unwrap().0 - 1_000_000;
    assert!((24_000..26_500).contains(&onset), "{onset}");
}

#[test]
fn a_shared_outage_is_not_the_releases_fault() {
    let (mut called, mut shared) = (0, 0);
    for seed in 0..60 {
        let mut traffic = Traffic::new(seed, 200);
        let past = traffic.past(6, 500);
        let mut judge = Judge::new(Config::default(), Some(past));
        let outage = Arm(0.3, 3.0);
        let verdict = play(&mut traffic, &mut judge, 30.0, &[Decision::Regressed], |s| {
            if s < 10.0 {
                (95.0, FINE, FINE)
            } else {
                (95.0, outage, outage)
            }
        });
        called += u32::from(verdict.decision == Decision::Regressed);
        let past = verdict.past.unwrap();
        if past.shared == SharedCause::Yes {
            shared += 1;
            assert!(
                verdict.reason.contains("not this release's doing"),
                "{}",
                verdict.reason
            );
        }
    }
    // The check for a shared cause may be wrong in one of a hundred such outages.
    assert!(called <= 3, "{called}");
    assert!(shared >= 50, "{shared}");
}

#[test]
fn no_change_is_hardly_ever_called() {
    let (runs, mut called, mut healthy, mut broken) = (300, 0, 0, 0);
    for seed in 0..runs {
        let mut traffic = Traffic::new(1_000 + seed, 100);
        let past = (seed % 2 == 0).then(|| traffic.past(6, 500));
        let mut judge = Judge::new(Config::default(), past);
        let verdict = play(&mut traffic, &mut judge, 60.0, &[Decision::Regressed], |s| {
            // Weights change on the way; rates drift, and burst in both arms.
            let weight = [5.0, 25.0, 50.0, 95.0][(s / 15.0) as usize % 4];
            let rate = if (22.0..24.0).contains(&s) {
                0.2
            } else {
                0.004 + s / 60.0 * 0.002
            };
            (weight, Arm(rate, 1.0), Arm(rate, 1.0))
        });
        called += u32::from(verdict.decision == Decision::Regressed);
        broken += u32::from(verdict.decision == Decision::RoutingBroken);
        healthy += u32::from(verdict.decision == Decision::Healthy);
    }
    assert!(called <= 8, "{called} of {runs}");
    assert!(broken <= 2, "{broken} of {runs}");
    assert!(healthy >= runs as u32 / 2, "{healthy} of {runs}");
}

#[test]
fn a_worse_release_is_hardly_ever_called_healthy() {
    let (runs, mut healthy) = (200, 0);
    for seed in 0..runs {
        let mut traffic = Traffic::new(seed, 100);
        let mut judge = Judge::new(Config::default(), None);
        let stop = [Decision::Healthy, Decision::Regressed];
        let verdict = play(&mut traffic, &mut judge, 120.0, &stop, |_| {
            (25.0, FINE, Arm(0.03, 1.0))
        });
        healthy += u32::from(verdict.decision == Decision::Healthy);
    }
    assert!(healthy <= 10, "{healthy} of {runs}");
}

#[test]
fn slow_releases_are_called_by_latency() {
    let mut traffic = Traffic::new(5, 200);
    let mut judge = Judge::new(Config::default(), None);
    let verdict = play(&mut traffic, &mut judge, 60.0, &[Decision::Regressed], |_| {
        (5.0, FINE, Arm(0.005, 2.0))
    });
    assert_eq!(verdict.decision, Decision::Regressed, "{}", verdict.reason);
    assert!(
        verdict.reason.contains("take longer than the baseline's"),
        "{}",
        verdict.reason
    );
    let metric = verdict
        .metrics
        .iter()
        .find(|m| Some(m.metric) == verdict.leading)
        .unwrap();
    assert!(metric.effect > 0.0 && metric.threshold_ms.is_some());
    assert!(metric.candidate.quantile_ms > metric.baseline.quantile_ms);
}

#[test]
fn low_traffic_proves_nothing() {
    let mut traffic = Traffic::new(6, 1);
    let mut judge = Judge::new(Config::default(), None);
    let verdict = play(&mut traffic, &mut judge, 60.0, &[], |_| (5.0, FINE, FINE));
    assert_eq!(verdict.decision, Decision::Inconclusive);
    assert!(verdict.units_needed.unwrap() > 100);
    assert!(
        verdict.reason.contains("more requests are expected"),
        "{}",
        verdict.reason
    );
}

#[test]
fn a_wrong_split_voids_the_verdict() {
    let mut traffic = Traffic::new(7, 200);
    let mut judge = Judge::new(Config::default(), None);
    for _ in 0..100 {
        // Five per cent are said, ten are sent.
        let mut batch = traffic.next(10.0, FINE, FINE);
        batch.weight = Weight::from_percent(5.0).unwrap();
        judge.add(&batch);
    }
    let verdict = judge.verdict();
    assert_eq!(verdict.decision, Decision::RoutingBroken);
    assert!(
        verdict.reason.contains("routing is not as configured"),
        "{}",
        verdict.reason
    );
}

#[test]
fn a_hanging_candidate_is_no_broken_routing_when_draws_are_counted() {
    let mut traffic = Traffic::new(8, 200);
    let mut judge = Judge::new(Config::default(), None);
    for _ in 0..50 {
        let mut batch = traffic.next(50.0, FINE, FINE);
        batch.assigned = Some(Assigned {
            baseline: batch.baseline.requests,
            candidate: batch.candidate.requests,
        });
        batch.candidate = Outcomes::default();
        judge.add(&batch);
    }
    assert_ne!(judge.decision(), Decision::RoutingBroken);
}

#[test]
fn a_judge_survives_being_written_down() {
    let mut traffic = Traffic::new(9, 200);
    let past = traffic.past(3, 200);
    let mut judge = Judge::new(Config::default(), Some(past));
    play(&mut traffic, &mut judge, 3.0, &[], |_| (95.0, FINE, FINE));
    let text = serde_json::to_string(&judge).unwrap();
    let mut read: Judge = serde_json::from_str(&text).unwrap();
    let batch = traffic.next(95.0, FINE, Arm(0.5, 1.0));
    judge.add(&batch);
    read.add(&batch);
    assert!((judge.log_e() - read.log_e()).abs() < 1e-9);
    serde_json::to_string(&read.verdict()).unwrap();
}

#[test]
fn odd_input_does_no_harm() {
    let mut judge = Judge::new(Config::default(), Some(Past::default()));
    assert_eq!(judge.verdict().reason, "no traffic yet");
    let mut batch = Batch::new(Timestamp(i64::MAX), Weight::FULL);
    batch.candidate = Outcomes {
        requests: 3,
        errors: 9,
        client_errors: 9,
        ..Outcomes::default()
    };
    batch.baseline = Outcomes {
        requests: 1,
        ..Outcomes::default()
    };
    judge.add(&batch);
    batch.at = Timestamp(i64::MIN);
    batch.weight = Weight::from_percent(50.0).unwrap();
    judge.add(&batch);
    assert!(judge.log_e().is_finite());
    assert_eq!(judge.decision(), Decision::Inconclusive);
    let none = Config {
        mixture: trimtab_detection::verdict::Mixture {
            metrics: vec![],
            lifts: vec![],
        },
        ..Config::default()
    };
    let mut judge = Judge::new(none, None);
    judge.add(&batch);
    assert_eq!(judge.decision(), Decision::Inconclusive);
}
