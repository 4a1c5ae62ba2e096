//! What a series usually is at this time of the day: the median of earlier days at the same phase.

use serde::{Deserialize, Serialize};

use super::window::Window;

/// Parts that a season is divided into.
const PHASES: usize = 96;
/// Seasons that are remembered.
const SEASONS: usize = 14;
/// Values of a phase and its neighbours from which it is trusted.
const VALUES_MIN: usize = 6;

/// Medians by phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    length_ms: i64,
    phases: Vec<Window>,
    started_at_ms: Option<i64>,
}

impl Season {
    pub(super) fn new(length_ms: i64) -> Self {
        Season {
            length_ms: length_ms.max(PHASES as i64),
            phases: vec![Window::new(SEASONS * 3); PHASES],
            started_at_ms: None,
        }
    }

    fn phase(&self, at_ms: i64) -> usize {
        let into = at_ms.rem_euclid(self.length_ms);
        (i128::from(into) * PHASES as i128 / i128::from(self.length_ms)) as usize % PHASES
    }

    pub(super) fn push(&mut self, at_ms: i64, value: f64) {
        self.started_at_ms.get_or_insert(at_ms);
        let phase = self.phase(at_ms);
        self.phases[phase].push(value);
    }

    /// The usual value at this time; none before one whole season was seen.
    pub(super) fn expected(&self, at_ms: i64) -> Option<f64> {
        let started = self.started_at_ms?;
        if at_ms.saturating_sub(started) < self.length_ms {
            return None;
        }
        let phase = self.phase(at_ms);
        let around = [phase + PHASES - 1, phase, phase + 1].map(|p| &self.phases[p % PHASES]);
        if around.iter().map(|window| window.len()).sum::<usize>() < VALUES_MIN {
            return None;
        }
        around[1]
            .median()
            .or_else(|| around[0].median())
            .or_else(|| around[2].median())
    }
}
