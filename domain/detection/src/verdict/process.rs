//! The grid e-process: a mean of likelihood ratios over a grid of lifts and of starting times.
//!
//! Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for
//! optional stopping", arXiv 2106.02693, in a form for randomised assignment. Each request is sent to
//! the candidate with a known probability w. From the past alone come guesses a (the baseline's rate)
//! and b (the candidate's); with m = (1-w) a + w b the factor f(y; own guess) / f(y; m) has mean exactly
//! one when the outcome y does not depend on the arm, whatever the true rate is at that moment. So the
//! product is a non-negative martingale with mean one, and by Ville's inequality it ever reaches 1/alpha
//! with a chance of at most alpha.
//!
//! The guesses stay fixed within a batch, so that only the counts of a batch matter.
//!
//! The mean over starting times (a lift's product counted from a later moment on, ones before) is what
//! finds a release that goes bad after minutes of good service: without it the good minutes would have
//! to be paid back first. Its shares are fixed in advance, so it costs a little evidence and no exactness.

use serde::{Deserialize, Serialize};

use super::Lift;

/// Rates are guessed no nearer to 0 or 1 than this.
const RATE_MIN: f64 = 1e-4;
/// Share of the mean that starts with the first batch; the rest is for later starts.
const START_SHARE: f64 = 0.95;
/// Half of what is kept for later starts is spent in this many seconds.
const RESERVE_SECONDS_HALF: f64 = 15.0;

/// What is due of the reserve is spent once it is this share of what is left.
const SPENT_AT_ONCE: f64 = 0.04;
/// A bet on a rate is made only while the rate's odds are at least so many times the baseline's.
const RATE_ODDS_MIN: f64 = 2.0;

/// Units of one arm and how many of them were bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Units counted.
    pub units: u64,
    /// Of these, bad ones.
    pub bad: u64,
}

impl Tally {
    /// A tally; more bad ones than units are cut.
    pub fn new(units: u64, bad: u64) -> Self {
        Tally {
            units,
            bad: bad.min(units),
        }
    }

    /// Bad ones over units; zero when there are none.
    pub fn rate(self) -> f64 {
        if self.units == 0 {
            0.0
        } else {
            self.bad as f64 / self.units as f64
        }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.units += other.units;
        self.bad += other.bad;
    }

    /// Log-likelihood of this tally at rate `p` less that at rate `q`.
    pub(crate) fn log_ratio(self, p: f64, q: f64) -> f64 {
        let good = (self.units - self.bad) as f64;
        let mut sum = 0.0;
        if self.bad > 0 {
            sum += self.bad as f64 * (p / q).ln();
        }
        if good > 0.0 {
            sum += good * ((1.0 - p) / (1.0 - q)).ln();
        }
        sum
    }
}

/// Keeps a guess of a rate away from 0 and 1.
pub(crate) fn guess(rate: f64) -> f64 {
    rate.clamp(RATE_MIN, 1.0 - RATE_MIN)
}

/// The rate whose odds are `odds` times those of `rate`.
pub(crate) fn lifted(rate: f64, odds: f64) -> f64 {
    let o = rate / (1.0 - rate) * odds;
    (o / (1.0 + o)).min(1.0 - RATE_MIN / 10.0)
}

/// Kullback-Leibler divergence of two Bernoulli distributions, in nats.
pub(crate) fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p <= 0.0 { 0.0 } else { p * (p / q).ln() };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// ln of the sum of the exponentials.
pub(crate) fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + values.map(|v| (v - top).exp()).sum::<f64>().ln()
}

/// One lift and the evidence it has gathered over all its starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Track {
    odds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    log_share: f64,
    log_e: f64,
}

impl Track {
    /// The candidate's rate that is bet on over a baseline of `a`; none when this lift sits the batch out.
    fn bet(&self, a: f64) -> Option<f64> {
        match self.rate {
            None => Some(lifted(a, self.odds)),
            Some(rate) => (rate > lifted(a, RATE_ODDS_MIN)).then_some(rate),
        }
    }
}

/// An e-process over a grid of lifts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    tracks: Vec<Track>,
    reserve: f64,
    log_e: f64,
}

impl Process {
    /// A fresh process: evidence 1. Shares are scaled to sum to one; without any usable lift there
    /// is never evidence.
    pub(crate) fn new(lifts: &[Lift]) -> Self {
        let usable = |lift: &&Lift| lift.odds.is_finite() && lift.odds > 0.0 && lift.weight > 0.0;
        let sum: f64 = lifts.iter().filter(usable).map(|lift| lift.weight).sum();
        let tracks = lifts
            .iter()
            .filter(usable)
            .map(|lift| Track {
                odds: lift.odds,
                rate: lift.rate.map(guess),
                log_share: (lift.weight / sum).ln(),
                log_e: START_SHARE.ln(),
            })
            .collect();
        Process {
            tracks,
            reserve: 1.0 - START_SHARE,
            log_e: 0.0,
        }
    }

    /// ln of the evidence.
    pub(crate) fn log_e(&self) -> f64 {
        self.log_e
    }

