//! The candidate against the previous release's recent past: fast after a full switch, when hardly any
//! traffic is left on the baseline.
//!
//! One arm is held against the past's rate, widened to the worst window of that past, so alpha holds only
//! as far as the past does. The holdback is held against the same past: if it suffers too, the cause is
//! shared and nothing is called. Whether it does is itself tested: how much likelier the holdback's
//! requests since the trouble began are at the widened rate than if they came from the candidate's rate, as
//! far as that is known. Trouble that begins with the candidate's first requests is hardly anyone else's;
//! trouble that comes after a good while may well be, so the holdback must then be fine more surely.

use serde::{Deserialize, Serialize};
use trimtab_model::{LatencyHistogram, Timestamp};

use super::history::{above, client_errors, errors, slower};
use super::interval::{log_predictive, rate_interval};
use super::process::{Process, Tally, guess, log_sum};
use super::{Batch, Config, Lift, Metric, Outcomes, Past, PastEvidence, Share, SharedCause};

/// With fewer requests the past says too little to be held against anyone.
const REQUESTS_MIN: u64 = 100;
/// A window's rate is mixed with that of the whole past as if it had so many requests; neighbouring windows
/// are put together until they hold half as many.
const WINDOW_SHRINK: f64 = 200.0;
/// Lifts below this are left to the comparison with the holdback: the past is no exact baseline.
pub(super) const ODDS_MIN: f64 = 2.0;
/// Money moves from lifts, which the past knows too roughly, to breakages, for which this comparison is.
const LIFT_KEPT: f64 = 0.2;
/// Likewise to errors, by which breakages show first.
const ERRORS_RAISED: f64 = 2.0;
/// The holdback suffers too once the evidence against it is this strong.
const SHARED_ODDS: f64 = 10.0;
/// Trouble after so many good requests of the candidate, or so many seconds, is no birth defect.
const GOOD_REQUESTS: f64 = 400.0;
const GOOD_SECONDS: f64 = 6.0;
/// Of the odds at which the holdback counts as fine, what a birth defect needs.
const BIRTH_DEFECT_SHARE: f64 = 0.01;

/// One metric of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Against {
    metric: Metric,
    log_share: f64,
    /// What of [`AgainstPast::log_fine`] trouble that began when this one did needs, as a factor.
    #[serde(default = "whole")]
    suspicion: f64,
    above: Option<u16>,
    past: Tally,
    widened: f64,
    candidate: Process,
    holdback: Process,
    candidate_since: Tally,
    holdback_since: Tally,
    onset: Timestamp,
    crossed_at: Option<Timestamp>,
}

fn whole() -> f64 {
    1.0
}

/// The comparison with the past over all metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgainstPast {
    metrics: Vec<Against>,
    log_needed: f64,
    wait_ms: i64,
    log_fine: f64,
    weight: f64,
    at: Timestamp,
    #[serde(default)]
    candidate_requests: u64,
}

impl AgainstPast {
    /// None when the past is too small, or is given no share of alpha.
    pub(crate) fn new(config: &Config, past: &Past) -> Option<Self> {
        let total = past.total();
        if total.requests < REQUESTS_MIN || config.past_share <= 0.0 {
            return None;
        }
        let lifts: Vec<Lift> = config
            .mixture
            .lifts
            .iter()
            .filter(|lift| lift.odds >= ODDS_MIN)
            .map(|lift| Lift {
                weight: lift.weight * lift.rate.map_or(LIFT_KEPT, |_| 1.0),
                ..*lift
            })
            .collect();
        let weight = |share: &Share| {
            let raised = if share.metric == Metric::Errors {
                ERRORS_RAISED
            } else {
                1.0
            };
            share.weight.max(0.0) * raised
        };
        let shares: f64 = config.mixture.metrics.iter().map(weight).sum();
        let metrics = config
            .mixture
            .metrics
            .iter()
            .filter(|share| share.weight > 0.0)
            .filter_map(|share| {
                let above = match share.metric.quantile() {
                    Some(quantile) => Some(above(&total.latency, quantile)?),
                    None => None,
                };
                let count = |outcomes: &Outcomes| tally(share.metric, above, outcomes);
                Some(Against {
                    metric: share.metric,
                    log_share: (weight(share) / shares).ln(),
                    suspicion: 1.0,
                    above,
                    past: count(&total),
                    widened: widened(&past.windows, count),
                    candidate: Process::new(&lifts),
                    holdback: Process::new(&lifts),
                    candidate_since: Tally::default(),
                    holdback_since: Tally::default(),
                    onset: Timestamp(0),
                    crossed_at: None,
                })
            })
            .collect();
        Some(AgainstPast {
            metrics,
            log_needed: (1.0 / (config.alpha * config.past_share)).ln(),
            wait_ms: config.shared_wait_ms,
            log_fine: config.fine_odds.max(2.0).ln(),
            weight: 0.0,
            at: Timestamp(0),
            candidate_requests: 0,
        })
    }

