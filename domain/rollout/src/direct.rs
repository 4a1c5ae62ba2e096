//! Direct: start, check, switch, stop the old. For staging, where gates follow the switch (A.S1).

use serde::{Deserialize, Serialize};
use trimtab_model::Weight;

use crate::{OnInconclusive, TrafficStep};

/// A switch without watch or holdback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direct {
    /// How long the old release may drain, in milliseconds.
    pub drain_ms: u64,
}

impl Direct {
    /// One step to everything, unwatched.
    pub fn steps(&self) -> Vec<TrafficStep> {
        vec![TrafficStep::plain(Weight::FULL, 0, OnInconclusive::Pass)]
    }
}
