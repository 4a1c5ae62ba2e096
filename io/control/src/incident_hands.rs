//! Carries out what an incident owes: protection, checks, restarts, the way back, documents.

use std::sync::Arc;
use std::time::Duration;

use trimtab_incident::{
    Channel as Told, Effect, Event, Notice, Outcome, Plan, State, notice_text, proposals,
};
use trimtab_model::{Actor, ReleaseId, RolloutId, Severity};
use trimtab_notify::Channel;
use trimtab_pipeline::RolloutOutcome;

use crate::blueprint;
use crate::clock;
use crate::documents;
use crate::learning;
use crate::machine::{Hands, Outcome as Pending};
use crate::machines::Incidents;
use crate::silences;
use crate::start_rollout;
use crate::world::World;

/// The longest wait for what is under way to a release before it is restarted.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Hands of incidents.
pub(crate) struct IncidentHands(pub(crate) Arc<World>);

impl Hands<Incidents> for IncidentHands {
    fn carry_out(&self, id: &str, plan: &Plan, state: &State, effect: Effect) -> Pending<Event> {
        let work = Work {
            world: Arc::clone(&self.0),
            id: id.to_owned(),
            plan: plan.clone(),
            state: state.clone(),
        };
        Box::pin(async move { work.carry_out(effect).await })
    }
}

pub(crate) struct Work {
    pub(crate) world: Arc<World>,
    pub(crate) id: String,
    pub(crate) plan: Plan,
    pub(crate) state: State,
}

fn outcome(result: Result<String, String>) -> Outcome {
    match result {
        Ok(detail) => Outcome::Done { detail },
        Err(reason) => Outcome::Failed { reason },
    }
}

