//! Rollouts: where they stand, what the verdict says.

use trimtab_api as api;
use trimtab_api::{
    Allowed, Fault, IncidentQuery, IncidentSummary, Rollout, RolloutQuery, RolloutState, RolloutSummary,
};
use trimtab_control::flag_book::FlagPlace;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Rollouts;
use trimtab_detection::verdict::Verdict as Evidence;
use trimtab_rollout::{End, Hook, Phase, Strategy, Way};
use trimtab_runtime::InstanceState;

use super::markers::of_rollout;
use super::phases::{passed, phases, weights};
use super::trial::Counted;
use super::{AppBackend, moment, rows, unavailable};

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
            strategy: strategy_name(&plan.strategy),
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
            flag: self.flag_of(rollout),
            created_at: moment(rollout.created_at),
            finished_at: state.end().map(|_| moment(rollout.changed_at)),
            run: plan.run.as_ref().map(ToString::to_string),
            incident: incident.map(|incident| incident.id.clone()),
            allowed: self.allowed(rollout),
        }
    }

    /// The flag of a rollout behind one. What its users met is known of the newest rollout alone.
    fn flag_of(&self, rollout: &Snapshot<Rollouts>) -> Option<api::RolloutFlag> {
        let Strategy::Flag(flag) = &rollout.plan.strategy else {
            return None;
        };
        let raised = rollout.state.flag.as_ref().filter(|raised| raised.acknowledged);
        Some(api::RolloutFlag {
            key: flag.key.clone(),
            percent: raised.map_or(0.0, |raised| raised.share.percent()),
            verdict: self.flag_evidence(rollout).map(super::flags::verdict),
        })
    }

    fn flag_evidence(&self, rollout: &Snapshot<Rollouts>) -> Option<Evidence> {
        let (plan, state) = (&rollout.plan, &rollout.state);
        let Strategy::Flag(flag) = &plan.strategy else {
            return None;
        };
        let all = self.world.rollouts_of(&plan.service, &plan.environment);
        let is_newest = all.last().is_some_and(|newest| newest.id == rollout.id);
        // Before its first step what there is may be an earlier rollout's.
        if !is_newest || state.flag.is_none() {
            return None;
        }
        let place = FlagPlace {
            service: plan.service.clone(),
            environment: plan.environment.clone(),
        };
        self.world.exposures.trials.verdict(&place, &flag.key)
    }

    pub(super) async fn one_rollout(&self, id: &str) -> Result<Rollout, Fault> {
        let rollout = self.rollout_snapshot(id)?;
        let events = self.stream(&format!("rollout/{id}")).await?;
        let kept = self.world.evidence.kept(&rollout.plan.rollout);
        let passes = passed(&rollout, &events);
        let weights = weights(&passes);
        let (baseline_figures, candidate_figures) = self.arms(&rollout, kept.as_ref()).await;
        // Once the flag is on for somebody, it is the flag that is judged.
        let judged = match self.flag_evidence(&rollout) {
            Some(of_flag) => Some((of_flag, Counted::Users)),
            None => kept
                .as_ref()
                .map(|kept| (kept.verdict.clone(), Counted::Requests)),
        };
        let verdict = match judged {
            Some((verdict, counted)) => Some(self.verdict_of(&rollout, &verdict, counted).await),
            None => None,
        };
        let summary = self.rollout_summary(&rollout);
        let about = self.incident_about(&summary).await?;
        Ok(Rollout {
            markers: of_rollout(&weights, about.as_ref()),
            summary,
            phases: phases(&rollout.plan, &passes),
            baseline_figures,
            candidate_figures,
            verdict,
            forecast: self.forecast_before(&rollout),
            charts: self.trial_charts(&rollout, &weights).await,
            timeline: self.timeline_of(&rollout.id, events).await?,
            group: rollout
                .plan
                .group
                .as_ref()
                .and_then(|membership| self.one_group(&membership.group).ok()),
            preview_url: self.preview(&rollout).await?,
            weights,
        })
    }

    async fn incident_about(&self, rollout: &RolloutSummary) -> Result<Option<IncidentSummary>, Fault> {
        let Some(id) = &rollout.incident else {
            return Ok(None);
        };
        let asked = IncidentQuery {
            service: Some(rollout.service.clone()),
            open: None,
            limit: Some(super::ROWS_MAX),
        };
        let all = self.incident_list(&asked).await?;
        Ok(all.into_iter().find(|incident| incident.id == *id))
    }

    /// What people may do with it now.
    fn allowed(&self, rollout: &Snapshot<Rollouts>) -> Allowed {
        let (phase, state) = (&rollout.state.phase, state_of(rollout));
        let forward = matches!(
            state,
            RolloutState::Preparing | RolloutState::Watching | RolloutState::Paused
        );
        let paused = state == RolloutState::Paused;
        let waits = forward && phase.waits_for_person();
        let ended = rollout.state.end();
        let failed = matches!(ended, Some(End::Failed { .. } | End::RolledBack { .. }));
        let free = |plan: &trimtab_rollout::Plan| {
            let newest = self.world.rollouts_of(&plan.service, &plan.environment);
            let is_newest = newest.last().is_some_and(|newest| newest.id == rollout.id);
            is_newest && self.world.releases.quarantined(&plan.candidate).is_none()
        };
        let in_charge = rollout.state.protection.as_ref();
        let in_charge = in_charge.is_some_and(|protection| protection.incident.is_some());
        Allowed {
            promote: matches!(state, RolloutState::Watching | RolloutState::Paused)
                && !matches!(
                    phase,
                    Phase::Hooking {
                        hook: Hook::Barrier { .. }
                    }
                ),
            abort: forward,
            pause: forward && !paused,
            resume: paused || waits,
            roll_back: forward
                || matches!(
                    state,
                    RolloutState::Completing | RolloutState::Protected | RolloutState::Deployed
                ),
            approve: waits && !paused,
            retry: (ended.is_none() && rollout.state.retry_at.is_some()) || (failed && free(&rollout.plan)),
            restart: matches!(phase.way(), Way::Forward | Way::Landing)
                && !rollout.state.irreversible
                && rollout.state.cause.is_none()
                && !in_charge,
        }
    }

    /// Where the candidate is reached beside the traffic, while it is on trial.
    async fn preview(&self, rollout: &Snapshot<Rollouts>) -> Result<Option<String>, Fault> {
        if rollout.state.end().is_some() {
            return Ok(None);
        }
        let running = self.world.fleet.runtime().list().await.map_err(unavailable)?;
        let candidate = running.iter().find(|instance| {
            instance.release == rollout.plan.candidate
                && instance.environment == rollout.plan.environment
                && instance.state == InstanceState::Running
        });
        Ok(candidate.map(|instance| format!("http://{}/", instance.address)))
    }
}

