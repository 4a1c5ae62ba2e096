//! Rolling: instances are replaced one batch at a time, each checked before the next (B.R1 to R7).

use serde::{Deserialize, Serialize};

use crate::{Gate, Instances, OnInconclusive, OnRegressed, Replacement, TrafficStep};

/// Instances are replaced in batches. Traffic follows the instances: each takes the same share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    /// True when the first batch is tested off-traffic.
    pub test: bool,
    /// How many instances the candidate shall have.
    pub instances: u32,
    /// How many the baseline has.
    pub baseline_instances: u32,
    /// How many more than `instances` may run.
    pub surge_max: u32,
    /// How many fewer than `instances` may serve.
    pub unavailable_max: u32,
    /// How long a batch must be well before the next, in milliseconds.
    pub ready_ms_min: u64,
    /// How long a batch may take to start, in milliseconds.
    pub progress_ms: u64,
    /// How long an instance that lost its traffic may drain, in milliseconds.
    pub drain_ms: u64,
    /// What a watch without a verdict leads to.
    pub on_inconclusive: OnInconclusive,
    /// What a regression leads to.
    pub on_regressed: OnRegressed,
}

impl Rolling {
    /// One step for each batch.
    pub fn steps(&self) -> Vec<TrafficStep> {
        self.batches()
            .into_iter()
            .map(|batch| TrafficStep {
                weight: Instances {
                    candidate: batch.candidate,
                    baseline: batch.baseline,
                }
                .weight(),
                flag: None,
                watch_ms: self.ready_ms_min,
                gate: Gate::default(),
                requests_min: 0,
                on_inconclusive: self.on_inconclusive,
                replacement: Some(batch),
            })
            .collect()
    }

    /// The batches. At any time at most `instances + surge_max` run, and at least `instances -
    /// unavailable_max` serve (or as many as the baseline had, if that was fewer).
    fn batches(&self) -> Vec<Replacement> {
        let wanted = self.instances.max(1);
        // One of both must give way, or nothing could ever be replaced.
        let surge = if self.surge_max == 0 && self.unavailable_max == 0 {
            1
        } else {
            self.surge_max
        };
        let serving_min = wanted.saturating_sub(self.unavailable_max);
        let (mut candidate, mut baseline) = (0, self.baseline_instances);
        let mut batches = Vec::new();
        while candidate < wanted || baseline > 0 {
            let room = |candidate: u32, baseline: u32| {
                (wanted + surge)
                    .saturating_sub(candidate + baseline)
                    .min(wanted - candidate)
            };
            let spare = |candidate: u32| serving_min.saturating_sub(candidate);
            let growth = room(candidate, baseline);
            let retire_first = growth == 0;
            if retire_first {
                // Too many may run already (the baseline had more): then as many go as may.
                baseline = baseline.min(spare(candidate));
                candidate += room(candidate, baseline);
            } else {
                candidate += growth;
                baseline = baseline.min(spare(candidate));
            }
            batches.push(Replacement {
                candidate,
                baseline,
                retire_first,
            });
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rolling(instances: u32, baseline_instances: u32, surge_max: u32, unavailable_max: u32) -> Rolling {
        Rolling {
            test: false,
            instances,
            baseline_instances,
            surge_max,
            unavailable_max,
            ready_ms_min: 0,
            progress_ms: 1,
            drain_ms: 0,
            on_inconclusive: OnInconclusive::Pass,
            on_regressed: OnRegressed::RollBack,
        }
    }

    fn told(rolling: &Rolling) -> String {
        let batch = |batch: Replacement| {
            let order = if batch.retire_first { "-" } else { "+" };
            format!("{order}{}/{}", batch.candidate, batch.baseline)
        };
        let all: Vec<_> = rolling.batches().into_iter().map(batch).collect();
        all.join(" ")
    }

    #[test]
    fn batches_are_as_large_as_surge_and_unavailability_allow() {
        assert_eq!(told(&rolling(3, 3, 1, 0)), "+1/2 +2/1 +3/0");
        assert_eq!(told(&rolling(4, 4, 2, 0)), "+2/2 +4/0");
        assert_eq!(told(&rolling(3, 3, 0, 1)), "-1/2 -2/1 -3/0");
        assert_eq!(told(&rolling(1, 1, 0, 1)), "-1/0");
        assert_eq!(told(&rolling(4, 4, 1, 1)), "+1/2 +3/0 +4/0");
        assert_eq!(told(&rolling(2, 5, 1, 0)), "-1/2 -2/1 -2/0");
        assert_eq!(told(&rolling(3, 1, 1, 0)), "+3/0");
        assert_eq!(told(&rolling(3, 3, 0, 0)), "+1/2 +2/1 +3/0");
    }

    proptest! {
        #[test]
        fn every_rolling_ends_and_keeps_enough(
            n in 1u32..40, b in 1u32..40, surge in 0u32..10, unavailable in 0u32..10,
        ) {
            let plan = rolling(n, b, surge, unavailable);
            let surge = if surge + unavailable == 0 { 1 } else { surge };
            let (mut candidate, mut baseline) = (0, b);
            let batches = plan.batches();
            prop_assert!(batches.len() <= 100);
            for batch in &batches {
                // What runs at most and serves at least while the batch is under way.
                let (most, least) = if batch.retire_first {
                    (batch.candidate + batch.baseline, candidate + batch.baseline)
                } else {
                    (batch.candidate + baseline, candidate + baseline)
                };
                prop_assert!(most <= (n + surge).max(b));
                prop_assert!(least >= n.saturating_sub(unavailable).min(candidate + baseline));
                prop_assert!(batch.candidate > candidate || batch.baseline < baseline);
                (candidate, baseline) = (batch.candidate, batch.baseline);
            }
            prop_assert_eq!((candidate, baseline), (n, 0));
        }
    }
}
