//! The last values of a series, kept sorted beside their order: median and spread at any time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The last `size` values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    size: usize,
    order: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Window {
    pub(super) fn new(size: usize) -> Self {
        Window {
            size: size.max(1),
            order: VecDeque::new(),
            sorted: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Adds a finite value; the oldest goes when the window is full.
    pub(super) fn push(&mut self, value: f64) {
        if self.order.len() >= self.size
            && let Some(oldest) = self.order.pop_front()
        {
            let at = self.sorted.partition_point(|v| *v < oldest);
            if at < self.sorted.len() {
                self.sorted.remove(at);
            }
        }
        self.order.push_back(value);
        let at = self.sorted.partition_point(|v| *v < value);
        self.sorted.insert(at, value);
    }

    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        self.sorted
            .get((quantile * last as f64).round() as usize)
            .copied()
    }

    pub(super) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// Spread as a standard deviation: from the distance of the quartiles.
    pub(super) fn spread(&self) -> f64 {
        match (self.quantile(0.25), self.quantile(0.75)) {
            (Some(low), Some(high)) => (high - low) / 1.349,
            _ => 0.0,
        }
    }

    pub(super) fn last(&self) -> Option<f64> {
        self.order.back().copied()
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.sorted.clear();
    }
}
