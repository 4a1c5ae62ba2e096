//! Rollouts: where they stand, what the verdict says.

use trimtab_api as api;
use trimtab_api::{Allowed, Fault, Rollout, RolloutQuery, RolloutState, RolloutSummary, VerdictDecision};
use trimtab_control::clock;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Rollouts;
use trimtab_detection::verdict::{Decision, MetricEvidence, Verdict};
use trimtab_rollout::{End, Phase, Strategy};

use super::{AppBackend, moment, rows};

impl AppBackend {
    pub(super) fn rollout_list(&self, query: &RolloutQuery) -> Vec<RolloutSummary> {
        let mut all = self.world.machines().rollouts.list();
        all.reverse();
        all.iter()
            .filter(|r| {
                query
                    .service
                    .as_ref()
                    .is_none_or(|s| *s == r.plan.service.as_str())
            })
            .filter(|r| {
                query
                    .environment
                    .as_ref()
                    .is_none_or(|e| *e == r.plan.environment.as_str())
            })
            .filter(|r| {
                query
                    .active
                    .is_none_or(|active| active == r.state.end().is_none())
            })
            .take(rows(query.limit))
            .map(|rollout| self.rollout_summary(rollout))
            .collect()
    }

    pub(super) fn rollout_snapshot(&self, id: &str) -> Result<Snapshot<Rollouts>, Fault> {
        let found = self.world.machines().rollouts.get(id);
        found.ok_or_else(|| Fault::not_found("rollout", id))
    }

    fn rollout_summary(&self, rollout: &Snapshot<Rollouts>) -> RolloutSummary {
        let (plan, state) = (&rollout.plan, &rollout.state);
        let incidents = self.world.machines().incidents.list();
        let incident = incidents
            .iter()
            .rev()
            .find(|incident| incident.plan.rollout.as_ref() == Some(&plan.rollout));
        let until = state.watch.as_ref().map(|watch| watch.until);
        RolloutSummary {
            id: rollout.id.clone(),
            service: plan.service.to_string(),
            environment: plan.environment.to_string(),
            strategy: match plan.strategy {
                Strategy::Direct(_) => api::Strategy::Direct,
                Strategy::BlueGreen(_) => api::Strategy::BlueGreen,
            },
            baseline: plan.baseline.as_ref().map(ToString::to_string),
            candidate: plan.candidate.to_string(),
            state: state_of(rollout),
            state_text: state.describe(),
            candidate_percent: state.traffic.weight.percent(),
            next_step: if matches!(state.phase, Phase::Watching { .. }) {
                "the watch ends".to_owned()
            } else {
                String::new()
            },
            next_at: until
                .filter(|_| matches!(state.phase, Phase::Watching { .. }))
                .map(moment),
            created_at: moment(rollout.created_at),
            finished_at: state.end().map(|_| moment(rollout.changed_at)),
            run: plan.run.as_ref().map(ToString::to_string),
            incident: incident.map(|incident| incident.id.clone()),
            allowed: allowed(rollout),
        }
    }

    pub(super) async fn one_rollout(&self, id: &str) -> Result<Rollout, Fault> {
        let rollout = self.rollout_snapshot(id)?;
        let events = self.stream(&format!("rollout/{id}")).await?;
        let verdict = self.world.evidence.verdict(&rollout.plan.rollout);
        let weights = weights(&rollout, &events);
        Ok(Rollout {
            summary: self.rollout_summary(&rollout),
            phases: Vec::new(),
            baseline_figures: None,
            candidate_figures: None,
            verdict: verdict.map(verdict_of),
            weights,
            charts: Vec::new(),
            timeline: events.iter().rev().map(|event| self.entry(event)).collect(),
            preview_url: None,
        })
    }
}

