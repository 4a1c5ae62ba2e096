//! Carries out what a rollout owes: instances, tests, traffic, observation, notices.

use std::sync::Arc;
use std::time::Duration;

use trimtab_detection::verdict::Decision;
use trimtab_model::{Arm, Generation, ReleaseId, RolloutId, Severity, Timestamp, Weight};
use trimtab_notify::Channel;
use trimtab_rollout::{Effect, Event, Notice, Outcome, Plan, State, Verdict};
use trimtab_runner::{StepEnd, StepSpec, run_step};
use trimtab_runtime::check_health;

use crate::blueprint;
use crate::clock;
use crate::evidence::Subject;
use crate::fleet::target_url;
use crate::machine::{Hands, Outcome as Pending};
use crate::machines::Rollouts;
use crate::world::World;

/// Between health checks of a candidate that is watched.
const WATCH_PROBE_PAUSE: Duration = Duration::from_secs(1);

/// Hands of rollouts.
pub(crate) struct RolloutHands(pub(crate) Arc<World>);

impl Hands<Rollouts> for RolloutHands {
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

struct Work {
    world: Arc<World>,
    id: String,
    plan: Plan,
    state: State,
}

fn outcome<E: std::fmt::Display>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed {
            reason: error.to_string(),
        },
    }
}

impl Work {
    async fn carry_out(self, effect: Effect) -> Event {
        match effect {
            Effect::StartInstances { release, generation } => {
                let outcome = outcome(self.start(&release, generation).await);
                Event::Started {
                    at: clock::now(),
                    release,
                    generation,
                    outcome,
                }
            }
            Effect::Test { release, generation } => {
                let outcome = outcome(self.test(&release).await);
                Event::Tested {
                    at: clock::now(),
                    generation,
                    outcome,
                }
            }
            Effect::ShiftTraffic {
                candidate_weight,
                generation,
            } => {
                let outcome = outcome(self.shift(candidate_weight, generation).await);
                Event::Shifted {
                    at: clock::now(),
                    generation,
                    outcome,
                }
            }
            Effect::CheckHealth { release, generation } => {
                let outcome = outcome(self.check(&release).await);
                Event::HealthChecked {
                    at: clock::now(),
                    generation,
                    outcome,
                }
            }
            Effect::Observe {
                generation,
                round,
                until,
            } => {
                let verdict = tokio::select! {
                    verdict = self.observe(until) => verdict,
                    verdict = self.sicken() => verdict,
                };
                Event::Observed {
                    at: clock::now(),
                    generation,
                    round,
                    verdict,
                }
            }
            Effect::AskPerson { .. } => std::future::pending().await,
            Effect::Drain {
                release,
                generation,
                until,
            } => {
                let limit = until.since(clock::now());
                let drained = self
                    .world
                    .traffic
                    .drained(&self.plan.service, &self.plan.environment, &release, limit)
                    .await;
                let in_flight = drained.map_or(0, |left| left.requests);
                Event::Drained {
                    at: clock::now(),
                    release,
                    generation,
                    in_flight,
                }
            }
            Effect::StopInstances { release, generation } => {
                let outcome = outcome(self.stop(&release).await);
                Event::Stopped {
                    at: clock::now(),
                    release,
                    generation,
                    outcome,
                }
            }
            Effect::Quarantine {
                release,
                reason,
                generation,
                ..
            } => {
                let by = trimtab_model::Actor::trimtab();
                let outcome = outcome(self.world.releases.quarantine(&release, &reason, by).await);
                Event::Quarantined {
                    at: clock::now(),
                    generation,
                    outcome,
                }
            }
            Effect::Notify { what, generation } => {
                self.notify(what).await;
                Event::Notified {
                    at: clock::now(),
                    what,
                    generation,
                }
            }
            Effect::Timer { name, generation, at } => {
                clock::until(at).await;
                Event::TimerFired {
                    at: clock::now(),
                    name,
                    generation,
                }
            }
        }
    }

    fn arm(&self, release: &ReleaseId) -> Arm {
        if *release == self.plan.candidate {
            Arm::Candidate
        } else {
            Arm::Baseline
        }
    }

