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

/// What is known of a place's traffic before a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Before {
    /// Requests a second in all.
    pub requests_per_second: f64,
    /// The share of them that failed, 0 to 1.
    pub error_rate: f64,
}

/// What a step with a watch is expected to tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepForecast {
    /// Requests of the candidate in the watch.
    pub candidate: f64,
    /// The least share of failing requests, 0 to 1, with which a candidate is expected to be called within
    /// the watch; none when even one that fails all of them is not.
    pub least: Option<f64>,
    /// Seconds until a candidate is called that fails the typical share, [`Before::typical`]; none when no
    /// amount of time does.
    pub typical_seconds: Option<f64>,
}

impl Before {
    /// The fault by which waits are told: five times the present errors, and 5 % at least.
    pub fn typical(&self) -> f64 {
        (self.error_rate * 5.0).clamp(0.05, 1.0)
    }

    /// What a watch of `seconds` at the candidate's share `w` (0 to 1) is expected to tell at level `alpha`.
    /// None where there is nobody to compare with, or nothing is watched.
    pub fn step(&self, w: f64, seconds: f64, alpha: f64) -> Option<StepForecast> {
        if w <= 0.0 || w >= 1.0 || seconds <= 0.0 {
            return None;
        }
        let requests = self.requests_per_second * seconds;
        let is_found = |rate: f64| {
            expected_with_past(self.error_rate, rate, w, alpha).is_some_and(|found| found.units <= requests)
        };
        let typical = expected_with_past(self.error_rate, self.typical(), w, alpha);
        Some(StepForecast {
            candidate: requests * w,
            least: is_found(1.0).then(|| self.least(is_found)),
            typical_seconds: typical.and_then(|found| found.seconds(self.requests_per_second)),
        })
    }

    /// Halves the stretch between what is not found and what is, to a hundredth of a per cent.
    fn least(&self, is_found: impl Fn(f64) -> bool) -> f64 {
        let (mut missed, mut found) = (self.error_rate.clamp(0.0, 1.0), 1.0);
        while found - missed > 1e-4 {
            let middle = f64::midpoint(missed, found);
            if is_found(middle) {
                found = middle;
            } else {
                missed = middle;
            }
        }
        found
    }
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
    fn a_step_tells_what_its_traffic_allows() {
        let before = |requests_per_second| Before {
            requests_per_second,
            error_rate: 0.01,
        };
        // verdict.md: one request a second at 5 %, from 1 % to 5 %, is about an hour.
        let slow = before(1.0)
            .step(0.05, 3_600.0, 0.01)
            .unwrap_or_else(|| unreachable!());
        let typical = slow.typical_seconds.unwrap_or(0.0);
        assert!((3_000.0..3_700.0).contains(&typical), "{slow:?}");
        assert!((slow.candidate - 180.0).abs() < 1e-9);
        let least = slow.least.unwrap_or(0.0);
        assert!((0.03..0.06).contains(&least), "{slow:?}");
        // Ten seconds of it tell nothing, and nothing at all tells nothing.
        let short = before(1.0)
            .step(0.05, 10.0, 0.01)
            .unwrap_or_else(|| unreachable!());
        assert_eq!(short.least, None);
        let none = before(0.0)
            .step(0.05, 60.0, 0.01)
            .unwrap_or_else(|| unreachable!());
        assert_eq!((none.least, none.typical_seconds), (None, None));
        // More traffic finds smaller faults; half of it finds them soonest.
        let at = |rate, w| {
            before(rate)
                .step(w, 600.0, 0.01)
                .and_then(|step| step.least)
                .unwrap_or(1.0)
        };
        assert!(at(100.0, 0.05) < at(10.0, 0.05) && at(10.0, 0.5) < at(10.0, 0.05));
        assert_eq!(before(10.0).step(1.0, 60.0, 0.01), None);
        assert_eq!(before(10.0).step(0.05, 0.0, 0.01), None);
    }

    #[test]
    fn returning_users() {
        assert_eq!(returning_weight(true, 0.05, 0.25), None);
        assert!((returning_weight(false, 0.05, 0.25).unwrap_or(0.0) - 0.2 / 0.95).abs() < 1e-12);
    }
}
