//! The candidate against the previous release's recent past: fast after a full switch, when hardly any
//! traffic is left on the baseline.
//!
//! One arm is held against the past's rate, widened to the worst window of that past, so alpha holds only
//! as far as the past does. The holdback is held against the same past: if it suffers too, the cause is
//! shared and nothing is called. Whether it does is itself tested: the holdback's requests since the
//! trouble began, at the widened rate against at the candidate's rate.

use serde::{Deserialize, Serialize};
use trimtab_model::{LatencyHistogram, Timestamp};

use super::history::{client_errors, errors, slower};
use super::interval::rate_interval;
use super::process::{Process, Tally, guess, log_sum};
use super::{Batch, Config, Lift, Metric, Outcomes, Past, PastEvidence, SharedCause};

/// With fewer requests the past says too little to be held against anyone.
const REQUESTS_MIN: u64 = 100;
/// Neighbouring windows are put together until they hold this many requests.
const WINDOW_REQUESTS_MIN: u64 = 100;
/// Lifts below this are left to the comparison with the holdback: the past is no exact baseline.
const ODDS_MIN: f64 = 2.0;
/// The holdback suffers too once the evidence against it is this strong.
const SHARED_ODDS: f64 = 10.0;

/// One metric of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Against {
    metric: Metric,
    log_share: f64,
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

/// The comparison with the past over all metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgainstPast {
    metrics: Vec<Against>,
    log_needed: f64,
    wait_ms: i64,
    log_fine: f64,
    weight: f64,
    at: Timestamp,
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
            .copied()
            .filter(|lift| lift.odds >= ODDS_MIN)
            .collect();
        let shares: f64 = config
            .mixture
            .metrics
            .iter()
            .map(|share| share.weight.max(0.0))
            .sum();
        let metrics = config
            .mixture
            .metrics
            .iter()
            .filter(|share| share.weight > 0.0)
            .filter_map(|share| {
                let above = match share.metric.quantile() {
                    Some(quantile) => Some(total.latency.quantile_bucket(quantile)? + 1),
                    None => None,
                };
                let count = |outcomes: &Outcomes| tally(share.metric, above, outcomes);
                Some(Against {
                    metric: share.metric,
                    log_share: (share.weight / shares).ln(),
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
        })
    }

    pub(crate) fn add(&mut self, elapsed: f64, batch: &Batch) {
        self.weight = batch.weight.probability();
        self.at = self.at.max(batch.at);
        for metric in &mut self.metrics {
            metric.add(elapsed, self.at, batch, self.log_needed);
        }
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
        let rate = guess(metric.candidate_since.rate()).max(metric.widened);
        if metric.holdback_since.log_ratio(metric.widened, rate) >= self.log_fine {
            return SharedCause::No;
        }
        let waited = metric
            .crossed_at
            .is_some_and(|crossed| self.at.0.saturating_sub(crossed.0) >= self.wait_ms);
        match (waited, metric.holdback_since.units) {
            (false, _) => SharedCause::Open,
            (true, 0) => SharedCause::NoHoldback,
            (true, _) if metric.holdback.log_e() < 3f64.ln() => SharedCause::No,
            (true, _) => SharedCause::Yes,
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
    fn add(&mut self, elapsed: f64, at: Timestamp, batch: &Batch, log_needed: f64) {
        if self.candidate.at_rest() || self.onset == Timestamp(0) {
            (self.candidate_since, self.holdback_since) = Default::default();
            self.onset = at;
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

/// The rate of the worst window, and at least what the past as a whole cannot rule out.
fn widened(windows: &[Outcomes], count: impl Fn(&Outcomes) -> Tally) -> f64 {
    let (mut worst, mut total, mut window) = (0.0f64, Tally::default(), Tally::default());
    for outcomes in windows {
        let tally = count(outcomes);
        total.add(tally);
        window.add(tally);
        if window.units >= WINDOW_REQUESTS_MIN {
            worst = worst.max(window.rate());
            window = Tally::default();
        }
    }
    guess(worst.max(rate_interval(total, 0.01).1))
}
