//! A rollout's evidence: both arms' figures, the verdict, charts side by side.

use trimtab_api as api;
use trimtab_api::{ArmFigures, Chart, Evidence, VerdictDecision};
use trimtab_control::clock;
use trimtab_control::evidence::Kept;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Rollouts;
use trimtab_detection::verdict::{Decision, MetricEvidence, Outcomes, PastEvidence, Verdict};
use trimtab_model::{ReleaseId, Timestamp};
use trimtab_runtime::InstanceState;

use super::charts::{Ask, step, window};
use super::health::selector;
use super::{AppBackend, moment};

/// What charts show before a rollout and after it.
const MARGIN_MS: i64 = 30_000;
/// Evidence beyond this is shown as this: JSON knows no infinity.
const E_MAX: f64 = 1e300;

/// What counts as one in a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Requests of the candidate's arm and of the baseline's.
    Requests,
    /// Users with a flag on and without.
    Users,
}

impl Counted {
    fn plural(self) -> &'static str {
        match self {
            Counted::Requests => "requests",
            Counted::Users => "users",
        }
    }

    fn in_words(self, metric: &MetricEvidence) -> String {
        let (baseline, candidate) = (&metric.baseline, &metric.candidate);
        match self {
            Counted::Requests => format!(
                "{} of {} requests of the baseline, {} of {} of the candidate",
                baseline.bad, baseline.units, candidate.bad, candidate.units
            ),
            Counted::Users => format!(
                "{} of {} users without the flag, {} of {} with it",
                baseline.bad, baseline.units, candidate.bad, candidate.units
            ),
        }
    }
}

impl AppBackend {
    /// What both arms served; none of an arm that there is not, or before traffic was compared.
    pub(super) async fn arms(
        &self,
        rollout: &Snapshot<Rollouts>,
        kept: Option<&Kept>,
    ) -> (Option<ArmFigures>, Option<ArmFigures>) {
        let Some(kept) = kept else { return (None, None) };
        let plan = &rollout.plan;
        let baseline = match &plan.baseline {
            Some(release) => Some(self.arm(rollout, release, &kept.arms.baseline).await),
            None => None,
        };
        let candidate = self.arm(rollout, &plan.candidate, &kept.arms.candidate).await;
        (baseline, Some(candidate))
    }

    async fn arm(&self, rollout: &Snapshot<Rollouts>, release: &ReleaseId, served: &Outcomes) -> ArmFigures {
        let selector = selector(
            Some(rollout.plan.service.as_str()),
            rollout.plan.environment.as_str(),
        );
        let rate = format!("sum(rate(trimtab_requests_total{{{selector},release=\"{release}\"}}[10s]))");
        let per_second = match rollout.state.end() {
            None => self.number(&rate, clock::now()).await,
            Some(_) => None,
        };
        let running = self.world.fleet.runtime().list().await.unwrap_or_default();
        let instances = running
            .iter()
            .filter(|i| i.release == *release && i.environment == rollout.plan.environment)
            .filter(|i| i.state == InstanceState::Running)
            .count();
        figures(
            release,
            served,
            per_second,
            u32::try_from(instances).unwrap_or(u32::MAX),
        )
    }

    /// Rate, errors and latency of both releases, and the weight.
    pub(super) async fn trial_charts(
        &self,
        rollout: &Snapshot<Rollouts>,
        weights: &[api::WeightStep],
    ) -> Vec<Chart> {
        let plan = &rollout.plan;
        let now = clock::now().0;
        let end = rollout
            .state
            .end()
            .map_or(now, |_| (rollout.changed_at.0 + MARGIN_MS).min(now));
        let (from, to) = (Timestamp(rollout.created_at.0 - MARGIN_MS), Timestamp(end));
        let step = step(from, to);
        let place = selector(Some(plan.service.as_str()), plan.environment.as_str());
        let mut charts = Vec::new();
        for ask in asks(&place, plan.baseline.as_ref(), &plan.candidate, &window(step)) {
            charts.push(self.chart(ask, from, to, step).await);
        }
        charts.push(weights_chart(weights, from, to, step));
        charts
    }