    /// ln of what each lift adds to the evidence, by its odds.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.tracks.iter().map(|t| (t.odds, t.log_share + t.log_e))
    }

    /// Whether nothing speaks for a lift: what is seen is what chance alone would show.
    pub(crate) fn at_rest(&self) -> bool {
        self.log_e <= 0.0
    }

    /// Multiplies each lift by its factor for a batch that ended `elapsed` seconds after the first.
    fn multiply(&mut self, elapsed: f64, log_factor: impl Fn(&Track) -> f64) {
        let kept = (1.0 - START_SHARE) * RESERVE_SECONDS_HALF / (RESERVE_SECONDS_HALF + elapsed.max(0.0));
        let due = (self.reserve - kept).max(0.0);
        let spent = if due >= SPENT_AT_ONCE * self.reserve {
            due
        } else {
            0.0
        };
        for track in &mut self.tracks {
            track.log_e += log_factor(track);
        }
        if !self.tracks.is_empty() {
            let sum = log_sum(self.tracks.iter().map(|t| t.log_share + t.log_e));
            self.log_e = log_sum([sum, self.reserve.ln()].into_iter());
        }
        // What is spent now starts with the next batch, at one.
        if spent > 0.0 {
            for track in &mut self.tracks {
                track.log_e = log_sum([track.log_e, spent.ln()].into_iter());
            }
            self.reserve -= spent;
        }
    }

    /// A batch of both arms at weight `w`, with `a` guessed for the baseline from the past.
    pub(crate) fn compare(&mut self, elapsed: f64, w: f64, a: f64, baseline: Tally, candidate: Tally) {
        if w <= 0.0 || w >= 1.0 || baseline.units + candidate.units == 0 {
            return;
        }
        let a = guess(a);
        self.multiply(elapsed, |track| {
            track.bet(a).map_or(0.0, |b| {
                let m = (1.0 - w) * a + w * b;
                baseline.log_ratio(a, m) + candidate.log_ratio(b, m)
            })
        });
    }

    /// A batch of one arm against a rate that it stays at or under unless something is wrong.
    pub(crate) fn exceed(&mut self, elapsed: f64, a: f64, arm: Tally) {
        if arm.units == 0 {
            return;
        }
        let a = guess(a);
        self.multiply(elapsed, |track| track.bet(a).map_or(0.0, |b| arm.log_ratio(b, a)));
    }

    /// A batch of events that have no denominator (crashes, lines of a log template, span errors):
    /// without effect each belongs to the candidate with probability `w`.
    pub(crate) fn events(&mut self, elapsed: f64, w: f64, baseline: u64, candidate: u64) {
        if w <= 0.0 || w >= 1.0 || baseline + candidate == 0 {
            return;
        }
        let arms = Tally::new(baseline + candidate, candidate);
        self.multiply(elapsed, |track| {
            let q = w * track.odds / (w * track.odds + 1.0 - w);
            arms.log_ratio(q, w)
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verdict::Mixture;

    proptest! {
        // The factor's mean is one: summed over both outcomes and both arms at a common rate.
        #[test]
        fn a_step_has_mean_one(w in 0.01f64..0.99, a in 0.001f64..0.9, p in 0.0f64..1.0, warm in 0u64..50) {
            let mut before = Process::new(&Mixture::default().lifts);
            before.compare(0.0, w, a, Tally::new(warm, warm / 7), Tally::new(warm / 3, warm / 9));
            before.compare(9.0, w, a, Tally::new(0, 0), Tally::new(1, 1));
            let e0 = {
                // Evidence after spending is carried; compare with the value the next step starts from.
                let mut at_rest = before.clone();
                at_rest.multiply(9.0, |_| 0.0);
                at_rest.log_e().exp()
            };
            let mut mean = 0.0;
            for (candidate, arm) in [(false, 1.0 - w), (true, w)] {
                for (bad, chance) in [(0, 1.0 - p), (1, p)] {
                    let one = Tally::new(1, bad);
                    let none = Tally::default();
                    let mut next = before.clone();
                    let (b, c) = if candidate { (none, one) } else { (one, none) };
                    next.compare(9.0, w, a, b, c);
                    mean += arm * chance * next.log_e().exp();
                }
            }
            prop_assert!((mean / e0 - 1.0).abs() < 1e-9, "{mean} {e0}");
        }

        #[test]
        fn events_have_mean_one(w in 0.01f64..0.99) {
            let mut mean = 0.0;
            for (b, c, chance) in [(1, 0, 1.0 - w), (0, 1, w)] {
                let mut next = Process::new(&Mixture::default().lifts);
                next.events(0.0, w, b, c);
                mean += chance * next.log_e().exp();
            }
            prop_assert!((mean - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn good_minutes_need_not_be_paid_back() {
        let mut process = Process::new(&Mixture::default().lifts);
        for second in 0..60 {
            process.compare(second as f64, 0.5, 0.01, Tally::new(100, 1), Tally::new(100, 1));
        }
        assert!(process.at_rest());
        for second in 60..62 {
            process.compare(second as f64, 0.5, 0.01, Tally::new(100, 1), Tally::new(100, 30));
        }
        assert!(process.log_e() > 100f64.ln(), "{}", process.log_e());
    }

    #[test]
    fn full_weight_proves_nothing() {
        let mut process = Process::new(&Mixture::default().lifts);
        process.compare(0.0, 1.0, 0.01, Tally::default(), Tally::new(100, 100));
        assert_eq!(process.log_e(), 0.0);
    }
}
