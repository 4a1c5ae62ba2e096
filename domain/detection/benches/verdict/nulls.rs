//! False alarms where nothing is wrong with the candidate.

use fastrand::Rng;
use trimtab_detection::verdict::{Batch, Config, Decision, Judge};
use trimtab_model::{Timestamp, Weight};

use crate::report::Report;
use crate::stream::{Behaviour, World, poisson};

struct Scenario {
    name: &'static str,
    requests_per_second: f64,
    seconds: f64,
    latencies: bool,
    /// Whether the previous release's past is compared with too.
    past: bool,
    weight: fn(f64) -> f64,
    baseline: fn(f64) -> Behaviour,
    candidate: fn(f64) -> Behaviour,
    /// Seconds of warm-up that are left out of both arms.
    skip: f64,
}

fn flat(_: f64) -> Behaviour {
    Behaviour::failing(0.01)
}

const PLAIN: Scenario = Scenario {
    name: "",
    requests_per_second: 20.0,
    seconds: 300.0,
    latencies: true,
    past: false,
    weight: |_| 0.05,
    baseline: flat,
    candidate: flat,
    skip: 0.0,
};

fn drifting(seconds: f64) -> Behaviour {
    Behaviour::failing(0.002 + 0.03 * seconds / 300.0).slower(1.0 + seconds / 100.0)
}

fn bursting(seconds: f64) -> Behaviour {
    if seconds % 60.0 < 8.0 {
        Behaviour::failing(0.3).slower(4.0)
    } else {
        flat(seconds)
    }
}

fn heavy(_: f64) -> Behaviour {
    Behaviour {
        sigma: 1.8,
        stuck: 0.01,
        ..Behaviour::failing(0.01)
    }
}

fn outage(seconds: f64) -> Behaviour {
    if seconds > 10.0 {
        Behaviour::failing(0.3).slower(3.0)
    } else {
        flat(seconds)
    }
}

fn cold(seconds: f64) -> Behaviour {
    if seconds < 10.0 {
        flat(seconds).slower(6.0)
    } else {
        flat(seconds)
    }
}

fn scenarios() -> Vec<Scenario> {
    let steps = |seconds: f64| [0.05, 0.25, 0.5, 0.95][((seconds / 75.0) as usize).min(3)];
    vec![
        Scenario {
            name: "1_rps",
            requests_per_second: 1.0,
            seconds: 3_600.0,
            ..PLAIN
        },
        Scenario {
            name: "20_rps",
            ..PLAIN
        },
        Scenario {
            name: "200_rps",
            requests_per_second: 200.0,
            seconds: 60.0,
            ..PLAIN
        },
        Scenario {
            name: "2000_rps",
            requests_per_second: 2_000.0,
            seconds: 10.0,
            ..PLAIN
        },
        Scenario {
            name: "errors_only_50_percent",
            latencies: false,
            weight: |_| 0.5,
            ..PLAIN
        },
        Scenario {
            name: "drift",
            baseline: drifting,
            candidate: drifting,
            weight: |_| 0.25,
            ..PLAIN
        },
        Scenario {
            name: "bursts_in_both_arms",
            baseline: bursting,
            candidate: bursting,
            ..PLAIN
        },
        Scenario {
            name: "heavy_tails",
            baseline: heavy,
            candidate: heavy,
            ..PLAIN
        },
        Scenario {
            name: "weight_steps",
            weight: steps,
            ..PLAIN
        },
        Scenario {
            name: "cold_candidate",
            candidate: cold,
            skip: 10.0,
            weight: |_| 0.25,
            ..PLAIN
        },
    ]
}

/// After a full switch, with a holdback of 5 %.
fn switched() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "full_switch_with_past",
            requests_per_second: 200.0,
            seconds: 30.0,
            weight: |_| 0.95,
            past: true,
            ..PLAIN
        },
        Scenario {
            name: "full_switch_shared_outage",
            requests_per_second: 200.0,
            seconds: 30.0,
            weight: |_| 0.95,
            past: true,
            baseline: outage,
            candidate: outage,
            ..PLAIN
        },
    ]
}

pub(crate) fn run(report: &mut Report, runs: u64) {
    report.heading("nothing is wrong: share of runs in which a regression is called (alpha 1 %)");
    for scenario in scenarios().into_iter().chain(switched()) {
        let world = World {
            requests_per_second: scenario.requests_per_second,
            frame_ms: if scenario.requests_per_second < 5.0 {
                1_000
            } else {
                200
            },
            latencies: scenario.latencies,
            weight: &scenario.weight,
            baseline: &scenario.baseline,
            candidate: &scenario.candidate,
        };
        let (mut called, mut broken, mut healthy) = (0, 0, 0);
        for seed in 0..runs {
            let mut random = Rng::with_seed(seed * 7_919 + 1);
            let past = scenario.past.then(|| world.past(10, 600, &mut random));
            let mut judge = Judge::new(Config::default(), past);
            let mut was_healthy = false;
            for frame in 1..=(scenario.seconds * 1_000.0 / world.frame_ms as f64) as i64 {
                let batch = world.frame(frame, &mut random);
                if (frame * world.frame_ms) as f64 / 1_000.0 > scenario.skip {
                    judge.add(&batch);
                }
                match judge.decision() {
                    Decision::Regressed | Decision::RoutingBroken => break,
                    Decision::Healthy => was_healthy = true,
                    Decision::Inconclusive => {}
                }
            }
            called += u64::from(judge.decision() == Decision::Regressed);
            broken += u64::from(judge.decision() == Decision::RoutingBroken);
            healthy += u64::from(was_healthy);
        }
        report.share(&format!("verdict_false_{}_percent", scenario.name), called, runs);
        let (broken, healthy) = (broken as f64 / runs as f64, healthy as f64 / runs as f64);
        report.note(&format!(
            "    routing called broken {:.2} %, healthy {:.0} %",
            broken * 100.0,
            healthy * 100.0
        ));
    }
    sticky(report, runs);
}

/// Users stick to an arm, make a heavy-tailed number of requests, and 2 % of them fail in 40 %.
fn sticky(report: &mut Report, runs: u64) {
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
