//! Other ways to judge a canary, on the same traffic at a weight of 5 %.

use fastrand::Rng;
use trimtab_detection::verdict::Config;

use crate::detect::play;
use crate::report::Report;
use crate::stream::{Behaviour, World, binomial, poisson};

const MINUTES: usize = 60;

/// Requests and errors of both arms, minute by minute.
struct Minute {
    baseline: (u64, u64),
    candidate: (u64, u64),
}

fn hour(a: f64, b: f64, requests_per_second: f64, random: &mut Rng) -> Vec<Minute> {
    let mut arm = |share: f64, rate: f64| {
        let requests = poisson(random, requests_per_second * 60.0 * share);
        (requests, binomial(random, requests, rate))
    };
    (0..MINUTES)
        .map(|_| Minute {
            baseline: arm(0.95, a),
            candidate: arm(0.05, b),
        })
        .collect()
}

/// Flagger: one look a minute at the canary's success rate (99 %); so many failed looks in all roll back.
fn flagger(minutes: &[Minute], threshold: usize) -> Option<f64> {
    let mut failed = 0;
    for (n, minute) in minutes.iter().enumerate() {
        let (requests, errors) = minute.candidate;
        // No data counts as a failed look.
        failed += usize::from(requests == 0 || (requests - errors) as f64 / (requests as f64) < 0.99);
        if failed >= threshold {
            return Some((n + 1) as f64 * 60.0);
        }
    }
    None
}

/// Kayenta's judge: Mann and Whitney's test on minute points, with a tolerance of a quarter of the
/// baseline's mean, at 98 % (two-sided).
fn kayenta(minutes: &[Minute]) -> bool {
    let rate = |(requests, errors): (u64, u64)| errors as f64 / requests.max(1) as f64;
    let baseline: Vec<f64> = minutes.iter().map(|m| rate(m.baseline)).collect();
    let mean = baseline.iter().sum::<f64>() / baseline.len().max(1) as f64;
    let candidate: Vec<f64> = minutes.iter().map(|m| rate(m.candidate) - 0.25 * mean).collect();
    let (n, m) = (baseline.len() as f64, candidate.len() as f64);
    let mut wins = 0.0;
    for c in &candidate {
        for b in &baseline {
            wins += if c > b {
                1.0
            } else if c == b {
                0.5
            } else {
                0.0
            };
        }
    }
    let spread = (n * m * (n + m + 1.0) / 12.0).sqrt();
    n >= 4.0 && (wins - n * m / 2.0 - 0.5) / spread > 2.326
}

/// A two-proportion z-test at 1 % (one-sided), read every 100 requests.
fn peeking(a: f64, b: f64, requests_per_second: f64, random: &mut Rng) -> Option<f64> {
    let (mut baseline, mut candidate) = ((0u64, 0u64), (0u64, 0u64));
    for look in 1..=(requests_per_second * 36.0) as u64 {
        let sent = binomial(random, 100, 0.05);
        candidate = (candidate.0 + sent, candidate.1 + binomial(random, sent, b));
        baseline = (
            baseline.0 + 100 - sent,
            baseline.1 + binomial(random, 100 - sent, a),
        );
        let (n, m) = (baseline.0 as f64, candidate.0 as f64);
        let pooled = (baseline.1 + candidate.1) as f64 / (n + m);
        let spread = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        if m >= 1.0 && spread > 0.0 && (candidate.1 as f64 / m - baseline.1 as f64 / n) / spread > 2.326 {
            return Some(look as f64 * 100.0 / requests_per_second);
        }
    }
    None
}

pub(crate) fn run(report: &mut Report, runs: u64) {
    report.heading("rivals within an hour at 5 %: share of runs that roll back, mean seconds until then");
    for requests_per_second in [20.0, 200.0] {
        for (name, a, b) in [
            ("no_change", 0.01, 0.01),
            ("1_to_2", 0.01, 0.02),
            ("1_to_5", 0.01, 0.05),
            ("1_to_50", 0.01, 0.5),
        ] {
            let runs = (runs / 4).clamp(40, 2_000);
            let mut tally = |rival: &str, calls: Vec<Option<f64>>| {
                let called: Vec<f64> = calls.iter().flatten().copied().collect();
                let share = called.len() as f64 / calls.len().max(1) as f64;
                let seconds = called.iter().sum::<f64>() / called.len().max(1) as f64;
                let key = format!("rival_{rival}_{name}_at_{requests_per_second}_rps");
                report.figure(&format!("{key}_percent"), share * 100.0);
                if !called.is_empty() {
                    report.figure(&format!("{key}_seconds"), seconds);
                }
                let when = if called.is_empty() {
                    "-".to_owned()
                } else {
                    format!("{seconds:.0} s")
                };
                report.row(&[
                    format!("{name} {requests_per_second} rps"),
                    rival.to_owned(),
                    format!("{:.1} %", share * 100.0),
                    when,
                ]);
            };
            let hours: Vec<Vec<Minute>> = (0..runs)
                .map(|seed| hour(a, b, requests_per_second, &mut Rng::with_seed(seed + 17)))
                .collect();
            tally("flagger_default", hours.iter().map(|h| flagger(h, 1)).collect());
            tally("flagger_sample", hours.iter().map(|h| flagger(h, 5)).collect());
            tally(
                "kayenta_60_min",
                hours.iter().map(|h| kayenta(h).then_some(3_600.0)).collect(),
            );
            let first = |h: &Vec<Minute>| (1..=h.len()).find(|n| kayenta(&h[..*n])).map(|n| n as f64 * 60.0);
            tally("kayenta_each_minute", hours.iter().map(first).collect());
            let peek = |seed| peeking(a, b, requests_per_second, &mut Rng::with_seed(seed + 29));
            tally("z_test_peeking", (0..runs).map(peek).collect());
            let world = World {
                requests_per_second,
                frame_ms: 200,
                latencies: false,
                weight: &|_| 0.05,
                baseline: &|_| Behaviour::failing(a),
                candidate: &|_| Behaviour::failing(b),
            };
            let found = play(&Config::default(), &world, false, 3_600.0, runs.min(200));
            let key = format!("rival_trimtab_{name}_at_{requests_per_second}_rps");
            report.figure(&format!("{key}_percent"), found.called * 100.0);
            if found.called > 0.0 {
                report.figure(&format!("{key}_seconds"), found.seconds);
            }
            report.row(&[
                format!("{name} {requests_per_second} rps"),
                "trimtab".to_owned(),
                format!("{:.1} %", found.called * 100.0),
                format!("{:.0} s", found.seconds),
            ]);
        }
    }
}