impl Work {
    async fn carry_out(self, effect: Effect) -> Event {
        let generation = effect.generation();
        let at = clock::now;
        match effect {
            Effect::Notify {
                what,
                channels,
                severity,
                ..
            } => {
                self.notify(what, &channels, severity).await;
                Event::Notified {
                    at: at(),
                    what,
                    generation,
                }
            }
            Effect::Protect { rollout, .. } => {
                let outcome = outcome(self.protect(&rollout).await);
                Event::ProtectionEnded {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::CheckHealth {
                release,
                off_traffic,
                since,
                ..
            } => {
                let outcome = outcome(self.check(&release, off_traffic, since).await);
                Event::HealthChecked {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::Restart { release, .. } => {
                let outcome = outcome(self.restart(&release).await);
                Event::Restarted {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::RollBack { rollout, .. } => {
                let outcome = outcome(self.roll_back(&rollout).await);
                Event::RollbackEnded {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::StartPrevious { release, .. } => {
                let outcome = outcome(self.start_previous(&release).await);
                Event::RollbackEnded {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::ClearRollout { rollout, .. } => {
                let outcome = outcome(self.clear(&rollout).await);
                Event::ProtectionEnded {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::VerifyMetrics { since, .. } => {
                let outcome = outcome(self.verify(since).await);
                Event::MetricsVerified {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::WatchMetrics { .. } => {
                let detail = self.wait_until_normal().await;
                Event::MetricsCleared {
                    at: at(),
                    generation,
                    detail,
                }
            }
            Effect::ProposeFixes { .. } => {
                let items = proposals(self.plan.class, &self.plan);
                let body = serde_json::json!({ "items": items.iter().map(|item| serde_json::json!({
                    "title": item.title, "why": item.why, "command": item.command })).collect::<Vec<_>>() });
                let outcome = outcome(self.write("report.proposals", body).await);
                Event::FixesProposed {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::ReportCauses { .. } => {
                let outcome = outcome(documents::causes(&self).await);
                Event::CausesReported {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::WritePostmortem { .. } => {
                let outcome = outcome(documents::postmortem(&self, None).await);
                Event::PostmortemWritten {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::Learn { .. } => {
                let outcome = outcome(learning::learn(&self).await);
                Event::Learned {
                    at: at(),
                    generation,
                    outcome,
                }
            }
            Effect::Timer { name, at: due, .. } => {
                clock::until(due).await;
                Event::TimerFired {
                    at: at(),
                    name,
                    generation,
                }
            }
        }
    }

    pub(crate) async fn write(&self, kind: &str, body: serde_json::Value) -> Result<String, String> {
        let written = self.world.write_down(&self.id, kind, body).await;
        written.map(|_| String::new()).map_err(|error| error.to_string())
    }

    async fn notify(&self, what: Notice, told: &[Told], severity: Severity) {
        let link = format!("{}/incidents/{}", self.world.link, self.id);
        let text = notice_text(&self.plan, &self.state, what, &link);
        let path = format!("/incidents/{}", self.id);
        let key = format!("{}/{what:?}/{}", self.id, self.state.generation.0);
        if self.is_silenced(what, &text.subject, severity).await {
            return;
        }
        for channel in told {
            let (channel, words) = match channel {
                Told::Sms => (Channel::Sms, (text.subject.clone(), text.sms.clone())),
                Told::Email => (Channel::Email, (text.subject.clone(), text.body.clone())),
                Told::Slack => (Channel::Slack, (text.subject.clone(), text.body.clone())),
            };
            self.world.tell(&key, &[channel], severity, words, &path).await;
        }
    }

    /// Whether a person wants no notices of this; then what would have been said is recorded.
    async fn is_silenced(&self, what: Notice, said: &str, severity: Severity) -> bool {
        let begun = match silences::begun(&self.world.journal).await {
            Ok(begun) => begun,
            Err(error) => {
                // Better told against somebody's wish than not told at all.
                tracing::warn!(%error, "failed to read silences; the notice is sent");
                return false;
            }
        };
        let now = clock::now();
        let covering = begun
            .iter()
            .find(|(_, silence)| silence.covers(&self.plan, severity, now));
        let Some((id, silence)) = covering else {
            return false;
        };
        let body = serde_json::json!({
            "notice": what, "text": said, "silence": id,
            "author": silence.author, "reason": silence.reason, "until": silence.until });
        if let Err(reason) = self.write("report.silenced", body).await {
            tracing::warn!(
                incident = self.id,
                reason,
                "failed to record that a notice was silenced"
            );
        }
        true
    }

    async fn protect(&self, rollout: &RolloutId) -> Result<String, String> {
        let rollouts = &self.world.machines().rollouts;
        let protected = trimtab_rollout::Event::Protected {
            at: clock::now(),
            incident: self.plan.incident.clone(),
            reason: self.plan.title.clone(),
        };
        rollouts
            .send(rollout.as_str(), protected)
            .await
            .map_err(|error| error.to_string())?;
        let mut watch = rollouts
            .watch(rollout.as_str())
            .ok_or_else(|| format!("there is no {rollout}"))?;
        let seen = watch
            .wait_for(|rollout| rollout.state.traffic.is_off() || rollout.state.end().is_some())
            .await;
        match seen.map_err(|error| error.to_string())?.state.end() {
            Some(end) => Err(format!("{rollout} had ended: {end}")),
            None => Ok("traffic is off the candidate".to_owned()),
        }
    }

    async fn restart(&self, release: &ReleaseId) -> Result<String, String> {
        let (_, project) = self.world.release(release).map_err(|error| error.to_string())?;
        self.let_end(release, project.production.drain.0).await;
        let health = blueprint::health_check(&project);
        let restart = self.world.fleet.restart(release, &self.plan.environment, &health);
        restart
            .await
            .map(|()| format!("{release} was restarted"))
            .map_err(|error| error.to_string())
    }

    /// Lets what is still under way to a release that is off traffic end before a restart cuts it.
    async fn let_end(&self, release: &ReleaseId, limit: Duration) {
        let rollouts = &self.world.machines().rollouts;
        let rollout = self.plan.rollout.as_ref();
        let is_off = rollout
            .and_then(|rollout| rollouts.get(rollout.as_str()))
            .is_some_and(|rollout| rollout.state.traffic.is_off());
        if !is_off {
            return;
        }
        let (service, environment) = (&self.plan.service, &self.plan.environment);
        let limit = limit.min(DRAIN_MAX);
        let drained = self.world.traffic.drained(service, environment, release, limit);
        if let Err(error) = drained.await {
            tracing::warn!(incident = self.id, %error, "failed to wait for the last requests before a restart");
        }
    }

    async fn roll_back(&self, rollout: &RolloutId) -> Result<String, String> {
        let condemned = trimtab_rollout::Event::Condemned {
            at: clock::now(),
            incident: self.plan.incident.clone(),
            reason: self.plan.title.clone(),
        };
        let rollouts = &self.world.machines().rollouts;
        rollouts
            .send(rollout.as_str(), condemned)
            .await
            .map_err(|error| error.to_string())?;
        match start_rollout::ended(&self.world, rollout.as_str()).await {
            RolloutOutcome::RolledBack { reason } | RolloutOutcome::Failed { reason } => Ok(reason),
            RolloutOutcome::Deployed => Err(format!("{rollout} had gone forward already")),
        }
    }

    async fn start_previous(&self, previous: &ReleaseId) -> Result<String, String> {
        let by = Actor::trimtab();
        if let Some(suspect) = &self.plan.suspect {
            let quarantine = self
                .world
                .releases
                .quarantine(suspect, &self.plan.title, by.clone());
            quarantine.await.map_err(|error| error.to_string())?;
        }
        let environment = &self.plan.environment;
        let rollout = start_rollout::start(&self.world, environment, previous, None, &by, true).await?;
        match start_rollout::ended(&self.world, &rollout.id).await {
            RolloutOutcome::Deployed => Ok(format!("{previous} serves again")),
            RolloutOutcome::RolledBack { reason } | RolloutOutcome::Failed { reason } => Err(reason),
        }
    }

    async fn clear(&self, rollout: &RolloutId) -> Result<String, String> {
        let cleared = trimtab_rollout::Event::Cleared {
            at: clock::now(),
            incident: self.plan.incident.clone(),
            by: Actor::trimtab(),
            reason: "a restart healed it".to_owned(),
        };
        let rollouts = &self.world.machines().rollouts;
        rollouts
            .send(rollout.as_str(), cleared)
            .await
            .map_err(|error| error.to_string())?;
        Ok(format!("{rollout} goes on"))
    }
}
