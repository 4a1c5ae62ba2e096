//! Other ways to judge a canary, on the same traffic at a weight of 5 %.

use fastrand::Rng;
use trimtab_detection::verdict::{Config, expected_units};

use crate::detect::play;
use crate::report::Report;
use crate::stream::{Behaviour, World, binomial, poisson};

const MINUTES: usize = 60;
const WEIGHT: f64 = 0.05;

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

/// One kind of change at one traffic.
struct Case {
    key: String,
    title: String,
    a: f64,
    b: f64,
    requests_per_second: f64,
}

impl Case {
    /// Writes down when a rival rolled back in each run, if it did.
    fn tally(&self, report: &mut Report, rival: &str, calls: &[Option<f64>]) {
        let called: Vec<f64> = calls.iter().flatten().copied().collect();
        let share = called.len() as f64 / calls.len().max(1) as f64;
        let seconds = (!called.is_empty()).then(|| called.iter().sum::<f64>() / called.len() as f64);
        self.write(report, rival, share, seconds);
    }

    fn write(&self, report: &mut Report, rival: &str, share: f64, seconds: Option<f64>) {
        report.figure(&format!("rival_{rival}_{}_percent", self.key), share * 100.0);
        if let Some(seconds) = seconds {
            report.figure(&format!("rival_{rival}_{}_seconds", self.key), seconds);
        }
        report.row(&[
            self.title.clone(),
            rival.to_owned(),
            format!("{:.1} %", share * 100.0),
            seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s")),
        ]);
    }

    fn run(&self, report: &mut Report, runs: u64) {
        let (a, b, rate) = (self.a, self.b, self.requests_per_second);
        let hours: Vec<Vec<Minute>> = (0..runs)
            .map(|seed| hour(a, b, rate, &mut Rng::with_seed(seed + 17)))
            .collect();
        let calls = |one: &dyn Fn(&Vec<Minute>) -> Option<f64>| hours.iter().map(one).collect::<Vec<_>>();
        self.tally(report, "flagger_default", &calls(&|hour| flagger(hour, 1)));
        self.tally(report, "flagger_sample", &calls(&|hour| flagger(hour, 5)));
        let last = calls(&|hour| kayenta(hour).then_some(3_600.0));
        self.tally(report, "kayenta_60_min", &last);
        let each = calls(&|hour| {
            (1..=hour.len())
                .find(|n| kayenta(&hour[..*n]))
                .map(|n| n as f64 * 60.0)
        });
        self.tally(report, "kayenta_each_minute", &each);
        let few = if rate > 1_000.0 { runs.min(100) } else { runs };
        let peek = |seed| peeking(a, b, rate, &mut Rng::with_seed(seed + 29));
        self.tally(report, "z_test_peeking", &(0..few).map(peek).collect::<Vec<_>>());
        if let Some(bound) = expected_units(a, b, WEIGHT, 0.01) {
            let wald = bound.wald_candidate / WEIGHT / rate;
            self.write(report, "wald_bound", 1.0, Some(wald));
            let two = bound.two_sample_units / rate;
            self.write(report, "two_sample_bound", 1.0, Some(two));
        }
        self.trimtab(report, runs.min(if rate > 1_000.0 { 50 } else { 400 }));
    }

    fn trimtab(&self, report: &mut Report, runs: u64) {
        let world = World {
            requests_per_second: self.requests_per_second,
            frame_ms: 200,
            latencies: false,
            weight: &|_| WEIGHT,
            baseline: &|_| Behaviour::failing(self.a),
            candidate: &|_| Behaviour::failing(self.b),
        };
        for (rival, past) in [("trimtab", false), ("trimtab_with_past", true)] {
            let found = play(&Config::default(), &world, past, 3_600.0, runs);
            let seconds = (found.called > 0.0).then_some(found.seconds);
            self.write(report, rival, found.called, seconds);
        }
    }
}

/// Every rival at four traffics. Flagger's sample also looks at a p99 of 500 ms, which nothing here reaches.
pub(crate) fn run(report: &mut Report, runs: u64) {
    report.heading("rivals within an hour at 5 %: share of runs that roll back, mean seconds until then");
    for requests_per_second in [1.0, 20.0, 200.0, 2_000.0] {
        for (name, a, b) in [
            ("no_change", 0.01, 0.01),
            ("no_change_of_01", 0.001, 0.001),
            ("1_to_2", 0.01, 0.02),
            ("1_to_5", 0.01, 0.05),
            ("1_to_50", 0.01, 0.5),
        ] {
            let case = Case {
                key: format!("{name}_at_{requests_per_second}_rps"),
                title: format!("{name} {requests_per_second} rps"),
                a,
                b,
                requests_per_second,
            };
            case.run(report, (runs / 4).clamp(40, 2_000));
        }
    }
}
