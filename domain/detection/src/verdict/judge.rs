//! The judge of one rollout.

use serde::{Deserialize, Serialize};
use trimtab_model::{LatencyHistogram, Timestamp};

use super::compared::Compared;
use super::healthy::NotWorse;
use super::history::{History, errors, slower};
use super::past::AgainstPast;
use super::process::{divergence, guess, lifted, log_sum};
use super::ratio::Ratio;
use super::{Batch, Config, Decision, Lift, Metric, MetricEvidence, Past, Verdict, explain};

/// While the evidence against the candidate is stronger than this, it is not called healthy.
const DOUBT_ODDS: f64 = 5.0;

/// Half of all runs are through by this share of the mean that it takes.
const MEDIAN_SHARE: f64 = 0.75;

/// A regression that was called; it stays called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Called {
    at: Timestamp,
    onset: Timestamp,
    reason: String,
    metric: Option<Metric>,
}

/// Gathers the evidence of one rollout. Feed it every batch in order; ask for the verdict at any time.
/// The evidence is carried over changes of the weight and is never started anew inside a rollout; a
/// superseding release gets a judge of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    config: Config,
    metrics: Vec<Compared>,
    history: History,
    ratio: Ratio,
    not_worse_errors: NotWorse,
    not_worse_latency: NotWorse,
    latency_seen: bool,
    past: Option<AgainstPast>,
    /// The past's share of alpha, fixed by the weight of the first batch.
    #[serde(default)]
    past_share: Option<f64>,
    baseline_latency: LatencyHistogram,
    candidate_latency: LatencyHistogram,
    started_at: Option<Timestamp>,
    at: Timestamp,
    weight: f64,
    called: Option<Called>,
    routing_broken: bool,
}

impl Judge {
    /// A judge for a new rollout. `past` is the previous release's recent past, taken before the
    /// candidate got any traffic; with fewer than 100 requests it is not compared with.
    pub fn new(config: Config, past: Option<Past>) -> Self {
        let least = 1.0 + config.tolerance.max(0.0);
        let lifts: Vec<Lift> = config
            .mixture
            .lifts
            .iter()
            .copied()
            .filter(|lift| lift.odds >= least - 1e-9)
            .collect();
        let sum: f64 = config
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
            .map(|share| Compared::new(share.metric, share.weight / sum, &lifts))
            .collect();
        Judge {
            metrics,
            history: History::new(past.as_ref()),
            ratio: Ratio::new(),
            not_worse_errors: NotWorse::new(config.delta_errors),
            not_worse_latency: NotWorse::new(config.delta_latency),
            latency_seen: false,
            past: past.and_then(|past| AgainstPast::new(&config, &past)),
            past_share: None,
            baseline_latency: LatencyHistogram::default(),
            candidate_latency: LatencyHistogram::default(),
            started_at: None,
            at: Timestamp(0),
            weight: 0.0,
            called: None,
            routing_broken: false,
            config,
        }
    }

    /// Takes the next batch. Batches without requests do nothing.
    pub fn add(&mut self, batch: &Batch) {
        if batch.baseline.requests + batch.candidate.requests == 0 && batch.assigned.is_none() {
            return;
        }
        let w = batch.weight.probability();
        let started = *self.started_at.get_or_insert(batch.at);
        self.at = self.at.max(batch.at);
        self.weight = w;
        let elapsed = self.at.since(started).as_secs_f64();

        let (sent_baseline, sent_candidate) = batch
            .assigned
            .map_or((batch.baseline.requests, batch.candidate.requests), |a| {
                (a.baseline, a.candidate)
            });
        self.ratio.add(elapsed, w, sent_baseline, sent_candidate);

        for compared in &mut self.metrics {
            compared.add(elapsed, self.at, w, &self.history, batch);
        }
        let rate = self.history.errors.value();
        self.not_worse_errors
            .compare(w, rate, errors(&batch.baseline), errors(&batch.candidate));
        if let Some((above, rate)) = self.history.threshold(0.95)
            && batch.baseline.latency.total() + batch.candidate.latency.total() > 0
        {
            self.latency_seen = true;
            let (b, c) = (slower(&batch.baseline, above), slower(&batch.candidate, above));
            self.not_worse_latency.compare(w, rate, b, c);
        }
        if let Some(past) = &mut self.past {
            let share = *self
                .past_share
                .get_or_insert(self.config.past_share.clamp(0.0, 1.0) * w.sqrt());
            past.set_share(self.config.alpha, share);
            past.add(elapsed, batch);
        }
        self.baseline_latency.merge(&batch.baseline.latency);
        self.candidate_latency.merge(&batch.candidate.latency);
        self.history.add(&batch.baseline);
        self.decide();
    }

    fn decide(&mut self) {
        if self.called.is_some() || self.routing_broken {
            return;
        }
        if self.ratio.log_e() >= (1.0 / self.config.ratio_alpha).ln() {
            self.routing_broken = true;
        } else if self.log_e() >= self.log_needed() {
            let (reason, onset, metric) = explain::regressed(self);
            self.called = Some(Called {
                at: self.at,
                onset,
                reason,
                metric,
            });
        }
    }

