//! Recorded incidents and clean stretches, and seeded variants of them.

use serde::{Deserialize, Serialize};
use trimtab_model::{Arm, LatencyHistogram, Timestamp};

use crate::anomaly::Class;
use crate::verdict::{Batch, Outcomes, Past};

/// Batches that a recording keeps (an hour of frames of 200 ms); later ones are left out.
const BATCHES_MAX: usize = 18_000;
/// Log lines that a recording keeps; later ones are left out.
const LINES_MAX: usize = 5_000;
/// A variant's fault is at most this many times weaker than the recorded one, as a power of two.
const WEAKER_DOUBLINGS: f64 = 3.0;
/// Arms with more requests than this in a batch are drawn by the normal approximation.
const EXACT_MAX: u64 = 400;

/// A recorded log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLine {
    /// When.
    pub at: Timestamp,
    /// The arm that wrote it; none before the rollout.
    pub arm: Option<Arm>,
    /// The candidate's probability at that time, in hundredths of a per cent.
    pub weight_basis_points: u16,
    /// OpenTelemetry's severity number.
    pub severity: u8,
    /// The text.
    pub text: String,
}

/// A recorded rollout: what the judge and the watch over templates were fed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Version of this document's form.
    pub version: u32,
    /// Its name: the incident's or the rollout's id.
    pub name: String,
    /// The class of the incident; none for clean traffic.
    pub class: Option<Class>,
    /// When the fault began; none for clean traffic.
    pub onset: Option<Timestamp>,
    /// The previous release's past.
    pub past: Past,
    /// The batches in order.
    pub batches: Vec<Batch>,
    /// Log lines in order.
    pub lines: Vec<RecordedLine>,
    /// Batches and lines that found no room.
    pub left_out: u64,
}

impl Episode {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;

    /// An empty recording.
    pub fn new(name: impl Into<String>, past: Past) -> Self {
        Episode {
            version: Self::VERSION,
            name: name.into(),
            class: None,
            onset: None,
            past,
            batches: Vec::new(),
            lines: Vec::new(),
            left_out: 0,
        }
    }

    /// Records a batch.
    pub fn push(&mut self, batch: Batch) {
        if self.batches.len() < BATCHES_MAX {
            self.batches.push(batch);
        } else {
            self.left_out += 1;
        }
    }

    /// Records a line.
    pub fn push_line(&mut self, line: RecordedLine) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether this is an incident.
    pub fn is_incident(&self) -> bool {
        self.class.is_some()
    }
}

/// A small generator of its own (SplitMix64, Steele, Lea and Flood 2014): a seed gives the same variant
/// everywhere and for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.unit()).cos()
    }

    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n <= EXACT_MAX {
            return (0..n).filter(|_| self.unit() < p).count() as u64;
        }
        let mean = n as f64 * p;
        let drawn = mean + (mean * (1.0 - p)).sqrt() * self.normal();
        (drawn.round().max(0.0) as u64).min(n)
    }

    /// Arrivals around `mean`.
    fn arrivals(&mut self, mean: u64) -> u64 {
        if mean > EXACT_MAX {
            return (mean as f64 + (mean as f64).sqrt() * self.normal())
                .round()
                .max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-(mean as f64)).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

/// The episode as it might have gone: other arrivals, outcomes drawn anew from the recorded rates, and a
/// fault that is up to eight times weaker. The same seed gives the same variant.
pub fn variant(episode: &Episode, seed: u64) -> Episode {
    let mut random = Random(seed ^ 0x7472_696d_7461_6200);
    let strength = 0.5f64.powf(random.unit() * WEAKER_DOUBLINGS);
    let total = episode.past.total();
    let usual = |bad: u64| bad as f64 / total.requests.max(1) as f64;
    let rates = (usual(total.errors), usual(total.client_errors));
    let past = Past {
        windows: episode
            .past
            .windows
            .iter()
            .map(|w| again(w, None, &total, rates, &mut random))
            .collect(),
    };
    let batches = episode
        .batches
        .iter()
        .map(|batch| {
            let faulty = episode.onset.is_some_and(|onset| batch.at >= onset);
            let strength = faulty.then_some(strength);
            Batch {
                baseline: again(&batch.baseline, None, &total, rates, &mut random),
                candidate: again(&batch.candidate, strength, &total, rates, &mut random),
                assigned: None,
                ..batch.clone()
            }
        })
        .collect();
    let lines = episode
        .lines
        .iter()
        .filter(|line| {
            let faulty = episode.onset.is_some_and(|onset| line.at >= onset);
            !faulty || random.unit() < strength.max(0.2)
        })
        .cloned()
        .collect();
    Episode {
        name: format!("{} (variant {seed})", episode.name),
        past,
        batches,
        lines,
        ..episode.clone()
    }
}

/// Outcomes drawn anew. With a `strength`, what exceeds the usual rates and latencies is weakened by it.
fn again(
    recorded: &Outcomes,
    strength: Option<f64>,
    usual: &Outcomes,
    rates: (f64, f64),
    random: &mut Random,
) -> Outcomes {
    let requests = random.arrivals(recorded.requests);
    let rate = |bad: u64, usual: f64| {
        let rate = bad as f64 / recorded.requests.max(1) as f64;
        match strength {
            Some(strength) if rate > usual => usual + (rate - usual) * strength,
            _ => rate,
        }
    };
    let errors = random.binomial(requests, rate(recorded.errors, rates.0));
    let client = random.binomial(requests - errors, rate(recorded.client_errors, rates.1));
    let mut latency = LatencyHistogram::default();
    if recorded.latency.total() > 0 {
        for _ in 0..requests {
            // A weakened fault leaves the rest of the requests as quick as usual.
            let as_usual = strength.is_some_and(|s| random.unit() >= s) && usual.latency.total() > 0;
            let from = if as_usual {
                &usual.latency
            } else {
                &recorded.latency
            };
            if let Some(bucket) = from.quantile_bucket(random.unit()) {
                latency.add(bucket, 1);
            }
        }
    }
    Outcomes {
        requests,
        errors,
        client_errors: client,
        latency,
    }
}