    pub(super) async fn verdict_of(
        &self,
        rollout: &Snapshot<Rollouts>,
        verdict: &Verdict,
        counted: Counted,
    ) -> api::Verdict {
        let plan = &rollout.plan;
        let place = selector(Some(plan.service.as_str()), plan.environment.as_str());
        let over = rollout.state.end().is_some();
        let rate = format!("sum(rate(trimtab_requests_total{{{place}}}[30s]))");
        let per_second = match counted {
            Counted::Requests => self.number(&rate, clock::now()).await.filter(|rate| *rate > 0.0),
            // When users come back is not known.
            Counted::Users => None,
        };
        let project = self
            .world
            .release(&plan.candidate)
            .ok()
            .map(|(_, project)| project);
        let units = verdict.units_needed.filter(|_| !over);
        let seconds = units.zip(per_second).map(|(units, rate)| units as f64 / rate);
        let mut evidence: Vec<Evidence> = verdict
            .past
            .iter()
            .map(|past| against_past(past, verdict.alpha))
            .collect();
        evidence.extend(verdict.metrics.iter().map(|metric| {
            let leads = verdict.leading == Some(metric.metric);
            one(metric, verdict, units.filter(|_| leads), counted)
        }));
        if counted == Counted::Requests {
            evidence.extend(own::evidence(rollout, project.as_ref(), verdict));
        }
        api::Verdict {
            decision: decision(verdict.decision, over),
            forecast: units.map(|units| api::Forecast {
                units: Some(units),
                seconds,
                text: match seconds {
                    Some(seconds) => {
                        format!(
                            "about {units} more {} decide, {seconds:.0} s at the present rate",
                            counted.plural()
                        )
                    }
                    None => format!("about {units} more {} decide", counted.plural()),
                },
            }),
            evidence,
            reason: verdict.reason.clone(),
            alpha: verdict.alpha,
            alpha_left: verdict.alpha_left,
            tolerance_percent: project.map_or(0.0, |p| p.production.verdict.tolerance.percent()),
            as_of: moment(clock::now()),
        }
    }
}

fn figures(release: &ReleaseId, served: &Outcomes, per_second: Option<f64>, instances: u32) -> ArmFigures {
    let known = |share: f64| {
        served
            .latency
            .quantile_micros(share)
            .map(|micros| micros / 1000.0)
    };
    ArmFigures {
        release: release.to_string(),
        requests: served.requests,
        errors: served.errors,
        error_percent: (served.requests > 0).then(|| 100.0 * served.errors as f64 / served.requests as f64),
        requests_per_second: per_second,
        p50_ms: known(0.5),
        p95_ms: known(0.95),
        p99_ms: known(0.99),
        instances,
    }
}