    /// Sets the evidence needed to call by this comparison alone, once its share of alpha is known.
    pub(crate) fn set_share(&mut self, alpha: f64, share: f64) {
        self.log_needed = (1.0 / (alpha * share)).ln();
    }

    pub(crate) fn add(&mut self, elapsed: f64, batch: &Batch) {
        self.weight = batch.weight.probability();
        self.at = self.at.max(batch.at);
        let good = (self.candidate_requests as f64 / GOOD_REQUESTS).max(elapsed / GOOD_SECONDS);
        let suspicion = good.clamp(BIRTH_DEFECT_SHARE, 1.0);
        for metric in &mut self.metrics {
            metric.add(elapsed, self.at, batch, self.log_needed, suspicion);
        }
        self.candidate_requests += batch.candidate.requests;
    }

    /// ln of the evidence that may act now: metrics whose cause may be shared count as nothing, and so do
    /// all of them once one is known to share its cause.
    pub(crate) fn log_e_acting(&self) -> f64 {
        if self.cause_is_shared() {
            return f64::NEG_INFINITY;
        }
        let acting = self.metrics.iter().filter(|m| self.acts(m));
        log_sum(acting.map(|m| m.log_share + m.candidate.log_e()))
    }

    /// ln of what each metric adds to [`AgainstPast::log_e_acting`].
    pub(crate) fn acting(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        let none = self.cause_is_shared();
        let acting = self.metrics.iter().filter(move |m| !none && self.acts(m));
        acting.map(|m| (m.metric, m.log_share + m.candidate.log_e()))
    }

    /// ln of what each metric adds to [`AgainstPast::log_e`].
    pub(crate) fn suspected(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        self.metrics
            .iter()
            .map(|m| (m.metric, m.log_share + m.candidate.log_e()))
    }

    fn acts(&self, metric: &Against) -> bool {
        matches!(self.shared(metric), SharedCause::No | SharedCause::NoHoldback)
    }

    /// ln of the evidence against the candidate, whoever else suffers.
    pub(crate) fn log_e(&self) -> f64 {
        log_sum(self.metrics.iter().map(|m| m.log_share + m.candidate.log_e()))
    }

