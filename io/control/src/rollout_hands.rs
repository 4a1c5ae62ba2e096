//! Carries out what a rollout owes: instances, tests, traffic, observation, notices.

use std::sync::Arc;
use std::time::Duration;

use trimtab_detection::verdict::{Panel, Standing};
use trimtab_model::{Arm, Generation, ReleaseId, RolloutId, Timestamp, Weight};
use trimtab_project::RunKind;
use trimtab_rollout::{Effect, Event, Instances, OnInconclusive, Outcome, Phase, Plan, State, Verdict};

use crate::blueprint;
use crate::clock;
use crate::evidence::Subject;
use crate::host::number_of;
use crate::judgement;
use crate::machine::{Hands, Outcome as Pending};
use crate::machines::Rollouts;
use crate::probes::{probe_all, probe_first};
use crate::traffic::{Side, across_rollouts};
use crate::workers;
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

pub(crate) struct Work {
    pub(crate) world: Arc<World>,
    pub(crate) id: String,
    pub(crate) plan: Plan,
    pub(crate) state: State,
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
            Effect::RunHook { hook, generation } => {
                let (outcome, said) = match self.hook(hook, generation).await {
                    Ok(said) => (Outcome::Done, said),
                    Err(reason) => (Outcome::Failed { reason }, None),
                };
                Event::HookRan {
                    at: clock::now(),
                    hook,
                    generation,
                    outcome,
                    said,
                }
            }
            Effect::StartInstances {
                release,
                count,
                generation,
            } => {
                let outcome = outcome(self.start(&release, count, generation).await);
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
                instances,
                generation,
            } => {
                let outcome = outcome(self.shift(candidate_weight, instances, generation).await);
                Event::Shifted {
                    at: clock::now(),
                    generation,
                    outcome,
                }
            }
            Effect::SetFlag { share, generation } => {
                let outcome = outcome(self.set_flag(share).await);
                Event::FlagSet {
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
                weight,
                requests_min,
                flag,
            } => {
                let verdict = tokio::select! {
                    verdict = self.observe_flag(until, requests_min), if flag => verdict,
                    verdict = self.observe(generation, until, (weight, requests_min)), if !flag => verdict,
                    verdict = self.sicken() => verdict,
                    never = self.ask_metrics() => match never {},
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
                keep,
                generation,
                until,
            } => {
                let in_flight = self.drain(&release, keep, until).await;
                Event::Drained {
                    at: clock::now(),
                    release,
                    generation,
                    in_flight,
                }
            }
            Effect::StopInstances {
                release,
                keep,
                generation,
            } => {
                let outcome = outcome(self.stop(&release, keep).await);
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
        count: Option<u32>,
        generation: Generation,
    ) -> Result<(), crate::fleet::FleetError> {
        let (recorded, project) = self.world.release(release)?;
        let environment = &self.plan.environment;
        if project.run.kind == RunKind::Cron {
            // Its runs start it; what would keep them from that is told now.
            return self.world.fleet.prepare(&recorded, &project, environment).await;
        }
        let place = (Some(self.plan.rollout.clone()), Some(self.arm(release)));
        // A baseline that starts again was started by another rollout, which may have counted further.
        let generation = across_rollouts(&self.plan.rollout, generation);
        let count = count.unwrap_or_else(|| self.world.scales.wanted(&project, environment));
        self.world
            .fleet
            .start(&recorded, &project, environment, place, 1..=count, generation)
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

    async fn shift(
        &self,
        weight: Weight,
        instances: Option<Instances>,
        generation: Generation,
    ) -> Result<(), String> {
        let (_, project) = self
            .world
            .release(&self.plan.candidate)
            .map_err(|error| error.to_string())?;
        match project.run.kind {
            RunKind::Service => {}
            // Its logs and metrics are compared though no traffic moves.
            RunKind::Worker => {
                begin_trial(&self.world, &self.plan, &project);
                return self.compare_workers().await;
            }
            RunKind::Cron => return Ok(()),
        }
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
        // While instances are replaced, only those that are meant to serve do.
        let first = |side: Side, count: fn(Instances) -> u32| match instances {
            Some(instances) => side.first(count(instances)),
            None => side,
        };
        let candidate = first(candidate, |instances| instances.candidate);
        let baseline = baseline.map(|baseline| first(baseline, |instances| instances.baseline));
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

    /// Follows the verdict until it is a regression, or healthy while a person is asked, or the watch
    /// ends. `enough` is what must have been seen before it counts as healthy: so many requests at a
    /// weight.
    async fn observe(&self, generation: Generation, until: Timestamp, enough: (Weight, u64)) -> Verdict {
        match workers::kind(&self.world, &self.plan.candidate) {
            RunKind::Service => {}
            kind => return self.observe_quiet(kind, generation, until).await,
        }
        let rollout: &RolloutId = &self.plan.rollout;
        let evidence = &self.world.evidence;
        evidence.belongs_to(rollout, generation);
        let mut changes = evidence.changes();
        let deadline = clock::deadline(until, clock::now());
        let settled = |lane| judgement::settled(&self.state, lane);
        // A window is waited out. A person who is asked need not answer once the evidence has.
        let asked = matches!(self.state.phase, Phase::Asking { .. }) && !self.state.asks_about_regression();
        loop {
            match evidence.standing(rollout, |lane| judgement::waits(&self.state, lane)) {
                Some(Standing::Regressed(call)) => return judgement::regressed(call),
                Some(Standing::Healthy)
                    if asked && evidence.requests_at(rollout, enough.0) >= enough.1.max(1) =>
                {
                    break;
                }
                _ => {}
            }
            if let Some(reason) = self.group_regressed() {
                return Verdict::regressed(reason);
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() {
                break;
            }
            // A watch that cannot change any more (the process is stopping) still ends in time.
            let _ = tokio::time::timeout(left.min(Duration::from_secs(1)), changes.changed()).await;
        }
        self.conclude(evidence.standing(rollout, settled), enough)
    }

    /// What is said when the time of a watch is over.
    fn conclude(&self, standing: Option<Standing>, (weight, requests_min): (Weight, u64)) -> Verdict {
        let project = match self.world.release(&self.plan.candidate) {
            Ok((_, project)) => project,
            Err(error) => return Verdict::inconclusive(error.to_string()),
        };
        let requests = self.world.evidence.requests_at(&self.plan.rollout, weight);
        let alone = self.plan.previous().is_none();
        let otherwise = self.on_inconclusive();
        match standing {
            Some(Standing::Regressed(call)) => judgement::regressed(call),
            // Whatever earlier steps showed: no gate passes on an absence.
            Some(Standing::Healthy | Standing::Open(_)) if requests == 0 && !alone => {
                judgement::no_traffic(&project)
            }
            Some(Standing::Healthy) if requests < requests_min => Verdict::inconclusive(format!(
                "{requests} of at least {requests_min} requests at {weight}"
            )),
            Some(Standing::Healthy) => Verdict::Healthy,
            Some(Standing::Open(_)) if alone => {
                let verdict = self.world.evidence.verdict(&self.plan.rollout);
                Verdict::inconclusive(verdict.map_or_else(String::new, |verdict| verdict.reason))
            }
            Some(Standing::Open(open)) => judgement::open(&project, open, otherwise),
            None => Verdict::inconclusive("no request of users was seen"),
        }
    }

    /// What the present step says of a watch without a verdict.
    pub(crate) fn on_inconclusive(&self) -> OnInconclusive {
        let step = self.state.phase.step();
        let step = step.and_then(|step| self.plan.steps().get(step).copied());
        step.map_or(OnInconclusive::Ask, |step| step.on_inconclusive)
    }

    /// Ends when the candidate's health fails: without users' requests no verdict would tell. Instances
    /// that are only being started have no users yet.
    async fn sicken(&self) -> Verdict {
        let serving = self.state.instances.map(|instances| instances.candidate);
        let (candidate, environment) = (&self.plan.candidate, &self.plan.environment);
        loop {
            tokio::time::sleep(WATCH_PROBE_PAUSE).await;
            if let Err(reason) = probe_first(&self.world, candidate, environment, serving).await {
                return Verdict::regressed(reason);
            }
        }
    }

    /// Asks the metrics of the team's own meanwhile.
    async fn ask_metrics(&self) -> std::convert::Infallible {
        match self.world.release(&self.plan.candidate) {
            Ok((_, project)) => crate::own_metrics::follow(&self.world, &self.plan, &project).await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the last requests to end: those of all its instances, or of those numbered above what is
    /// kept.
    async fn drain(&self, release: &ReleaseId, keep: Option<u32>, until: Timestamp) -> u64 {
        if workers::kind(&self.world, release) != RunKind::Service {
            return 0;
        }
        let limit = until.since(clock::now());
        let (service, environment) = (&self.plan.service, &self.plan.environment);
        let traffic = &self.world.traffic;
        let drained = match keep.filter(|keep| *keep > 0) {
            Some(keep) => {
                let Ok(side) = self.world.fleet.side(release, environment).await else {
                    return 0;
                };
                let leaving = side.endpoints.into_iter().map(|(instance, _)| instance);
                let leaving: Vec<_> = leaving
                    .filter(|instance| number_of(instance.as_str()) > u64::from(keep))
                    .collect();
                traffic
                    .drained_instances(service, environment, release, &leaving, limit)
                    .await
            }
            None => traffic.drained(service, environment, release, limit).await,
        };
        drained.map_or(0, |left| left.requests)
    }

    async fn stop(&self, release: &ReleaseId, keep: Option<u32>) -> Result<(), String> {
        let (_, project) = self.world.release(release).map_err(|error| error.to_string())?;
        let environment = &self.plan.environment;
        if keep.is_none() && project.run.kind == RunKind::Service {
            let forget = self
                .world
                .traffic
                .forget(&self.plan.service, environment, release);
            forget.await.map_err(|error| error.to_string())?;
        }
        let keep = keep.unwrap_or(0);
        let fleet = &self.world.fleet;
        let stop = fleet.stop(
            release,
            environment,
            |number| number > keep,
            project.run.stop_grace.0,
        );
        stop.await.map_err(|error| error.to_string())
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
    let mut config = models.config(&blueprint::verdict_config(project));
    let custom = judgement::custom(project);
    // A member of a group has a share of the group's alpha.
    let alpha = crate::groups::alpha_of(world, plan).unwrap_or(config.alpha);
    config.alpha = Panel::alpha_of_judge(&custom, alpha);
    let panel = Panel::new(custom, judgement::lanes(project));
    world.evidence.begin(subject, config, panel, models.templates);
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
