//! What people are shown beside the verdict: do intervals cover, and do forecasts come true?

use fastrand::Rng;
use trimtab_detection::verdict::{Config, Decision, Judge, Metric, expected_with_past};

use crate::detect::play;
use crate::report::Report;
use crate::stream::{Behaviour, World};

/// The baseline's rate drifts from 0.5 to 6 %; the candidate's is always 2 points above.
fn drifting(seconds: f64) -> Behaviour {
    Behaviour::failing(0.005 + 0.055 * (seconds / 300.0).min(1.0))
}

fn drifting_above(seconds: f64) -> Behaviour {
    Behaviour::failing(drifting(seconds).errors + 0.02)
}

fn steps(seconds: f64) -> f64 {
    [0.05, 0.25, 0.5, 0.75][((seconds / 75.0) as usize).min(3)]
}

pub(crate) fn run(report: &mut Report, runs: u64) {
    report.heading(
        "intervals of the effect: share of runs in which one ever left out the true effect (5 % allowed)",
    );
    let quarter = |_: f64| 0.25;
    let flat = |rate: f64| move |_: f64| Behaviour::failing(rate);
    interval(report, runs, "flat", 0.02, &quarter, &flat(0.01), &flat(0.03));
    interval(report, runs, "no_effect", 0.0, &quarter, &flat(0.01), &flat(0.01));
    interval(report, runs, "drift", 0.02, &quarter, &drifting, &drifting_above);
    interval(
        report,
        runs,
        "drift_and_steps",
        0.02,
        &steps,
        &drifting,
        &drifting_above,
    );
    interval(
        report,
        runs,
        "drift_and_steps_no_effect",
        0.0,
        &steps,
        &drifting,
        &drifting,
    );
    before_start(report, runs);
    on_the_way(report, runs);
}

fn interval(
    report: &mut Report,
    runs: u64,
    name: &str,
    effect: f64,
    weight: &dyn Fn(f64) -> f64,
    baseline: &dyn Fn(f64) -> Behaviour,
    candidate: &dyn Fn(f64) -> Behaviour,
) {
    let world = World {
        requests_per_second: 20.0,
        frame_ms: 500,
        latencies: false,
        weight,
        baseline,
        candidate,
    };
    let (mut missed, mut widths) = (0, 0.0);
    for seed in 0..runs {
        let mut random = Rng::with_seed(seed * 48_271 + 9);
        let mut judge = Judge::new(Config::default(), None);
        let (mut out, mut width) = (false, 0.0);
        for frame in 1..=600 {
            judge.add(&world.frame(frame, &mut random));
            if frame % 4 == 0 {
                let metrics = judge.verdict().metrics;
                if let Some(errors) = metrics.iter().find(|m| m.metric == Metric::Errors) {
                    out |= effect < errors.interval.0 || effect > errors.interval.1;
                    width = errors.interval.1 - errors.interval.0;
                }
            }
        }
        missed += u64::from(out);
        widths += width;
    }
    report.share(&format!("verdict_interval_missed_{name}_percent"), missed, runs);
    report.note(&format!(
        "    width after five minutes {:.4}",
        widths / runs as f64
    ));
}

/// The forecast that is made before a rollout starts, against the mean over runs.
fn before_start(report: &mut Report, runs: u64) {
    report.heading("forecast before the start: expected requests over the mean of those it took");
    for (name, a, b, w) in [
        ("1_to_5_at_5", 0.01, 0.05, 0.05),
        ("1_to_2_at_5", 0.01, 0.02, 0.05),
        ("1_to_50_at_5", 0.01, 0.5, 0.05),
        ("1_to_5_at_50", 0.01, 0.05, 0.5),
        ("05_to_5_at_95", 0.005, 0.05, 0.95),
    ] {
        let world = World {
            requests_per_second: 20.0,
            frame_ms: 200,
            latencies: false,
            weight: &|_| w,
            baseline: &|_| Behaviour::failing(a),
            candidate: &|_| Behaviour::failing(b),
        };
        let found = play(
            &Config::default(),
            &world,
            true,
            20_000.0,
            (runs / 4).clamp(40, 500),
        );
        let Some(forecast) = expected_with_past(a, b, w, 0.01) else {
            continue;
        };
        let ratio = forecast.candidate / found.candidate;
        report.figure(&format!("verdict_forecast_{name}_ratio"), ratio);
        report.row(&[
            name.to_owned(),
            format!("{:.0} expected", forecast.candidate),
            format!("{:.0} taken", found.candidate),
            format!("{ratio:.2}"),
        ]);
    }
}

/// "Units still needed", read 20, 60 and 120 s after the start in runs without a verdict by then.
fn on_the_way(report: &mut Report, runs: u64) {
    report.heading("units still needed, over those it still took, read 20, 60 and 120 s after the start: median, and middle half of the runs");
    for (name, b, w) in [
        ("regressed_1_to_5_at_5", 0.05, 0.05),
        ("regressed_1_to_3_at_25", 0.03, 0.25),
        ("healthy_at_25", 0.01, 0.25),
        ("healthy_at_5", 0.01, 0.05),
    ] {
        let world = World {
            requests_per_second: 20.0,
            frame_ms: 1_000,
            latencies: false,
            weight: &|_| w,
            baseline: &|_| Behaviour::failing(0.01),
            candidate: &|_| Behaviour::failing(b),
        };
        let mut ratios: [Vec<f64>; 3] = Default::default();
        for seed in 0..(runs / 4).clamp(40, 500) {
            let Some(readings) = readings(&world, seed) else {
                continue;
            };
            let total = readings.last().map_or(0, |(seen, _)| *seen) as f64;
            for (second, ratios) in [20, 60, 120].into_iter().zip(&mut ratios) {
                if let Some(&(seen, Some(needed))) = readings.get(second - 1) {
                    ratios.push(needed as f64 / (total - seen as f64).max(1.0));
                }
            }
        }
        for (second, ratios) in ["20", "60", "120"].into_iter().zip(&mut ratios) {
            ratios.sort_by(f64::total_cmp);
            let at = |share: f64| {
                ratios
                    .get((ratios.len() as f64 * share) as usize)
                    .copied()
                    .unwrap_or(f64::NAN)
            };
            if !ratios.is_empty() {
                report.figure(&format!("verdict_needed_{name}_after_{second}_s_ratio"), at(0.5));
            }
            report.row(&[
                format!("{name}, after {second} s"),
                format!("{:.2}", at(0.5)),
                format!("{:.2} to {:.2}", at(0.25), at(0.75)),
                format!("{} runs", ratios.len()),
            ]);
        }
    }
}

/// Requests seen and units still needed after each second, until the verdict.
fn readings(world: &World<'_>, seed: u64) -> Option<Vec<(u64, Option<u64>)>> {
    let mut random = Rng::with_seed(seed * 65_537 + 3);
    let past = world.past(10, 600, &mut random);
    let mut judge = Judge::new(Config::default(), Some(past));
    let (mut seen, mut readings) = (0, Vec::new());
    for frame in 1..=3_000 {
        let batch = world.frame(frame, &mut random);
        seen += batch.baseline.requests + batch.candidate.requests;
        judge.add(&batch);
        let verdict = judge.verdict();
        readings.push((seen, verdict.units_needed));
        if verdict.decision != Decision::Inconclusive {
            return Some(readings);
        }
    }
    None
}
