//! How soon a bad candidate is called, beside what nobody can beat.

use fastrand::Rng;
use trimtab_detection::verdict::{Config, Decision, Judge, Metric, Share, expected_units};

use crate::report::Report;
use crate::stream::{Behaviour, World};

/// Mean candidate requests and seconds to the call, and the share of runs that called in time.
pub(crate) struct Found {
    pub(crate) candidate: f64,
    /// The 95th percentile of the same.
    pub(crate) candidate_p95: f64,
    pub(crate) seconds: f64,
    pub(crate) called: f64,
}

pub(crate) fn errors_only(config: Config) -> Config {
    let mut config = config;
    config.mixture.metrics = vec![Share {
        metric: Metric::Errors,
        weight: 1.0,
    }];
    config
}

/// Plays until the call, or `seconds_max`.
pub(crate) fn play(config: &Config, world: &World<'_>, past: bool, seconds_max: f64, runs: u64) -> Found {
    let (mut candidates, mut seconds) = (Vec::new(), 0.0);
    for seed in 0..runs {
        let mut random = Rng::with_seed(seed * 6_151 + 5);
        let past = past.then(|| world.past(10, 600, &mut random));
        let mut judge = Judge::new(config.clone(), past);
        let mut seen = 0;
        for frame in 1..=(seconds_max * 1_000.0 / world.frame_ms as f64) as i64 {
            let batch = world.frame(frame, &mut random);
            seen += batch.candidate.requests;
            judge.add(&batch);
            if judge.decision() == Decision::Regressed {
                candidates.push(seen);
                seconds += (frame * world.frame_ms) as f64 / 1_000.0;
                break;
            }
        }
    }
    candidates.sort_unstable();
    let calls = candidates.len().max(1) as f64;
    Found {
        candidate: candidates.iter().sum::<u64>() as f64 / calls,
        candidate_p95: candidates
            .get(candidates.len() * 95 / 100)
            .map_or(f64::NAN, |&n| n as f64),
        seconds: seconds / calls,
        called: candidates.len() as f64 / runs as f64,
    }
}

/// Candidate requests that tests take which know both rates beforehand: Wald's, on the candidate alone, and
/// the one that must not rely on the baseline's rate but compares the arms. What they overshoot is counted.
fn oracles(a: f64, b: f64, w: f64, runs: u64) -> (f64, f64) {
    let (mut wald, mut two) = (0u64, 0u64);
    let m = (1.0 - w) * a + w * b;
    let bet = |bad: bool, p: f64, q: f64| {
        if bad {
            (p / q).ln()
        } else {
            ((1.0 - p) / (1.0 - q)).ln()
        }
    };
    for seed in 0..runs {
        let mut random = Rng::with_seed(seed * 2_654_435_761 + 11);
        let mut evidence = 0.0;
        while evidence < 100f64.ln() {
            evidence += bet(random.f64() < b, b, a);
            wald += 1;
        }
        evidence = 0.0;
        while evidence < 100f64.ln() {
            let own = if random.f64() < w { b } else { a };
            evidence += bet(random.f64() < own, own, m);
            two += u64::from(own == b);
        }
    }
    (wald as f64 / runs as f64, two as f64 / runs as f64)
}

pub(crate) fn run(report: &mut Report, runs: u64) {
    report.heading("errors: candidate requests to the call (errors alone; all metrics; Wald's test and bound; two samples)");
    let cases = [
        ("1_to_5_at_5", 0.01, 0.05, 0.05, 1),
        ("1_to_2_at_5", 0.01, 0.02, 0.05, 4),
        ("01_to_1_at_5", 0.001, 0.01, 0.05, 2),
        ("1_to_5_at_10", 0.01, 0.05, 0.1, 1),
        ("1_to_2_at_10", 0.01, 0.02, 0.1, 4),
        ("1_to_2_at_50", 0.01, 0.02, 0.5, 4),
        ("1_to_50_at_5", 0.01, 0.5, 0.05, 1),
        ("1_to_50_at_10", 0.01, 0.5, 0.1, 1),
        ("1_to_50_at_50", 0.01, 0.5, 0.5, 1),
    ];
    for (name, a, b, w, rarer) in cases {
        let world = World {
            requests_per_second: 20.0,
            // One request or so a batch, where that counts: what the test can do, without a frame's wait.
            frame_ms: if rarer > 1 { 500 } else { 50 },
            latencies: false,
            weight: &|_| w,
            baseline: &|_| Behaviour::failing(a),
            candidate: &|_| Behaviour::failing(b),
        };
        let runs = runs.max(50);
        let alone = play(&errors_only(Config::default()), &world, false, 50_000.0, runs);
        let all = play(&Config::default(), &world, false, 50_000.0, runs);
        let Some(bound) = expected_units(a, b, w, 0.01) else {
            continue;
        };
        let (wald, two) = oracles(a, b, w, 2 * runs);
        report.figure(
            &format!("verdict_errors_{name}_candidate_requests"),
            alone.candidate,
        );
        report.figure(
            &format!("verdict_errors_{name}_all_metrics_candidate_requests"),
            all.candidate,
        );
        report.figure(&format!("verdict_errors_{name}_wald_candidate_requests"), wald);
        report.figure(
            &format!("verdict_errors_{name}_two_sample_candidate_requests"),
            two,
        );
        report.figure(
            &format!("verdict_errors_{name}_wald_bound_candidate_requests"),
            bound.wald_candidate,
        );
        let least = bound.two_sample_units * w;
        report.figure(
            &format!("verdict_errors_{name}_two_sample_bound_candidate_requests"),
            least,
        );
        report.row(&[
            name.to_owned(),
            format!("{:.1}", alone.candidate),
            format!("{:.1}", all.candidate),
            format!("{wald:.1} ({:.1})", bound.wald_candidate),
            format!("{two:.1} ({least:.1})"),
            format!(
                "{:.2} x Wald, {:.2} x two samples",
                alone.candidate / wald,
                alone.candidate / two
            ),
        ]);
        report.figure(
            &format!("verdict_errors_{name}_times_wald"),
            alone.candidate / wald,
        );
        report.figure(
            &format!("verdict_errors_{name}_times_two_sample"),
            alone.candidate / two,
        );
    }
    with_past(report, runs);
    latency(report, runs);
    rates(report, runs);
}