    /// ln of the evidence at which a regression is called.
    pub(super) fn log_needed(&self) -> f64 {
        (1.0 / self.config.alpha).ln()
    }

    /// ln of the evidence of the arms alone, without its share of alpha.
    pub(super) fn log_e_arms(&self) -> f64 {
        log_sum(self.metrics.iter().map(|m| m.share.ln() + m.process.log_e()))
    }

    /// ln of all evidence that the candidate is worse: regressed at `ln(1 / alpha)`.
    pub fn log_e(&self) -> f64 {
        match &self.past {
            None => self.log_e_arms(),
            Some(past) => {
                let share = self.past_share();
                log_sum(
                    [
                        (1.0 - share).ln() + self.log_e_arms(),
                        share.ln() + past.log_e_acting(),
                    ]
                    .into_iter(),
                )
            }
        }
    }

    /// The past's share of alpha: the larger the candidate's arm at the start, the slower the baseline's
    /// arm tells, and the more the past is asked.
    pub(super) fn past_share(&self) -> f64 {
        self.past_share
            .unwrap_or_else(|| self.config.past_share.clamp(0.0, 1.0))
    }

    /// What may be done now; cheaper than the whole verdict.
    pub fn decision(&self) -> Decision {
        if self.called.is_some() {
            Decision::Regressed
        } else if self.routing_broken {
            Decision::RoutingBroken
        } else if self.is_healthy() || self.is_enough() {
            Decision::Healthy
        } else {
            Decision::Inconclusive
        }
    }

    /// When a regression was called, if one was.
    pub fn called_at(&self) -> Option<Timestamp> {
        self.called.as_ref().map(|called| called.at)
    }

    /// When the trouble that was called began, as far as the evidence shows.
    pub fn onset(&self) -> Option<Timestamp> {
        self.called.as_ref().map(|called| called.onset)
    }

    fn in_doubt(&self) -> bool {
        let doubt = DOUBT_ODDS.ln();
        self.log_e() >= doubt || self.past.as_ref().is_some_and(|past| past.log_e() >= doubt)
    }

    /// The tested claim: every part of it must hold at beta, so beta needs no sharing.
    pub(super) fn is_healthy(&self) -> bool {
        let enough = (1.0 / self.config.beta).ln();
        self.not_worse_errors.log_e() >= enough
            && (!self.latency_seen || self.not_worse_latency.log_e() >= enough)
            && !self.in_doubt()
    }

    fn is_enough(&self) -> bool {
        let candidate = self.metrics.first().map_or(0, |m| m.candidate.units);
        self.config
            .requests_enough
            .is_some_and(|enough| candidate >= enough)
            && !self.in_doubt()
    }

    fn log_e_healthy(&self) -> f64 {
        if self.latency_seen {
            self.not_worse_errors.log_e().min(self.not_worse_latency.log_e())
        } else {
            self.not_worse_errors.log_e()
        }
    }

    /// The verdict on all batches so far.
    pub fn verdict(&self) -> Verdict {
        let decision = self.decision();
        let metrics: Vec<MetricEvidence> = self.metrics.iter().map(|m| self.evidence(m)).collect();
        let reason = match &self.called {
            Some(called) => called.reason.clone(),
            None => explain::uncalled(self, decision),
        };
        let log_e = self.log_e();
        Verdict {
            decision,
            reason,
            leading: self
                .called
                .as_ref()
                .map_or_else(|| self.leading().map(|m| m.metric), |called| called.metric),
            metrics,
            custom: Vec::new(),
            leading_custom: None,
            e_value: finite_exp(log_e),
            log_e,
            alpha: self.config.alpha,
            alpha_left: if self.called.is_some() {
                0.0
            } else {
                self.config.alpha
            },
            units_needed: self.units_needed(),
            healthy_e_value: finite_exp(self.log_e_healthy()),
            ratio_e_value: finite_exp(self.ratio.log_e()),
            past: self.past.as_ref().and_then(AgainstPast::evidence),
            called_at: self.called_at(),
        }
    }

    fn evidence(&self, m: &Compared) -> MetricEvidence {
        m.evidence(&self.baseline_latency, &self.candidate_latency)
    }

    fn leading(&self) -> Option<&Compared> {
        let weight = |m: &Compared| m.share.ln() + m.process.log_e();
        self.metrics.iter().max_by(|x, y| weight(x).total_cmp(&weight(y)))
    }