    async fn start(
        &self,
        release: &ReleaseId,
        generation: Generation,
    ) -> Result<(), crate::fleet::FleetError> {
        let (recorded, project) = self.world.release(release)?;
        let environment = &self.plan.environment;
        let place = (Some(self.plan.rollout.clone()), Some(self.arm(release)));
        self.world
            .fleet
            .start(&recorded, &project, environment, place, generation)
            .await?;
        if let Some(baseline) = &self.plan.baseline {
            let (recorded, _) = self.world.release(baseline)?;
            for instance in self.world.fleet.instances(baseline, environment).await? {
                let place = (Some(self.plan.rollout.clone()), Some(Arm::Baseline));
                self.world
                    .fleet
                    .identify(&instance.id, &recorded, environment, place);
            }
        }
        Ok(())
    }

    async fn test(&self, release: &ReleaseId) -> Result<(), String> {
        let (recorded, project) = self.world.release(release).map_err(|error| error.to_string())?;
        let Some(command) = &project.production.test else {
            return Ok(());
        };
        let side = self
            .world
            .fleet
            .side(release, &self.plan.environment)
            .await
            .map_err(|error| error.to_string())?;
        let mut env = command.env.clone();
        env.extend(target_url(&side).map(|url| ("TARGET_URL".to_owned(), url)));
        let spec = StepSpec {
            name: "production test".to_owned(),
            command: command.run.clone(),
            dir: self
                .world
                .dir
                .join("releases")
                .join(recorded.release.artifact.short()),
            env,
            timeout: command.timeout.0,
            secrets: Vec::new(),
            records: self.world.dir.join("steps"),
            user: None,
        };
        let outcome = run_step(&spec, std::future::pending(), &mut |_| ())
            .await
            .map_err(|error| error.to_string())?;
        match outcome.end {
            StepEnd::Passed => Ok(()),
            end => Err(format!(
                "`{}` {end}\n{}",
                command.run,
                outcome.last_lines.join("\n")
            )),
        }
    }

    async fn shift(&self, weight: Weight, generation: Generation) -> Result<(), String> {
        let (_, project) = self
            .world
            .release(&self.plan.candidate)
            .map_err(|error| error.to_string())?;
        let environment = &self.plan.environment;
        let fleet = &self.world.fleet;
        let candidate = fleet
            .side(&self.plan.candidate, environment)
            .await
            .map_err(|error| error.to_string())?;
        let baseline = match &self.plan.baseline {
            Some(baseline) => Some(
                fleet
                    .side(baseline, environment)
                    .await
                    .map_err(|error| error.to_string())?,
            ),
            None => None,
        };
        begin_trial(&self.world, &self.plan, &project);
        let entrance = self.world.entrance(&project, environment);
        let shift = self.world.traffic.shift(
            &entrance,
            &self.plan.rollout,
            generation,
            baseline,
            candidate,
            weight,
        );
        shift.await.map_err(|error| error.to_string())
    }

    async fn check(&self, release: &ReleaseId) -> Result<(), String> {
        probe_all(&self.world, release, &self.plan.environment).await
    }

    /// Follows the verdict until it is a regression or the watch ends.
    async fn observe(&self, until: Timestamp) -> Verdict {
        let rollout: &RolloutId = &self.plan.rollout;
        let evidence = &self.world.evidence;
        let mut changes = evidence.changes();
        let deadline = clock::deadline(until, clock::now());
        loop {
            if evidence.decision(rollout) == Some(Decision::Regressed) {
                let reason = evidence
                    .verdict(rollout)
                    .map_or_else(String::new, |verdict| verdict.reason);
                return Verdict::Regressed { reason };
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                break;
            }
            // A watch that cannot change any more (the process is stopping) still ends in time.
            let _ = tokio::time::timeout(left.min(Duration::from_secs(1)), changes.changed()).await;
        }
        let Some(verdict) = evidence.verdict(rollout) else {
            return Verdict::Inconclusive {
                reason: "no request of users was seen".to_owned(),
            };
        };
        match verdict.decision {
            Decision::Healthy => Verdict::Healthy,
            Decision::Regressed => Verdict::Regressed {
                reason: verdict.reason,
            },
            Decision::Inconclusive | Decision::RoutingBroken => Verdict::Inconclusive {
                reason: verdict.reason,
            },
        }
    }