fn asks(place: &str, baseline: Option<&ReleaseId>, candidate: &ReleaseId, w: &str) -> Vec<Ask> {
    let arms: Vec<(&'static str, &ReleaseId)> = baseline
        .map(|release| ("baseline", release))
        .into_iter()
        .chain([("candidate", candidate)])
        .collect();
    let lines = |query: &dyn Fn(&str) -> String| {
        let of = |(name, release): &(&'static str, &ReleaseId)| {
            (Some(*name), query(&format!("{place},release=\"{release}\"")))
        };
        arms.iter().map(of).collect::<Vec<_>>()
    };
    let ask = |id: &str, title: &str, unit: &str, lines| Ask {
        id: id.to_owned(),
        title: title.to_owned(),
        unit: unit.to_owned(),
        objective: None,
        lines,
    };
    let requests = |s: &str| format!("sum(rate(trimtab_requests_total{{{s}}}[{w}]))");
    let errors = |s: &str| {
        format!(
            "100 * sum(rate(trimtab_requests_total{{{s},class=\"error\"}}[{w}])) \
             / sum(rate(trimtab_requests_total{{{s}}}[{w}]))"
        )
    };
    let latency = |s: &str| {
        format!(
            "1000 * histogram_quantile(0.95, sum by (le) (rate(trimtab_request_duration_seconds_bucket{{{s}}}[{w}])))"
        )
    };
    vec![
        ask("requests", "Requests", "/s", lines(&requests)),
        ask("errors", "Error rate", "%", lines(&errors)),
        ask("latency", "Response time, p95", "ms", lines(&latency)),
    ]
}

/// The candidate's share in force at each step of the time.
fn weights_chart(weights: &[api::WeightStep], from: Timestamp, to: Timestamp, step: i64) -> Chart {
    let mut points = Vec::new();
    let mut at = from.0;
    while at <= to.0 {
        let in_force = weights.iter().rev().find(|weight| weight.at.millis() <= at);
        points.push((at, Some(in_force.map_or(0.0, |weight| weight.candidate_percent))));
        at += step;
    }
    Chart {
        id: "weights".to_owned(),
        title: "Traffic on the candidate".to_owned(),
        unit: "%".to_owned(),
        series: vec![api::ChartSeries {
            name: "candidate".to_owned(),
            points,
        }],
        objective: None,
        source: "acknowledged weights, from the journal".to_owned(),
    }
}

fn decision(decision: Decision, over: bool) -> VerdictDecision {
    match decision {
        Decision::Regressed => VerdictDecision::Regressed,
        Decision::Healthy => VerdictDecision::Healthy,
        Decision::Inconclusive if !over => VerdictDecision::Collecting,
        _ => VerdictDecision::Inconclusive,
    }
}

fn one(metric: &MetricEvidence, verdict: &Verdict, units_needed: Option<u64>, counted: Counted) -> Evidence {
    let threshold = (verdict.alpha > 0.0).then(|| 1.0 / verdict.alpha);
    let percent = |share: f64| Some(share * 100.0).filter(|share| share.is_finite());
    let (low, high) = metric.interval;
    Evidence {
        metric: match metric.threshold_ms {
            Some(limit) => format!("{} ({limit:.1} ms)", metric.metric),
            None => metric.metric.to_string(),
        },
        decision: speaks(metric.e_value, threshold),
        e_value: Some(metric.e_value.min(E_MAX)),
        threshold,
        baseline: percent(metric.baseline.rate).filter(|_| metric.baseline.units > 0),
        candidate: percent(metric.candidate.rate).filter(|_| metric.candidate.units > 0),
        unit: "%".to_owned(),
        effect: percent(metric.effect).filter(|_| metric.baseline.units > 0 && metric.candidate.units > 0),
        interval: (low.is_finite() && high.is_finite()).then_some((low * 100.0, high * 100.0)),
        units_needed,
        counts: Some(counted.in_words(metric)),
        query: None,
    }
}

/// The faster process after a full switch: the candidate against the previous release's past.
fn against_past(past: &PastEvidence, alpha: f64) -> Evidence {
    let threshold = (alpha > 0.0).then(|| 1.0 / alpha);
    let percent = |share: f64| Some(share * 100.0).filter(|share| share.is_finite());
    Evidence {
        metric: format!("{} against the past", past.metric),
        decision: speaks(past.e_value, threshold),
        e_value: Some(past.e_value.min(E_MAX)),
        threshold,
        baseline: percent(past.widened_rate),
        candidate: percent(past.candidate_rate).filter(|_| past.candidate.units > 0),
        unit: "%".to_owned(),
        effect: percent(past.candidate_rate - past.widened_rate).filter(|_| past.candidate.units > 0),
        interval: None,
        units_needed: None,
        counts: Some(format!(
            "{} of {} requests of the candidate since evidence rose; {} of {} of the holdback. {}",
            past.candidate.bad, past.candidate.units, past.holdback.bad, past.holdback.units, past.note
        )),
        query: None,
    }
}

fn speaks(e_value: f64, threshold: Option<f64>) -> VerdictDecision {
    if threshold.is_some_and(|threshold| e_value >= threshold) {
        VerdictDecision::Regressed
    } else {
        VerdictDecision::Collecting
    }
}

mod own;
#[cfg(test)]
mod tests;