/// The weights that were acknowledged, by stepping through the events again.
fn weights(rollout: &Snapshot<Rollouts>, events: &[trimtab_journal::StoredEvent]) -> Vec<api::WeightStep> {
    let mut state = trimtab_rollout::start(&rollout.plan);
    let (mut weight, mut steps) = (trimtab_model::Weight::ZERO, Vec::new());
    for event in events.iter().skip(1) {
        let Ok(happened) = serde_json::from_value(event.body.clone()) else {
            continue;
        };
        state = trimtab_rollout::step(&rollout.plan, state, happened).0;
        if state.traffic.acknowledged && state.traffic.weight != weight {
            weight = state.traffic.weight;
            steps.push(api::WeightStep {
                at: moment(event.at),
                candidate_percent: weight.percent(),
                reason: state.describe(),
            });
        }
    }
    steps
}

fn state_of(rollout: &Snapshot<Rollouts>) -> RolloutState {
    if rollout.state.paused.is_some() && rollout.state.end().is_none() {
        return RolloutState::Paused;
    }
    match &rollout.state.phase {
        Phase::Starting | Phase::Testing | Phase::Shifting { .. } | Phase::Checking { .. } => {
            RolloutState::Preparing
        }
        Phase::Watching { .. } | Phase::Asking { .. } => RolloutState::Watching,
        Phase::Finishing | Phase::DrainingBaseline | Phase::Lingering | Phase::Decommissioning => {
            RolloutState::Completing
        }
        Phase::Protected => RolloutState::Protected,
        Phase::Restoring
        | Phase::Withdrawing
        | Phase::DrainingCandidate
        | Phase::Quarantining
        | Phase::Stopping => RolloutState::RollingBack,
        Phase::Announcing { end } | Phase::Ended { end } => match end {
            End::Deployed => RolloutState::Deployed,
            End::RolledBack { .. } => RolloutState::RolledBack,
            End::Failed { .. } => RolloutState::Failed,
        },
    }
}

fn allowed(rollout: &Snapshot<Rollouts>) -> Allowed {
    let state = state_of(rollout);
    let forward = matches!(
        state,
        RolloutState::Preparing | RolloutState::Watching | RolloutState::Paused
    );
    let paused = state == RolloutState::Paused;
    Allowed {
        promote: matches!(state, RolloutState::Watching | RolloutState::Paused),
        abort: forward,
        pause: forward && !paused,
        resume: paused,
        roll_back: forward
            || matches!(
                state,
                RolloutState::Completing | RolloutState::Protected | RolloutState::Deployed
            ),
    }
}

fn decision(decision: Decision) -> VerdictDecision {
    match decision {
        Decision::Regressed => VerdictDecision::Regressed,
        Decision::Healthy => VerdictDecision::Healthy,
        Decision::Inconclusive => VerdictDecision::Collecting,
        _ => VerdictDecision::Inconclusive,
    }
}

fn verdict_of(verdict: Verdict) -> api::Verdict {
    api::Verdict {
        decision: decision(verdict.decision),
        forecast: verdict.units_needed.map(|units| api::Forecast {
            units: Some(units),
            seconds: None,
            text: format!("about {units} more requests decide"),
        }),
        evidence: verdict
            .metrics
            .iter()
            .map(|metric| evidence(metric, verdict.alpha))
            .collect(),
        reason: verdict.reason,
        alpha: verdict.alpha,
        alpha_left: verdict.alpha_left,
        tolerance_percent: 0.0,
        as_of: moment(clock::now()),
    }
}

fn evidence(metric: &MetricEvidence, alpha: f64) -> api::Evidence {
    let threshold = (alpha > 0.0).then(|| 1.0 / alpha);
    let regressed = threshold.is_some_and(|threshold| metric.e_value >= threshold);
    api::Evidence {
        metric: metric.metric.to_string(),
        decision: if regressed {
            VerdictDecision::Regressed
        } else {
            VerdictDecision::Collecting
        },
        e_value: Some(metric.e_value),
        threshold,
        baseline: Some(metric.baseline.rate).filter(|rate| rate.is_finite()),
        candidate: Some(metric.candidate.rate).filter(|rate| rate.is_finite()),
        unit: String::new(),
        effect: Some(metric.effect).filter(|effect| effect.is_finite()),
        interval: Some(metric.interval),
        units_needed: None,
        query: None,
    }
}
