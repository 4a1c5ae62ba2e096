//! Delta metrics become running totals, the only kind the series store and PromQL know.

use std::collections::HashMap;

use super::Reason;
use crate::Labels;

/// Most delta series remembered at once; points of further ones are refused.
pub const DELTA_SERIES_MAX: usize = 100_000;

/// The running totals of delta series. Held by whoever receives, and lost with it: a total that
/// begins again at zero is a counter's reset, which `rate` expects.
#[derive(Debug, Clone, Default)]
pub struct DeltaKeeper {
    totals: HashMap<Labels, Total>,
}

#[derive(Debug, Clone, Copy)]
struct Total {
    value: f64,
    at_ms: i64,
}

impl DeltaKeeper {
    /// A keeper that remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many series it remembers.
    pub fn len(&self) -> usize {
        self.totals.len()
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// Forgets series without a point since `before_ms`.
    pub fn forget(&mut self, before_ms: i64) {
        self.totals.retain(|_, total| total.at_ms >= before_ms);
    }

    /// Adds a delta that ended at `at_ms`; gives the running total.
    pub(super) fn add(&mut self, labels: &Labels, at_ms: i64, delta: f64) -> Result<f64, Reason> {
        if let Some(total) = self.totals.get_mut(labels) {
            if at_ms <= total.at_ms {
                return Err(Reason::OldDelta);
            }
            total.value += delta;
            total.at_ms = at_ms;
            return Ok(total.value);
        }
        if self.totals.len() >= DELTA_SERIES_MAX {
            return Err(Reason::TooManyDeltaSeries);
        }
        self.totals.insert(labels.clone(), Total { value: delta, at_ms });
        Ok(delta)
    }
}