/// The strategy as the API names it.
pub(super) fn strategy_name(strategy: &Strategy) -> api::Strategy {
    match strategy {
        Strategy::Direct(_) => api::Strategy::Direct,
        Strategy::BlueGreen(_) => api::Strategy::BlueGreen,
        Strategy::Canary(_) => api::Strategy::Canary,
        Strategy::Rolling(_) => api::Strategy::Rolling,
        Strategy::Flag(_) => api::Strategy::FeatureFlag,
    }
}

fn state_of(rollout: &Snapshot<Rollouts>) -> RolloutState {
    if rollout.state.paused.is_some() && rollout.state.end().is_none() {
        return RolloutState::Paused;
    }
    match &rollout.state.phase {
        Phase::Watching { .. }
        | Phase::Asking { .. }
        | Phase::Approving { .. }
        | Phase::Holding { .. }
        | Phase::Hooking {
            hook: Hook::Gate { .. },
        }
        | Phase::Frozen { .. } => RolloutState::Watching,
        Phase::Hooking {
            hook: Hook::Barrier { .. },
        } if rollout.state.exposed => RolloutState::Watching,
        Phase::Protected => RolloutState::Protected,
        // Not before everybody can rely on it.
        Phase::Announcing { end: End::Deployed } => RolloutState::Completing,
        Phase::Announcing { .. } => RolloutState::RollingBack,
        Phase::Ended { end } => match end {
            End::Deployed => RolloutState::Deployed,
            // What the rollout was for did not come about.
            End::FlagDisabled { .. } => RolloutState::RolledBack,
            End::RolledBack { .. } => RolloutState::RolledBack,
            End::Failed { .. } => RolloutState::Failed,
        },
        phase => match phase.way() {
            Way::Forward => RolloutState::Preparing,
            Way::Landing => RolloutState::Completing,
            Way::Back | Way::Over => RolloutState::RollingBack,
        },
    }
}
