//! Carries out what an incident owes: protection, checks, restarts, the way back, documents.

use std::sync::Arc;
use std::time::Duration;

use trimtab_detection::verdict::{Batch as Counts, Config, Decision, Judge};
use trimtab_incident::{
    Channel as Told, Effect, Event, Notice, Outcome, Phase, Plan, State, notice_text, proposals,
};
use trimtab_model::{Actor, ReleaseId, RolloutId, Severity, Timestamp, Weight};
use trimtab_notify::Channel;
use trimtab_pipeline::RolloutOutcome;

use crate::analysis;
use crate::blueprint;
use crate::clock;
use crate::documents;
use crate::learning;
use crate::machine::{Hands, Outcome as Pending};
use crate::machines::Incidents;
use crate::rollout_hands::probe_all;
use crate::silences;
use crate::start_rollout;
use crate::world::World;

/// Share of safe live requests that are copied to a candidate that is checked off-traffic.
const MIRROR_BASIS_POINTS: u16 = 5_000;
/// How long it is sampled.
const MIRROR_TIME: Duration = Duration::from_secs(5);
/// How long metrics are watched before they count as improved.
const VERIFY_TIME: Duration = Duration::from_secs(3);
/// How long to wait for enough requests to say so.
const VERIFY_PATIENCE: Duration = Duration::from_secs(30);
const VERIFY_REQUESTS_MIN: u64 = 20;
/// Metrics are back to normal below this share of failing requests.
const FAILING_NORMAL: f64 = 0.02;
/// Time without trouble after which a watched problem is over.
const QUIET_TIME: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(250);

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

    async fn check(
        &self,
        release: &ReleaseId,
        off_traffic: bool,
        since: Timestamp,
    ) -> Result<String, String> {
        probe_all(&self.world, release, &self.plan.environment).await?;
        let first = self.state.phase == Phase::Checking;
        if first
            && let Some(verdict) = self
                .plan
                .rollout
                .as_ref()
                .and_then(|id| self.world.evidence.verdict(id))
            && verdict.decision == Decision::Regressed
        {
            return Err(format!("its probes answer, but {}", verdict.reason));
        }
        if off_traffic {
            self.check_mirrored(release).await
        } else {
            self.check_served(since).await
        }
    }

    /// Judges a candidate without traffic by copies of safe live requests. Not shown to be healthy
    /// counts as unhealthy: the release before it serves well meanwhile.
    async fn check_mirrored(&self, release: &ReleaseId) -> Result<String, String> {
        let (service, environment) = (&self.plan.service, &self.plan.environment);
        let side = self
            .world
            .fleet
            .side(release, environment)
            .await
            .map_err(|error| error.to_string())?;
        let share = Weight::from_basis_points(MIRROR_BASIS_POINTS).map_err(|error| error.to_string())?;
        let traffic = &self.world.traffic;
        let since = clock::now();
        traffic
            .mirror(service, environment, Some((side, share)))
            .await
            .map_err(|error| error.to_string())?;
        tokio::time::sleep(MIRROR_TIME).await;
        traffic
            .mirror(service, environment, None)
            .await
            .map_err(|error| error.to_string())?;
        // A copy is made of a share s of the requests: of all answers the share s / (1 + s) is a copy's.
        let copies = share.probability() / (1.0 + share.probability());
        let weight = Weight::from_percent(copies * 100.0).map_err(|error| error.to_string())?;
        let mut judge = Judge::new(Config::default(), None);
        let mut seen = 0;
        let place = (service.clone(), environment.clone());
        let mut stretches = self.world.evidence.traffic_since(&place, since);
        stretches.reverse();
        for stretch in stretches.into_iter().filter(|stretch| stretch.safe) {
            let mut batch = Counts::new(stretch.at, weight);
            if stretch.mirrored {
                seen += stretch.outcomes.requests;
                batch.candidate = stretch.outcomes;
            } else {
                batch.baseline = stretch.outcomes;
            }
            judge.add(&batch);
        }
        let verdict = judge.verdict();
        match verdict.decision {
            Decision::Healthy => Ok(format!("{seen} copied requests show it well: {}", verdict.reason)),
            Decision::Regressed => Err(format!(
                "{seen} copied requests show it worse: {}",
                verdict.reason
            )),
            Decision::Inconclusive | Decision::RoutingBroken => Err(format!(
                "{seen} copied requests do not show it well: {}",
                verdict.reason
            )),
        }
    }

    async fn check_served(&self, since: Timestamp) -> Result<String, String> {
        tokio::time::sleep(VERIFY_TIME).await;
        let served = analysis::traffic(&self.world, &self.plan.service, &self.plan.environment, since);
        let failing = served.errors as f64 / served.requests.max(1) as f64;
        if failing > FAILING_NORMAL {
            return Err(format!(
                "{} of {} requests since failed",
                served.errors, served.requests
            ));
        }
        Ok(format!(
            "{} of {} requests since failed",
            served.errors, served.requests
        ))
    }

    async fn restart(&self, release: &ReleaseId) -> Result<String, String> {
        let (_, project) = self.world.release(release).map_err(|error| error.to_string())?;
        let health = blueprint::health_check(&project);
        let restart = self.world.fleet.restart(release, &self.plan.environment, &health);
        restart
            .await
            .map(|()| format!("{release} was restarted"))
            .map_err(|error| error.to_string())
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

    async fn verify(&self, since: Timestamp) -> Result<String, String> {
        let began = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(STEP).await;
            let served = analysis::traffic(&self.world, &self.plan.service, &self.plan.environment, since);
            if began.elapsed() < VERIFY_TIME || served.requests < VERIFY_REQUESTS_MIN {
                if began.elapsed() > VERIFY_PATIENCE {
                    return Err(format!(
                        "only {} requests came to verify it with",
                        served.requests
                    ));
                }
                continue;
            }
            let failing = served.errors as f64 / served.requests as f64;
            let said = format!("{} of {} requests since failed", served.errors, served.requests);
            return if failing <= FAILING_NORMAL {
                Ok(said)
            } else {
                Err(said)
            };
        }
    }

    async fn wait_until_normal(&self) -> String {
        loop {
            tokio::time::sleep(QUIET_TIME).await;
            let since = clock::now().minus(QUIET_TIME);
            let served = analysis::traffic(&self.world, &self.plan.service, &self.plan.environment, since);
            if served.requests > 0 && served.errors as f64 / served.requests as f64 <= FAILING_NORMAL {
                return format!(
                    "{} of the last {} requests failed",
                    served.errors, served.requests
                );
            }
        }
    }
}
