//! The effect for people, read at one weight: counts pooled over weights would show a drift between two
//! steps as an effect, because the arms' shares differ between them.

use serde::{Deserialize, Serialize};

use super::interval::effect_interval;
use super::process::Tally;

/// Weights that are told apart; later ones are not counted here.
const STRATA_MAX: usize = 12;

/// Both arms while one weight was in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stratum {
    weight: f64,
    baseline: Tally,
    candidate: Tally,
}

impl Stratum {
    /// Requests of both arms worth as much as this many of each.
    fn worth(&self) -> f64 {
        let (b, c) = (self.baseline.units as f64, self.candidate.units as f64);
        if b + c > 0.0 { b * c / (b + c) } else { 0.0 }
    }
}

/// Both arms by weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Strata(Vec<Stratum>);

impl Strata {
    pub(super) fn add(&mut self, weight: f64, baseline: Tally, candidate: Tally) {
        let known = self.0.iter().position(|s| (s.weight - weight).abs() < 1e-9);
        let at = match known {
            Some(at) => at,
            None if self.0.len() < STRATA_MAX => {
                self.0.push(Stratum {
                    weight,
                    baseline: Tally::default(),
                    candidate: Tally::default(),
                });
                self.0.len() - 1
            }
            None => return,
        };
        self.0[at].baseline.add(baseline);
        self.0[at].candidate.add(candidate);
    }

    /// The candidate's rate less the baseline's and its anytime-valid interval, at the weight that has told
    /// most so far. Which one that is depends on counts of requests only, and each weight has its part of
    /// `alpha` (a half, a sixth, a twelfth and so on), so that all intervals ever shown hold together.
    pub(super) fn effect(&self, alpha: f64) -> (f64, (f64, f64)) {
        let most = self
            .0
            .iter()
            .enumerate()
            .max_by(|(_, x), (_, y)| x.worth().total_cmp(&y.worth()));
        let Some((nth, most)) = most else {
            return (0.0, (-1.0, 1.0));
        };
        let part = 1.0 / ((nth + 1) * (nth + 2)) as f64;
        (
            most.candidate.rate() - most.baseline.rate(),
            effect_interval(most.baseline, most.candidate, alpha * part),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_between_two_weights_is_no_effect() {
        let mut strata = Strata::default();
        assert_eq!(strata.effect(0.05), (0.0, (-1.0, 1.0)));
        strata.add(0.05, Tally::new(9_500, 95), Tally::new(500, 5));
        strata.add(0.5, Tally::new(5_000, 500), Tally::new(5_000, 500));
        let (effect, (low, high)) = strata.effect(0.05);
        assert_eq!(effect, 0.0);
        assert!(low < 0.0 && high > 0.0 && high < 0.05, "{low} {high}");
    }

    #[test]
    fn weights_beyond_the_limit_are_left_out() {
        let mut strata = Strata::default();
        for n in 0..40 {
            strata.add(f64::from(n) / 100.0, Tally::new(1, 0), Tally::new(1, 0));
        }
        assert_eq!(strata.0.len(), STRATA_MAX);
    }
}