    /// Requests still expected at the rates seen, so that half of all runs are through by then: to a regression where a metric is worse by more than the
    /// tolerance, else to healthy.
    fn units_needed(&self) -> Option<u64> {
        if self.decision() != Decision::Inconclusive || self.weight <= 0.0 || self.weight >= 1.0 {
            return None;
        }
        let w = self.weight;
        let missing = self.log_needed() - self.log_e();
        let worse = self.metrics.iter().filter_map(|m| {
            let (a, b) = (guess(m.baseline.rate()), guess(m.candidate.rate()));
            if m.candidate.bad < 3 || b <= lifted(a, 1.0 + self.config.tolerance) {
                return None;
            }
            let mean = (1.0 - w) * a + w * b;
            Some(missing / (w * divergence(b, mean) + (1.0 - w) * divergence(a, mean)))
        });
        let regressed = worse.fold(f64::INFINITY, f64::min);
        let open = |process: &NotWorse, rate: f64| {
            ((1.0 / self.config.beta).ln() - process.log_e()).max(0.0) / process.growth(w, rate).max(1e-12)
        };
        let latency = self.history.threshold(0.95).filter(|_| self.latency_seen);
        let healthy = open(&self.not_worse_errors, self.history.errors.value())
            .max(latency.map_or(0.0, |(_, rate)| open(&self.not_worse_latency, rate)));
        let units = MEDIAN_SHARE * if regressed.is_finite() { regressed } else { healthy };
        (units < 1e15).then_some(units.ceil() as u64)
    }
}

/// The parts of the tested claim.
pub(super) struct Claims {
    pub(super) errors: bool,
    pub(super) latency: bool,
    /// Enough requests, as the team says, whatever is shown.
    pub(super) enough: bool,
}

/// What [`super::Panel`] asks.
impl Judge {
    /// ln of what each metric adds to the evidence that may act, and whether it is against the past.
    pub(super) fn contributions(&self) -> Vec<(Metric, bool, f64)> {
        let share = self.past.as_ref().map_or(0.0, |_| self.past_share());
        let arms = self.metrics.iter();
        let arms = arms.map(|m| {
            (
                m.metric,
                false,
                (1.0 - share).ln() + m.share.ln() + m.process.log_e(),
            )
        });
        let past = self.past.iter().flat_map(AgainstPast::acting);
        let past = past.map(|(metric, log)| (metric, true, share.ln() + log));
        arms.chain(past).collect()
    }

    /// ln of the evidence against the candidate that makes it doubtful, by metric.
    pub(super) fn suspicions(&self) -> Vec<(Metric, f64)> {
        let share = self.past.as_ref().map_or(0.0, |_| self.past_share());
        let arms = self.metrics.iter();
        let arms = arms.map(|m| (m.metric, (1.0 - share).ln() + m.share.ln() + m.process.log_e()));
        arms.chain(self.past.iter().flat_map(AgainstPast::suspected))
            .collect()
    }

    pub(super) fn claims(&self) -> Claims {
        let shown = (1.0 / self.config.beta).ln();
        let candidate = self.metrics.first().map_or(0, |m| m.candidate.units);
        Claims {
            errors: self.not_worse_errors.log_e() >= shown,
            latency: !self.latency_seen || self.not_worse_latency.log_e() >= shown,
            enough: self
                .config
                .requests_enough
                .is_some_and(|enough| candidate >= enough),
        }
    }

    pub(super) fn evidence_of(&self, metric: Metric) -> Option<(MetricEvidence, Timestamp)> {
        let one = self.metrics.iter().find(|m| m.metric == metric)?;
        Some((self.evidence(one), one.onset))
    }
}

/// What learning asks.
impl Judge {
    /// ln of all evidence against the candidate, whether or not it may act yet.
    pub(crate) fn log_e_suspected(&self) -> f64 {
        let share = self.past_share();
        match &self.past {
            None => self.log_e_arms(),
            Some(past) => {
                log_sum([(1.0 - share).ln() + self.log_e_arms(), share.ln() + past.log_e()].into_iter())
            }
        }
    }

    /// How much of the evidence each pair of metric and lift (by its odds) contributed; sums to one.
    pub(crate) fn speakers(&self) -> Vec<(Metric, f64, f64)> {
        let arms = self.metrics.iter().flat_map(|m| {
            m.process
                .speakers()
                .map(move |(odds, log_e)| (m.metric, odds, m.share.ln() + log_e))
        });
        let past = self.past.iter().flat_map(AgainstPast::speakers);
        let all: Vec<(Metric, f64, f64)> = arms.chain(past).collect();
        let total = log_sum(all.iter().map(|(.., log_e)| *log_e));
        all.into_iter()
            .map(|(metric, odds, log_e)| (metric, odds, (log_e - total).exp()))
            .collect()
    }
}

/// The views that [`explain`] words.
impl Judge {
    pub(super) fn leading_evidence(&self) -> Option<(MetricEvidence, Timestamp)> {
        self.leading().map(|m| (self.evidence(m), m.onset))
    }

    pub(super) fn against_past(&self) -> Option<&AgainstPast> {
        self.past.as_ref()
    }

    pub(super) fn ratio(&self) -> &Ratio {
        &self.ratio
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn units(&self) -> (u64, u64) {
        self.metrics
            .first()
            .map_or((0, 0), |m| (m.baseline.units, m.candidate.units))
    }

    pub(super) fn units_expected(&self) -> Option<u64> {
        self.units_needed()
    }
}

/// Evidence as a number that JSON can carry.
pub(super) fn finite_exp(log_e: f64) -> f64 {
    log_e.exp().min(f64::MAX)
}