    /// ln of what each metric and lift adds to the evidence.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = (Metric, f64, f64)> + '_ {
        self.metrics.iter().flat_map(|m| {
            m.candidate
                .speakers()
                .map(move |(odds, log_e)| (m.metric, odds, m.log_share + log_e))
        })
    }

    /// Whether the candidate is worse than the past and the holdback suffers with it.
    pub(crate) fn cause_is_shared(&self) -> bool {
        let crossed = |m: &&Against| m.log_share + m.candidate.log_e() >= self.log_needed;
        self.metrics
            .iter()
            .filter(crossed)
            .any(|m| self.shared(m) == SharedCause::Yes)
    }

    /// Whether the candidate is worse than the past and the holdback has not yet shown who is at fault.
    pub(crate) fn waits_for_holdback(&self) -> bool {
        self.log_e() >= self.log_needed
            && self
                .leading()
                .is_some_and(|m| self.shared(m) == SharedCause::Open)
    }

    /// The metric with the most evidence; of those that may act, or of those that share their cause, when
    /// that is what decides.
    fn leading(&self) -> Option<&Against> {
        let weight = |m: &Against| m.log_share + m.candidate.log_e();
        let shared = self.cause_is_shared();
        let crossed = |m: &&Against| weight(m) >= self.log_needed;
        let decides = |m: &&Against| {
            if shared {
                self.shared(m) == SharedCause::Yes
            } else {
                self.acts(m)
            }
        };
        let most = |x: &&Against, y: &&Against| weight(x).total_cmp(&weight(y));
        let deciding = self.metrics.iter().filter(crossed).filter(decides).max_by(most);
        deciding.or_else(|| self.metrics.iter().max_by(most))
    }

    /// When the leading metric's trouble began.
    pub(crate) fn onset(&self) -> Timestamp {
        self.leading().map_or(self.at, |m| m.onset)
    }

    fn shared(&self, metric: &Against) -> SharedCause {
        if metric.holdback.log_e() >= SHARED_ODDS.ln() {
            return SharedCause::Yes;
        }
        if self.weight >= 1.0 && metric.holdback_since.units == 0 {
            return SharedCause::NoHoldback;
        }
        let waited = metric.crossed_at.map_or(0, |at| self.at.0.saturating_sub(at.0));
        // As much as ever through half of the wait, and then less and less.
        let patience = (2.0 - 2.0 * waited as f64 / self.wait_ms.max(1) as f64).clamp(0.0, 1.0);
        // Each metric asks its own share of the error, so that all together stay within it.
        let needed = (self.log_fine + metric.suspicion.ln()).max(0.0) - metric.log_share;
        if metric.log_fine() >= needed * patience {
            SharedCause::No
        } else if patience > 0.0 {
            SharedCause::Open
        } else if metric.holdback_since.units == 0 {
            SharedCause::NoHoldback
        } else {
            SharedCause::Yes
        }
    }

    /// The evidence for people: that of the leading metric.
    pub(crate) fn evidence(&self) -> Option<PastEvidence> {
        let leading = self.leading()?;
        let shared = self.shared(leading);
        let note = match shared {
            SharedCause::NoHoldback => {
                "no traffic is left on the previous release, so a shared cause cannot be told apart"
            }
            SharedCause::Open => "the holdback has not yet shown whether the cause is shared",
            SharedCause::No => "the holdback on the previous release is fine",
            SharedCause::Yes => {
                "the holdback on the previous release suffers too: the cause is shared, moving traffic would not help"
            }
        };
        Some(PastEvidence {
            metric: leading.metric,
            past_rate: leading.past.rate(),
            widened_rate: leading.widened,
            candidate_rate: leading.candidate_since.rate(),
            holdback_rate: leading.holdback_since.rate(),
            candidate: leading.candidate_since,
            holdback: leading.holdback_since,
            threshold_ms: leading
                .above
                .map(|b| LatencyHistogram::lower_bound(b) as f64 / 1000.0),
            e_value: self.log_e().exp().min(f64::MAX),
            holdback_e_value: leading.holdback.log_e().exp().min(f64::MAX),
            shared,
            note: format!(
                "holds as far as the last {} requests of the past do; {note}",
                leading.past.units
            ),
        })
    }
}

impl Against {
    /// How much likelier the holdback's requests are at the widened rate than at the candidate's, in nats.
    fn log_fine(&self) -> f64 {
        let (holdback, w) = (self.holdback_since, self.widened);
        let good = (holdback.units - holdback.bad) as f64;
        let at_past = holdback.bad as f64 * w.ln() + good * (1.0 - w).ln();
        at_past - log_predictive(holdback, self.candidate_since)
    }

    fn add(&mut self, elapsed: f64, at: Timestamp, batch: &Batch, log_needed: f64, suspicion: f64) {
        if self.candidate.at_rest() || self.onset == Timestamp(0) {
            (self.candidate_since, self.holdback_since) = Default::default();
            self.onset = at;
            self.suspicion = suspicion;
            self.crossed_at = None;
        }
        let candidate = tally(self.metric, self.above, &batch.candidate);
        let holdback = tally(self.metric, self.above, &batch.baseline);
        self.candidate.exceed(elapsed, self.widened, candidate);
        self.holdback.exceed(elapsed, self.widened, holdback);
        self.candidate_since.add(candidate);
        self.holdback_since.add(holdback);
        if self.crossed_at.is_none() && self.log_share + self.candidate.log_e() >= log_needed {
            self.crossed_at = Some(at);
        }
    }
}

fn tally(metric: Metric, above: Option<u16>, outcomes: &Outcomes) -> Tally {
    match (metric, above) {
        (Metric::ClientErrors, _) => client_errors(outcomes),
        (_, Some(above)) if outcomes.latency.total() > 0 => slower(outcomes, above),
        (_, Some(_)) => Tally::default(),
        (_, None) => errors(outcomes),
    }
}

/// The rate of the worst window, less what chance adds to a small one, and at least what the past as a whole
/// cannot rule out.
fn widened(windows: &[Outcomes], count: impl Fn(&Outcomes) -> Tally) -> f64 {
    let mut total = Tally::default();
    windows.iter().for_each(|outcomes| total.add(count(outcomes)));
    let (mut worst, mut window) = (0.0f64, Tally::default());
    for outcomes in windows {
        window.add(count(outcomes));
        if window.units as f64 >= WINDOW_SHRINK / 2.0 {
            let bad = window.bad as f64 + total.rate() * WINDOW_SHRINK;
            worst = worst.max(bad / (window.units as f64 + WINDOW_SHRINK));
            window = Tally::default();
        }
    }
    guess(worst.max(rate_interval(total, 0.01).1))
}
