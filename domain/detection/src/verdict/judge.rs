//! The judge of one rollout.

use serde::{Deserialize, Serialize};

use super::{Batch, Config, Decision, Past, Verdict};

/// Gathers the evidence of one rollout. Feed it every batch in order; ask for the verdict at any time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    config: Config,
    past: Option<Past>,
}

impl Judge {
    /// A judge for a new rollout. `past` is the previous release's recent past, taken before the
    /// candidate got any traffic.
    pub fn new(config: Config, past: Option<Past>) -> Self {
        Judge { config, past }
    }

    /// Takes the next batch.
    pub fn add(&mut self, _batch: &Batch) {}

    /// The verdict on all batches so far.
    pub fn verdict(&self) -> Verdict {
        Verdict {
            decision: Decision::Inconclusive,
            reason: "no traffic yet".to_owned(),
            metrics: Vec::new(),
            e_value: 1.0,
            log_e: 0.0,
            alpha: self.config.alpha,
            alpha_left: self.config.alpha,
            units_needed: None,
            healthy_e_value: 1.0,
            ratio_e_value: 1.0,
            past: None,
            called_at: None,
            leading: None,
        }
    }
}
