//! Seeded traffic: two arms behind a coin, in frames as the proxy reports them.

use fastrand::Rng;
use trimtab_detection::verdict::{Batch, Outcomes, Past};
use trimtab_model::{Timestamp, Weight};

/// How one arm behaves at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behaviour {
    /// Chance that a request fails.
    pub(crate) errors: f64,
    /// Median latency in milliseconds.
    pub(crate) median_ms: f64,
    /// Standard deviation of the latency's logarithm.
    pub(crate) sigma: f64,
    /// Chance that a request takes 2 s more.
    pub(crate) stuck: f64,
    /// Latencies are rounded up to multiples of this; 0 leaves them.
    pub(crate) tick_ms: f64,
}

impl Behaviour {
    pub(crate) fn failing(errors: f64) -> Self {
        Behaviour {
            errors,
            median_ms: 20.0,
            sigma: 0.6,
            stuck: 0.0,
            tick_ms: 0.0,
        }
    }

    pub(crate) fn slower(self, factor: f64) -> Self {
        Behaviour {
            median_ms: self.median_ms * factor,
            ..self
        }
    }
}

/// A standard normal deviate (Box and Muller).
pub(crate) fn normal(random: &mut Rng) -> f64 {
    (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (2.0 * std::f64::consts::PI * random.f64()).cos()
}

/// A Poisson deviate: exact product method for small means, rounded normal for large ones.
pub(crate) fn poisson(random: &mut Rng, mean: f64) -> u64 {
    if mean > 60.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0) as u64;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), random.f64(), 0);
    while product > limit {
        product *= random.f64();
        count += 1;
    }
    count
}

/// One kind of traffic, from which any number of runs can be drawn.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) requests_per_second: f64,
    pub(crate) frame_ms: i64,
    /// Whether latencies are drawn at all (runs on errors alone are quicker without).
    pub(crate) latencies: bool,
    /// Weight of the candidate at a time in seconds.
    pub(crate) weight: &'a dyn Fn(f64) -> f64,
    pub(crate) baseline: &'a dyn Fn(f64) -> Behaviour,
    pub(crate) candidate: &'a dyn Fn(f64) -> Behaviour,
}

impl World<'_> {
    fn one(&self, into: &mut Outcomes, how: Behaviour, random: &mut Rng) {
        let error = random.f64() < how.errors;
        if !self.latencies {
            into.requests += 1;
            into.errors += u64::from(error);
            return;
        }
        let mut ms = how.median_ms * (how.sigma * normal(random)).exp();
        if how.stuck > 0.0 && random.f64() < how.stuck {
            ms += 2_000.0;
        }
        if how.tick_ms > 0.0 {
            ms = (ms / how.tick_ms).ceil() * how.tick_ms;
        }
        into.record((ms * 1000.0) as u64, error, false);
    }

    /// The frame that ends `frame` frames after the start.
    pub(crate) fn frame(&self, frame: i64, random: &mut Rng) -> Batch {
        let seconds = (frame * self.frame_ms) as f64 / 1000.0;
        let weight = Weight::from_percent((self.weight)(seconds) * 100.0).unwrap_or_default();
        let mut batch = Batch::new(Timestamp(1_000_000 + frame * self.frame_ms), weight);
        let requests = poisson(random, self.requests_per_second * self.frame_ms as f64 / 1000.0);
        let (baseline, candidate) = ((self.baseline)(seconds), (self.candidate)(seconds));
        for _ in 0..requests {
            if random.f64() < weight.probability() {
                self.one(&mut batch.candidate, candidate, random);
            } else {
                self.one(&mut batch.baseline, baseline, random);
            }
        }
        batch
    }

    /// The previous release's past: `windows` windows of `window_requests`, each a minute on.
    pub(crate) fn past(&self, windows: usize, window_requests: u64, random: &mut Rng) -> Past {
        let mut past = Past::default();
        for minute in 0..windows {
            let mut window = Outcomes::default();
            for n in 0..window_requests {
                let how = (self.baseline)(minute as f64 * 60.0 + n as f64 * 60.0 / window_requests as f64);
                self.one(&mut window, how, random);
            }
            past.push(window);
        }
        past
    }
}

/// A binomial deviate: by coins for small counts, rounded normal for large ones.
pub(crate) fn binomial(random: &mut Rng, n: u64, p: f64) -> u64 {
    let mean = n as f64 * p;
    if n <= 200 || mean < 30.0 {
        return (0..n).filter(|_| random.f64() < p).count() as u64;
    }
    let drawn = mean + (mean * (1.0 - p)).sqrt() * normal(random);
    (drawn.round().max(0.0) as u64).min(n)
}
