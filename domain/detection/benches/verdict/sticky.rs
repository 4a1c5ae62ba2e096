//! Users who stick to their arm: the unit of evidence is the user.

use std::collections::BTreeMap;

use fastrand::Rng;
use trimtab_detection::verdict::{Batch, Config, Decision, Judge, returning_weight};
use trimtab_model::{Timestamp, Weight};

use crate::report::Report;
use crate::stream::poisson;

pub(crate) fn run(report: &mut Report, runs: u64) {
    by_user_and_by_request(report, runs);
    let called = (0..runs).filter(|seed| over_steps(*seed)).count() as u64;
    report.share("verdict_false_sticky_over_steps_percent", called, runs);
}

/// Users come back at 5, 25 and 50 %, keep their own chance of failing, and count once in each step, with the
/// probability of being in the candidate given where they were before.
fn over_steps(seed: u64) -> bool {
    const USERS: usize = 1_500;
    let mut random = Rng::with_seed(seed * 15_485_863 + 7);
    let users: Vec<(f64, f64)> = (0..USERS)
        .map(|_| {
            let broken = random.f64() < 0.05;
            (random.f64(), if broken { 0.4 } else { 0.002 })
        })
        .collect();
    let mut judge = Judge::new(Config::default(), None);
    let mut seen: Vec<Option<f64>> = vec![None; USERS];
    let mut second = 0;
    for weight in [0.05, 0.25, 0.5] {
        for minute in 0..5 {
            let mut batches: BTreeMap<u32, Batch> = BTreeMap::new();
            // A fifth of the users come in each minute, half of them in each step at all.
            for user in (minute..USERS).step_by(5) {
                if random.bool() {
                    continue;
                }
                let (bucket, rate) = users[user];
                let given = match seen[user] {
                    None => Some(weight),
                    Some(before) => returning_weight(bucket < before, before, weight),
                };
                seen[user] = Some(weight);
                let Some(given) = given.and_then(|w| Weight::from_percent(w * 100.0).ok()) else {
                    continue;
                };
                let at = Timestamp(1_000_000 + second * 1_000);
                let batch = batches
                    .entry((given.probability() * 10_000.0).round() as u32)
                    .or_insert_with(|| Batch::new(at, given));
                let arm = if bucket < weight {
                    &mut batch.candidate
                } else {
                    &mut batch.baseline
                };
                arm.requests += 1;
                arm.errors += u64::from(random.f64() < rate);
            }
            batches.values().for_each(|batch| judge.add(batch));
            second += 60;
        }
    }
    judge.decision() == Decision::Regressed
}

/// Users stick to an arm, make a heavy-tailed number of requests, and 2 % of them fail in 40 %.
fn by_user_and_by_request(report: &mut Report, runs: u64) {
    let (mut by_request, mut by_user) = (0, 0);
    for seed in 0..runs {
        let mut random = Rng::with_seed(seed * 104_729 + 3);
        let weight = Weight::from_percent(5.0).unwrap_or_default();
        let judge = || Judge::new(Config::default(), None);
        let (mut requests, mut users) = (judge(), judge());
        for second in 0..600 {
            let mut all = Batch::new(Timestamp(1_000_000 + second * 1_000), weight);
            let mut first = all.clone();
            for _ in 0..poisson(&mut random, 10.0) {
                let candidate = random.f64() < 0.05;
                let rate = if random.f64() < 0.02 { 0.4 } else { 0.002 };
                let count = ((1.0 - random.f64()).powf(-1.0 / 1.2) as u64).clamp(1, 2_000);
                for n in 0..count {
                    let error = u64::from(random.f64() < rate);
                    let into = if candidate {
                        &mut all.candidate
                    } else {
                        &mut all.baseline
                    };
                    into.requests += 1;
                    into.errors += error;
                    if n == 0 {
                        let into = if candidate {
                            &mut first.candidate
                        } else {
                            &mut first.baseline
                        };
                        into.requests += 1;
                        into.errors += error;
                    }
                }
            }
            requests.add(&all);
            users.add(&first);
        }
        by_request += u64::from(requests.decision() == Decision::Regressed);
        by_user += u64::from(users.decision() == Decision::Regressed);
    }
    report.share("verdict_false_sticky_each_user_once_percent", by_user, runs);
    report.share(
        "verdict_false_sticky_counting_requests_wrongly_percent",
        by_request,
        runs,
    );
}
