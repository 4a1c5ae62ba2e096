//! The ratio check: are the arms getting the shares that were configured?
//!
//! Each request's arm against a coin of probability w, as an e-process over both directions. While it
//! fires there is no verdict: the proof of the others rests on that coin.

use serde::{Deserialize, Serialize};

use super::Lift;
use super::process::{Process, Tally};

/// Odds of being sent to the candidate, against those configured, that are looked for. Nearer to one
/// than 1.2 the effect on a verdict is slight.
const ODDS: [f64; 10] = [0.001, 0.05, 0.25, 0.5, 0.8, 1.25, 2.0, 4.0, 20.0, 1000.0];

/// Evidence that routing is not as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    process: Process,
    /// All units, and of them the candidate's.
    pub(crate) seen: Tally,
    /// The candidate's units expected by the weights in force.
    pub(crate) expected: f64,
}

impl Ratio {
    pub(crate) fn new() -> Self {
        let lifts = ODDS.map(|odds| Lift::of_odds(odds, 1.0));
        Ratio {
            process: Process::new(&lifts),
            seen: Tally::default(),
            expected: 0.0,
        }
    }

    pub(crate) fn log_e(&self) -> f64 {
        self.process.log_e()
    }

    pub(crate) fn add(&mut self, elapsed: f64, w: f64, baseline: u64, candidate: u64) {
        if w <= 0.0 || w >= 1.0 {
            return;
        }
        self.seen.add(Tally::new(baseline + candidate, candidate));
        self.expected += w * (baseline + candidate) as f64;
        self.process.events(elapsed, w, baseline, candidate);
    }
}
