//! "Healthy" as a claim of its own: an e-process that rejects "worse by at least delta".
//!
//! The hypothesis is the set of all pairs of rates with candidate >= baseline + delta, which is convex
//! as a set of distributions of one randomly assigned outcome. So the likelihood ratio of a guess to its
//! nearest point in that set (the reverse information projection) has a mean of at most one under all of it
//! (Grünwald, de Heide and Koolen, "Safe testing", arXiv 1906.07801; Turner and Grünwald, arXiv 2203.09785).

use serde::{Deserialize, Serialize};

use super::process::{Tally, divergence, guess};

/// Evidence that one metric is not worse by `delta`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NotWorse {
    delta: f64,
    log_e: f64,
}

impl NotWorse {
    pub(crate) fn new(delta: f64) -> Self {
        NotWorse {
            delta: delta.clamp(1e-4, 0.9),
            log_e: 0.0,
        }
    }

    pub(crate) fn log_e(&self) -> f64 {
        self.log_e
    }

    /// A batch at weight `w`, with `rate` guessed for both arms from the past.
    pub(crate) fn compare(&mut self, w: f64, rate: f64, baseline: Tally, candidate: Tally) {
        if w <= 0.0 || w >= 1.0 || baseline.units + candidate.units == 0 {
            return;
        }
        let rate = self.rate(rate);
        let nearest = nearest_worse(w, rate, self.delta);
        self.log_e += baseline.log_ratio(rate, nearest) + candidate.log_ratio(rate, nearest + self.delta);
    }

    /// Evidence gained by each request of either arm when both run at `rate`, in nats.
    pub(crate) fn growth(&self, w: f64, rate: f64) -> f64 {
        let rate = self.rate(rate);
        let nearest = nearest_worse(w, rate, self.delta);
        (1.0 - w) * divergence(rate, nearest) + w * divergence(rate, nearest + self.delta)
    }

    fn rate(&self, rate: f64) -> f64 {
        guess(rate).min(1.0 - self.delta / 2.0)
    }
}

/// The baseline's rate in the nearest pair in which the candidate is worse by `delta`.
fn nearest_worse(w: f64, rate: f64, delta: f64) -> f64 {
    let slope = |a: f64| {
        // The derivative of the divergence, times both variances.
        let b = a + delta;
        w * (b - rate) * a * (1.0 - a) + (1.0 - w) * (a - rate) * b * (1.0 - b)
    };
    // False position, halving the end that stays (the Illinois method): some eight steps.
    let (mut low, mut high) = ((rate - delta).max(1e-9), rate.min(1.0 - delta - 1e-9));
    let (mut at_low, mut at_high) = (slope(low), slope(high));
    for _ in 0..40 {
        let next = (low * at_high - high * at_low) / (at_high - at_low);
        if !next.is_finite() || high - low < 1e-12 {
            break;
        }
        let at_next = slope(next);
        if at_next.abs() < 1e-15 {
            return next;
        }
        if at_next > 0.0 {
            (high, at_high, at_low) = (next, at_next, at_low / 2.0);
        } else {
            (low, at_low, at_high) = (next, at_next, at_high / 2.0);
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Under every pair of rates that is worse by delta or more, the mean of a step is at most one.
        #[test]
        fn mean_at_most_one(
            w in 0.02f64..0.98, rate in 0.0f64..1.0, delta in 0.005f64..0.3,
            base in 0.0f64..1.0, more in 0.0f64..1.0,
        ) {
            let base = base * (1.0 - delta);
            let candidate = base + delta + more * (1.0 - base - delta);
            let mut mean = 0.0;
            for (is_candidate, arm, p) in [(false, 1.0 - w, base), (true, w, candidate)] {
                for (bad, chance) in [(0, 1.0 - p), (1, p)] {
                    let mut process = NotWorse::new(delta);
                    let (one, none) = (Tally::new(1, bad), Tally::default());
                    let (b, c) = if is_candidate { (none, one) } else { (one, none) };
                    process.compare(w, rate, b, c);
                    mean += arm * chance * process.log_e().exp();
                }
            }
            prop_assert!(mean <= 1.0 + 1e-6, "{mean}");
        }
    }

    #[test]
    fn equal_arms_are_shown_healthy() {
        let mut process = NotWorse::new(0.02);
        for _ in 0..30 {
            process.compare(0.95, 0.005, Tally::new(10, 0), Tally::new(190, 1));
        }
        assert!(process.log_e() > 20f64.ln());
        assert!(process.growth(0.95, 0.005) > 0.0);
    }
}
