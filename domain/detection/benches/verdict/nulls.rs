//! False alarms where nothing is wrong with the candidate.

use fastrand::Rng;
use trimtab_detection::verdict::{Config, Decision, Judge};

use crate::report::Report;
use crate::stream::{Behaviour, World};

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

fn outage_at_once(_: f64) -> Behaviour {
    Behaviour::failing(0.3).slower(3.0)
}

fn cold(seconds: f64) -> Behaviour {
    if seconds < 10.0 {
        flat(seconds).slower(6.0)
    } else {
        flat(seconds)
    }
}

/// The usual kinds of traffic.
fn usual() -> Vec<Scenario> {
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
    ]
}

/// Kinds that break tests which assume more than the coin.
fn unusual() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "diurnal",
            baseline: diurnal,
            candidate: diurnal,
            weight: |seconds| if seconds < 150.0 { 0.1 } else { 0.5 },
            ..PLAIN
        },
        Scenario {
            name: "stretches_of_failures",
            baseline: in_stretches,
            candidate: in_stretches,
            ..PLAIN
        },
        Scenario {
            name: "quantised_latencies",
            baseline: quantised,
            candidate: quantised,
            weight: |_| 0.25,
            ..PLAIN
        },
        Scenario {
            name: "no_errors_at_all",
            baseline: |_| Behaviour::failing(0.0),
            candidate: |_| Behaviour::failing(0.0),
            ..PLAIN
        },
        Scenario {
            name: "half_of_all_fail",
            baseline: |_| Behaviour::failing(0.5),
            candidate: |_| Behaviour::failing(0.5),
            weight: |_| 0.1,
            ..PLAIN
        },
        Scenario {
            name: "weight_steps",
            weight: |seconds| [0.05, 0.25, 0.5, 0.95][((seconds / 75.0) as usize).min(3)],
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

/// One percent of failures on average that come in stretches, in both arms alike.
fn in_stretches(seconds: f64) -> Behaviour {
    // A fixed pattern of stretches of half a second to two seconds, unlike in length and spacing.
    let phase = (seconds * 0.37).sin() + (seconds * 0.113).sin() + (seconds * 1.7).sin();
    if phase > 2.2 {
        Behaviour::failing(0.18).slower(2.5)
    } else {
        Behaviour::failing(0.003)
    }
}

/// A day's rhythm within the run: rates and latencies swing by half and back, several times.
fn diurnal(seconds: f64) -> Behaviour {
    let swing = (seconds / 50.0 * std::f64::consts::TAU).sin();
    Behaviour::failing(0.01 * (1.0 + 0.8 * swing)).slower(1.0 + 0.5 * swing)
}

/// Nearly all latencies are the same few values.
fn quantised(_: f64) -> Behaviour {
    Behaviour {
        tick_ms: 10.0,
        sigma: 0.25,
        ..Behaviour::failing(0.01)
    }
}

/// With a past whose rates are those of the first second.
fn with_past() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "steps_with_past",
            requests_per_second: 50.0,
            weight: |seconds| [0.05, 0.25, 0.5, 0.95][((seconds / 75.0) as usize).min(3)],
            past: true,
            ..PLAIN
        },
        Scenario {
            name: "low_traffic_with_past",
            requests_per_second: 0.5,
            seconds: 3_600.0,
            weight: |_| 0.5,
            past: true,
            ..PLAIN
        },
        Scenario {
            name: "stretches_of_failures_with_past",
            weight: |_| 0.25,
            past: true,
            baseline: in_stretches,
            candidate: in_stretches,
            ..PLAIN
        },
        Scenario {
            name: "outage_with_past_at_25",
            weight: |_| 0.25,
            past: true,
            baseline: outage,
            candidate: outage,
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
        Scenario {
            name: "full_switch_shared_outage_of_errors_alone",
            requests_per_second: 200.0,
            seconds: 30.0,
            weight: |_| 0.95,
            past: true,
            latencies: false,
            baseline: outage,
            candidate: outage,
            ..PLAIN
        },
        Scenario {
            name: "full_switch_shared_outage_20_rps",
            seconds: 60.0,
            weight: |_| 0.95,
            past: true,
            baseline: outage,
            candidate: outage,
            ..PLAIN
        },
        Scenario {
            name: "coincidence_outage_at_the_very_switch",
            requests_per_second: 200.0,
            seconds: 30.0,
            weight: |_| 0.95,
            past: true,
            baseline: outage_at_once,
            candidate: outage_at_once,
            ..PLAIN
        },
    ]
}

/// How many runs ended how.
#[derive(Default, Clone, Copy)]
struct Ends {
    called: u64,
    broken: u64,
    healthy: u64,
}

pub(crate) fn between_arms(report: &mut Report, runs: u64) {
    report.heading("nothing is wrong: share of runs in which a regression is called (alpha 1 %)");
    all(report, runs, usual());
    all(report, runs, unusual());
}

pub(crate) fn beside_past(report: &mut Report, runs: u64) {
    report.heading("the same beside the past; an outage of both arms is nobody's regression either");
    all(report, runs, with_past());
    all(report, runs, switched());
}

fn all(report: &mut Report, runs: u64, scenarios: Vec<Scenario>) {
    for scenario in scenarios {
        let Ends {
            called,
            broken,
            healthy,
        } = on_two_threads(runs, |seed| one(&scenario, seed));
        report.share(&format!("verdict_false_{}_percent", scenario.name), called, runs);
        let (broken, healthy) = (broken as f64 / runs as f64, healthy as f64 / runs as f64);
        report.note(&format!(
            "    routing called broken {:.2} %, healthy {:.0} %",
            broken * 100.0,
            healthy * 100.0
        ));
    }
}

fn on_two_threads(runs: u64, one: impl Fn(u64) -> Ends + Sync) -> Ends {
    let add = |x: Ends, y: Ends| Ends {
        called: x.called + y.called,
        broken: x.broken + y.broken,
        healthy: x.healthy + y.healthy,
    };
    let half = |first: u64| (first..runs).step_by(2).map(&one).fold(Ends::default(), add);
    std::thread::scope(|scope| {
        let odd = scope.spawn(|| half(1));
        let even = half(0);
        add(even, odd.join().unwrap_or_default())
    })
}

fn one(scenario: &Scenario, seed: u64) -> Ends {
    let world = World {
        requests_per_second: scenario.requests_per_second,
        frame_ms: match scenario.requests_per_second {
            ..5.0 => 2_000,
            ..100.0 => 500,
            _ => 200,
        },
        latencies: scenario.latencies,
        weight: &scenario.weight,
        baseline: &scenario.baseline,
        candidate: &scenario.candidate,
    };
    // What came before was quiet, or swung as it does in the run.
    let quiet = World {
        baseline: if scenario.name.contains("outage") {
            &flat
        } else {
            &scenario.baseline
        },
        ..world
    };
    let mut random = Rng::with_seed(seed * 7_919 + 1);
    let past = scenario.past.then(|| quiet.past(10, 600, &mut random));
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
    Ends {
        called: u64::from(judge.decision() == Decision::Regressed),
        broken: u64::from(judge.decision() == Decision::RoutingBroken),
        healthy: u64::from(was_healthy),
    }
}
