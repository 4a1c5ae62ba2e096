//! How long a verdict will take, said before the rollout starts.

use serde::{Deserialize, Serialize};

use super::process::{divergence, guess};

/// The grid's cost over the bound, as measured by the benchmark at weights up to a half.
const GRID_FACTOR: f64 = 1.3;

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
        assert!((2_400.0..4_000.0).contains(&forecast.seconds(1.0).unwrap_or(0.0)));
        assert_eq!(expected_units(0.02, 0.01, 0.05, 0.01), None);
        assert_eq!(expected_units(0.01, 0.02, 1.0, 0.01), None);
    }

    #[test]
    fn returning_users() {
        assert_eq!(returning_weight(true, 0.05, 0.25), None);
        assert!((returning_weight(false, 0.05, 0.25).unwrap_or(0.0) - 0.2 / 0.95).abs() < 1e-12);
    }
}