fn with_past(report: &mut Report, runs: u64) {
    report.heading("with the previous release's past: candidate requests, seconds");
    let cases = [
        ("1_to_50_at_50", 0.01, 0.5, 0.5, 20.0, 50),
        ("01_to_50_at_50", 0.001, 0.5, 0.5, 20.0, 50),
        ("full_switch_05_to_30_at_200_rps", 0.005, 0.3, 0.95, 200.0, 200),
        ("full_switch_05_to_5_at_200_rps", 0.005, 0.05, 0.95, 200.0, 200),
    ];
    for (name, a, b, w, requests_per_second, frame_ms) in cases {
        let world = World {
            requests_per_second,
            frame_ms,
            latencies: true,
            weight: &|_| w,
            baseline: &|_| Behaviour::failing(a),
            candidate: &|_| Behaviour::failing(b),
        };
        let found = play(&Config::default(), &world, true, 120.0, runs.min(500));
        report.figure(
            &format!("verdict_past_{name}_candidate_requests"),
            found.candidate,
        );
        report.figure(&format!("verdict_past_{name}_seconds"), found.seconds);
        report.row(&[
            name.to_owned(),
            format!("{:.1}", found.candidate),
            format!("{:.2} s", found.seconds),
        ]);
    }
}

fn latency(report: &mut Report, runs: u64) {
    report.heading("latency at 5 %: candidate requests to the call");
    for (name, factor, stuck) in [
        ("1.25_times", 1.25, 0.0),
        ("1.5_times", 1.5, 0.0),
        ("2_times", 2.0, 0.0),
        ("3_percent_stuck", 1.0, 0.03),
    ] {
        let world = World {
            requests_per_second: 20.0,
            frame_ms: 200,
            latencies: true,
            weight: &|_| 0.05,
            baseline: &|_| Behaviour::failing(0.005),
            candidate: &|_| Behaviour {
                stuck,
                ..Behaviour::failing(0.005).slower(factor)
            },
        };
        let found = play(&Config::default(), &world, false, 5_000.0, runs.min(300));
        let key = name.replace('.', "_");
        report.figure(
            &format!("verdict_latency_{key}_candidate_requests"),
            found.candidate,
        );
        report.row(&[name.to_owned(), format!("{:.0}", found.candidate)]);
    }
}

fn rates(report: &mut Report, runs: u64) {
    report.heading("1 % to 5 % at 5 %, and to 50 %: seconds to the call by traffic");
    for requests_per_second in [1.0, 20.0, 200.0, 2_000.0] {
        for (name, b) in [("5", 0.05), ("50", 0.5)] {
            let world = World {
                requests_per_second,
                frame_ms: 200,
                latencies: false,
                weight: &|_| 0.05,
                baseline: &|_| Behaviour::failing(0.01),
                candidate: &|_| Behaviour::failing(b),
            };
            let found = play(
                &Config::default(),
                &world,
                false,
                40_000.0,
                (runs / 4).clamp(30, 500),
            );
            report.figure(
                &format!("verdict_1_to_{name}_at_{requests_per_second}_rps_seconds"),
                found.seconds,
            );
            report.row(&[
                format!("1 to {name} %, {requests_per_second} rps"),
                format!("{:.1} s", found.seconds),
            ]);
        }
    }
}
