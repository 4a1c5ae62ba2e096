//! Blue-green: green beside blue, one switch, a watch with a holdback, then blue goes (B.BG1 to BG10).

use serde::{Deserialize, Serialize};
use trimtab_model::Weight;

use crate::{OnInconclusive, OnRegressed, TrafficStep};

/// A switch in one step. A holdback stays on the warm previous release through the watch window, so
/// that candidate and baseline are compared under the same traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlueGreen {
    /// True when green is tested off-traffic first.
    pub test: bool,
    /// What stays on blue through the watch.
    pub holdback: Weight,
    /// How long green is watched, in milliseconds.
    pub watch_ms: u64,
    /// How long a release that lost its traffic may drain, in milliseconds.
    pub drain_ms: u64,
    /// How long blue stays warm after it has drained, in milliseconds.
    pub decommission_after_ms: u64,
    /// What a watch without a verdict leads to.
    pub on_inconclusive: OnInconclusive,
    /// How often such a watch is extended before a person is asked.
    pub extensions_max: u32,
    /// What a regression leads to.
    pub on_regressed: OnRegressed,
}

impl BlueGreen {
    /// One step to all but the holdback; the rest follows when the watch has ended well.
    pub fn steps(&self) -> Vec<TrafficStep> {
        // A holdback of everything would never show green to anyone: the switch is then whole.
        let weight = match self.holdback {
            Weight::FULL => Weight::FULL,
            holdback => holdback.complement(),
        };
        vec![TrafficStep::plain(weight, self.watch_ms, self.on_inconclusive)]
    }
}