    /// Ends when the candidate's health fails: without users' requests no verdict would tell.
    async fn sicken(&self) -> Verdict {
        loop {
            tokio::time::sleep(WATCH_PROBE_PAUSE).await;
            if let Err(reason) = self.check(&self.plan.candidate).await {
                return Verdict::Regressed { reason };
            }
        }
    }

    async fn stop(&self, release: &ReleaseId) -> Result<(), String> {
        let (_, project) = self.world.release(release).map_err(|error| error.to_string())?;
        let environment = &self.plan.environment;
        let forget = self
            .world
            .traffic
            .forget(&self.plan.service, environment, release);
        forget.await.map_err(|error| error.to_string())?;
        let stop = self
            .world
            .fleet
            .stop(release, environment, project.run.stop_grace.0);
        stop.await.map_err(|error| error.to_string())
    }

    async fn notify(&self, what: Notice) {
        let place = crate::fleet::place(&self.plan.service, &self.plan.environment);
        let candidate = &self.plan.candidate;
        let (title, severity) = match what {
            Notice::Asked => (
                format!("{place}: {candidate} waits for your decision"),
                Severity::Medium,
            ),
            Notice::Stuck => (
                format!("{place}: the way back from {candidate} is stuck"),
                Severity::High,
            ),
            Notice::Deployed => (format!("{place}: {candidate} is deployed"), Severity::Low),
            Notice::RolledBack => (format!("{place}: {candidate} was rolled back"), Severity::High),
            Notice::Failed => (
                format!("{place}: {candidate} failed before it had traffic"),
                Severity::High,
            ),
        };
        let key = format!("{}/{what:?}/{}", self.id, self.state.generation.0);
        let words = (title, self.state.describe());
        let channels = [Channel::Slack, Channel::Email, Channel::Webhook];
        self.world
            .tell(
                &key,
                &channels,
                severity,
                words,
                &format!("/rollouts/{}", self.id),
            )
            .await;
        if let Err(error) = self.world.evidence.save() {
            tracing::warn!(rollout = self.id, %error, "failed to keep a rollout's recording");
        }
    }
}

/// Begins the comparison of a rollout's arms, or goes on with it after a restart.
fn begin_trial(world: &World, plan: &Plan, project: &trimtab_project::Project) {
    let subject = Subject {
        rollout: plan.rollout.clone(),
        place: (plan.service.clone(), plan.environment.clone()),
        candidate: plan.candidate.clone(),
        baseline: plan.baseline.clone(),
    };
    let models = world
        .models
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    let config = models.config(&blueprint::verdict_config(project));
    world.evidence.begin(subject, config, models.templates);
}

/// Takes up the comparisons that were under way when the control process ended. To be called before the first
/// frame is taken: a frame of a trial that nobody has begun would be lost to it.
pub(crate) fn resume_trials(world: &World) {
    for rollout in world.machines().rollouts.list() {
        if rollout.state.end().is_some() || !rollout.state.exposed {
            continue;
        }
        match world.release(&rollout.plan.candidate) {
            Ok((_, project)) => begin_trial(world, &rollout.plan, &project),
            Err(error) => tracing::error!(rollout = rollout.id, %error, "failed to go on watching a rollout"),
        }
    }
}

/// Probes every instance of a release; the reason says which failed, with the answer it gave.
pub(crate) async fn probe_all(
    world: &World,
    release: &ReleaseId,
    environment: &trimtab_model::EnvironmentName,
) -> Result<(), String> {
    let (_, project) = world.release(release).map_err(|error| error.to_string())?;
    let check = blueprint::health_check(&project);
    let instances = world
        .fleet
        .instances(release, environment)
        .await
        .map_err(|error| error.to_string())?;
    if instances.is_empty() {
        return Err(format!("{release} has no instance in {environment}"));
    }
    for instance in instances {
        let report = check_health(instance.address, &check).await;
        if !report.healthy {
            let last = report.last;
            let said = last
                .error
                .unwrap_or_else(|| format!("status {:?}: {}", last.status, last.body));
            return Err(format!(
                "{} is unhealthy after {} probes: {said}",
                instance.id, report.probes
            ));
        }
    }
    Ok(())
}
