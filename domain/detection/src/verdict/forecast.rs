//! How long a verdict will take, said before the rollout starts.

use serde::{Deserialize, Serialize};

use super::past::ODDS_MIN;
use super::process::{divergence, guess, lifted};

/// The cost of the grid and of the other metrics' shares over the bound, as measured by the benchmark.
const GRID_FACTOR: f64 = 1.38;
/// What the past's rate is widened by to its worst window, as is usual.
const PAST_WIDENED: f64 = 1.7;
/// Evidence that the shares of past, metric and lift cost the comparison with the past, in nats.
const PAST_COST: f64 = 2.0;
/// Evidence that the holdback must give before trouble that came with the candidate is the candidate's.
const HOLDBACK_NATS: f64 = 1.0;

/// What is expected of a test of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Candidate requests that nobody can beat who knows both rates beforehand (Wald's bound).
    pub wald_candidate: f64,
    /// Requests of both arms that nobody can beat who must learn the baseline from its arm (the bound
    /// with two samples).
    pub two_sample_units: f64,
    /// Requests of both arms that the grid is expected to take.
    pub units: f64,
    /// Of these, the candidate's.
    pub candidate: f64,
}

impl Forecast {
    /// Seconds to the verdict at so many requests a second in all; none without traffic.
    pub fn seconds(&self, requests_per_second: f64) -> Option<f64> {
        (requests_per_second > 0.0).then(|| self.units / requests_per_second)
    }
}

/// Requests expected until a candidate with rate `candidate` is told from a baseline with rate
/// `baseline`, at weight `w` (0 to 1) and level `alpha`. None when the candidate is no worse, or when one
/// arm gets nothing.
pub fn expected_units(baseline: f64, candidate: f64, w: f64, alpha: f64) -> Option<Forecast> {
    let (a, b) = (guess(baseline), guess(candidate));
    if b <= a || w <= 0.0 || w >= 1.0 {
        return None;
    }
    let needed = (1.0 / alpha).ln();
    let m = (1.0 - w) * a + w * b;
    let growth = w * divergence(b, m) + (1.0 - w) * divergence(a, m);
    let two_sample_units = needed / growth;
    let units = two_sample_units * GRID_FACTOR;
    Some(Forecast {
        wald_candidate: needed / divergence(b, a),
        two_sample_units,
        units,
        candidate: units * w,
    })
}

/// The same beside the previous release's past, which tells large faults sooner when the candidate has much of
/// the traffic: the candidate must stand out from the past, and the holdback must be fine.
pub fn expected_with_past(baseline: f64, candidate: f64, w: f64, alpha: f64) -> Option<Forecast> {
    let arms = expected_units(baseline, candidate, w, alpha)?;
    let (a, b) = (guess(baseline), guess(candidate));
    let widened = guess(a * PAST_WIDENED);
    if b < lifted(widened, ODDS_MIN) {
        return Some(arms);
    }
    let stands_out = ((1.0 / alpha).ln() + PAST_COST) / divergence(b, widened);
    let holdback_fine = HOLDBACK_NATS / divergence(a, b);
    let units = (stands_out / w).max(holdback_fine / (1.0 - w)).min(arms.units);
    Some(Forecast {
        units,
        candidate: units * w,
        ..arms
    })
}

/// The probability that a returning user is in the candidate, given what was seen of them, when users
/// stick to their arm and the weight rises from `seen_at` to `now` (both 0 to 1): none for a user already in
/// the candidate, who carries no more evidence.
pub fn returning_weight(was_candidate: bool, seen_at: f64, now: f64) -> Option<f64> {
    if was_candidate || seen_at >= 1.0 || now < seen_at {
        None
    } else {
        Some((now - seen_at) / (1.0 - seen_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bounds() {
        let forecast = expected_units(0.01, 0.05, 0.05, 0.01).unwrap_or_else(|| unreachable!());
        assert!((forecast.wald_candidate - 111.5).abs() < 1.0, "{forecast:?}");
        assert!(
            (forecast.two_sample_units * 0.05 - 122.8).abs() < 1.0,
            "{forecast:?}"
        );
        // One request a second at 5 %: about an hour.
        assert!((3_000.0..3_700.0).contains(&forecast.seconds(1.0).unwrap_or(0.0)));
        let switched = expected_with_past(0.005, 0.3, 0.95, 0.01).unwrap_or_else(|| unreachable!());
        assert!(switched.units < forecast.units, "{switched:?}");
        assert_eq!(expected_units(0.02, 0.01, 0.05, 0.01), None);
        assert_eq!(expected_units(0.01, 0.02, 1.0, 0.01), None);
    }

    #[test]
    fn returning_users() {
        assert_eq!(returning_weight(true, 0.05, 0.25), None);
        assert!((returning_weight(false, 0.05, 0.25).unwrap_or(0.0) - 0.2 / 0.95).abs() < 1e-12);
    }
}
