//! One metric between the arms: its process and its counts.

use serde::{Deserialize, Serialize};
use trimtab_model::{LatencyHistogram, Timestamp};

use super::history::{History, client_errors, errors, slower};
use super::interval::quantile_interval;
use super::judge::finite_exp;
use super::process::{Process, Tally};
use super::strata::Strata;
use super::{ArmEvidence, Batch, Lift, Metric, MetricEvidence, Outcomes};

/// Intervals shown to people leave out the true value with this chance, over all moments.
const INTERVAL_ALPHA: f64 = 0.05;

/// One metric under comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Compared {
    pub(super) metric: Metric,
    pub(super) share: f64,
    pub(super) process: Process,
    pub(super) baseline: Tally,
    pub(super) candidate: Tally,
    #[serde(default)]
    strata: Strata,
    pub(super) above: Option<u16>,
    pub(super) onset: Timestamp,
}

impl Compared {
    /// Nothing compared yet.
    pub(super) fn new(metric: Metric, share: f64, lifts: &[Lift]) -> Self {
        Compared {
            metric,
            share,
            process: Process::new(lifts),
            baseline: Tally::default(),
            candidate: Tally::default(),
            strata: Strata::default(),
            above: None,
            onset: Timestamp(0),
        }
    }

    pub(super) fn add(&mut self, elapsed: f64, at: Timestamp, w: f64, history: &History, batch: &Batch) {
        let (rate, count): (f64, &dyn Fn(&Outcomes) -> Tally) = match self.metric {
            Metric::Errors => (history.errors.value(), &errors),
            Metric::ClientErrors => (history.client_errors.value(), &client_errors),
            Metric::LatencyP50 | Metric::LatencyP95 | Metric::LatencyP99 => {
                let quantile = self.metric.quantile().unwrap_or(0.5);
                let silent = batch.baseline.latency.total() + batch.candidate.latency.total() == 0;
                let Some((above, rate)) = history.threshold(quantile).filter(|_| !silent) else {
                    return;
                };
                self.above = Some(above);
                (rate, &move |outcomes: &Outcomes| slower(outcomes, above))
            }
        };
        let (baseline, candidate) = (count(&batch.baseline), count(&batch.candidate));
        if self.onset == Timestamp(0) || self.process.at_rest() {
            self.onset = at;
        }
        self.process.compare(elapsed, w, rate, baseline, candidate);
        self.baseline.add(baseline);
        self.candidate.add(candidate);
        self.strata.add(w, baseline, candidate);
    }

    /// The evidence for people, with the latencies of both arms so far.
    pub(super) fn evidence(
        &self,
        baseline: &LatencyHistogram,
        candidate: &LatencyHistogram,
    ) -> MetricEvidence {
        let arm = |tally: Tally, latency: &LatencyHistogram| ArmEvidence {
            units: tally.units,
            bad: tally.bad,
            rate: tally.rate(),
            quantile_ms: self
                .metric
                .quantile()
                .and_then(|q| latency.quantile_micros(q))
                .map(|us| us / 1000.0),
            quantile_interval_ms: self
                .metric
                .quantile()
                .and_then(|q| quantile_interval(latency, q, INTERVAL_ALPHA))
                .map(|(low, high)| (low / 1000.0, high / 1000.0)),
        };
        let (effect, interval) = self.strata.effect(INTERVAL_ALPHA);
        MetricEvidence {
            metric: self.metric,
            share: self.share,
            baseline: arm(self.baseline, baseline),
            candidate: arm(self.candidate, candidate),
            effect,
            interval,
            threshold_ms: self
                .above
                .map(|bucket| LatencyHistogram::lower_bound(bucket) as f64 / 1000.0),
            e_value: finite_exp(self.process.log_e()),
            log_e: self.process.log_e(),
        }
    }
}
