//! Carries out what a pipeline run owes: steps, the artifact, rollouts, notices.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trimtab_model::{EnvironmentName, Release, RunId, Severity};
use trimtab_notify::Channel;
use trimtab_pipeline::{Effect, Event, JobOutcome, Notice, Outcome, Plan, RolloutOutcome, Stage, State};
use trimtab_runner::{PROVENANCE_VERSION, Provenance, StepEnd, StepResult, StepSpec, run_step};

use crate::blueprint;
use crate::clock;
use crate::fleet::target_url;
use crate::machine::{Hands, Outcome as Pending};
use crate::machines::Runs;
use crate::run_log::RunLog;
use crate::start_rollout;
use crate::workspaces::Workspace;
use crate::world::World;

/// Wait before asking again for a folder to build in.
const FOLDER_PAUSE: Duration = Duration::from_secs(1);

/// Hands of pipeline runs.
pub(crate) struct RunHands(pub(crate) Arc<World>);

impl Hands<Runs> for RunHands {
    fn carry_out(&self, id: &str, plan: &Plan, state: &State, effect: Effect) -> Pending<Event> {
        let (world, id, plan, state) = (Arc::clone(&self.0), id.to_owned(), plan.clone(), state.clone());
        Box::pin(async move {
            match effect {
                Effect::RunJob { stage, attempt } => {
                    let outcome = run_job(&world, &plan, &state, stage, attempt).await;
                    Event::JobFinished {
                        at: clock::now(),
                        stage,
                        attempt,
                        outcome,
                    }
                }
                Effect::RecordArtifact { attempt } => record(&world, &plan, &state, attempt).await,
                Effect::StartRollout { environment, attempt } => {
                    let outcome = start_rollout::for_run(&world, &plan, &state, &environment).await;
                    Event::RolloutEnded {
                        at: clock::now(),
                        environment,
                        attempt,
                        outcome,
                    }
                }
                Effect::RollBackEnvironment {
                    environment,
                    generation,
                } => {
                    let outcome = roll_back(&world, &plan, &state, &environment).await;
                    Event::EnvironmentRolledBack {
                        at: clock::now(),
                        environment,
                        generation,
                        outcome,
                    }
                }
                Effect::AskApproval { .. } => std::future::pending().await,
                Effect::Notify { what, generation } => {
                    notify(&world, &id, &plan, &state, what).await;
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
        })
    }
}

async fn run_job(world: &World, plan: &Plan, state: &State, stage: Stage, attempt: u32) -> JobOutcome {
    let dir = world.dir.join("runs").join(plan.run.as_str());
    let mark = dir.join(format!("{}.{attempt}.started", stage.as_str()));
    if mark.exists() {
        return JobOutcome::Lost {
            reason: "the control process was stopped while it ran".to_owned(),
        };
    }
    let failed = |reason: String| JobOutcome::Failed { reason };
    if let Err(error) = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&mark, "")) {
        return failed(format!("failed to write {}: {error}", mark.display()));
    }
    let checkout = match laid_out(world, plan).await {
        Ok(checkout) => checkout,
        Err(reason) => return failed(reason),
    };
    let project = if stage.is_staging_gate() {
        &checkout.protected
    } else {
        &checkout.project
    };
    let Some(command) = blueprint::command(project, stage) else {
        return JobOutcome::Passed;
    };
    let granted = match world.grants.for_step(&plan.service, stage.as_str(), command) {
        Ok(granted) => granted,
        Err(reason) => return failed(reason),
    };
    let mut env: BTreeMap<String, String> = toolchain();
    env.extend(command.env.clone());
    env.extend(granted.env.clone());
    if let Some(release) = state.release.as_ref().filter(|_| stage.is_staging_gate())
        && let Ok(side) = world.fleet.side(release, &plan.staging).await
        && let Some(url) = target_url(&side)
    {
        env.insert("TARGET_URL".to_owned(), url);
    }
    let spec = StepSpec {
        name: stage.as_str().to_owned(),
        command: command.run.clone(),
        dir: checkout.workspace.folder,
        env,
        timeout: command.timeout.0,
        secrets: granted.masked(),
        records: world.dir.join("steps"),
        user: granted.user,
    };
    let mut log = RunLog::open(&dir, stage, attempt);
    match run_step(&spec, std::future::pending(), &mut |line| log.line(&line)).await {
        Ok(outcome) if outcome.end == StepEnd::Passed => JobOutcome::Passed,
        Ok(outcome) => {
            let last = outcome
                .last_lines
                .iter()
                .rev()
                .take(5)
                .rev()
                .cloned()
                .collect::<Vec<_>>()
                .join("\n");
            failed(format!("`{}` {}\n{last}", command.run, outcome.end))
        }
        Err(error) => failed(error.to_string()),
    }
}

/// Where rustup and cargo live: a step has a home of its own, and would miss them there.
fn toolchain() -> BTreeMap<String, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]
        .into_iter()
        .map(|(name, folder)| {
            (
                name,
                std::env::var_os(name).map_or_else(|| home.join(folder), PathBuf::from),
            )
        })
        .filter(|(_, path)| path.is_dir())
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .collect()
}

struct Checkout {
    workspace: Workspace,
    text: String,
    project: trimtab_project::Project,
    protected: trimtab_project::Project,
}

/// The run's folder with its commit in it, and the project files of both the commit and the protected branch.
async fn laid_out(world: &World, plan: &Plan) -> Result<Checkout, String> {
    let repository = world
        .repository(&plan.service)
        .ok_or_else(|| format!("no repository of {} is known", plan.service))?;
    let workspace = loop {
        let given = world
            .workspaces
            .of(repository, plan, |run| is_building(world, run))
            .await?;
        match given {
            Some(workspace) => break workspace,
            // The stage's own deadline bounds the wait.
            None => tokio::time::sleep(FOLDER_PAUSE).await,
        }
    };
    let text = std::fs::read_to_string(workspace.folder.join("trimtab.yaml"))
        .map_err(|error| format!("failed to read trimtab.yaml of {}: {error}", plan.commit))?;
    let project = blueprint::parse(&text)?;
    let protected = world.protected(repository).await?;
    Ok(Checkout {
        workspace,
        text,
        project,
        protected,
    })
}

/// Whether a run may still want its folder: until the last gate of staging.
fn is_building(world: &World, run: &RunId) -> bool {
    let run = world.machines().runs.get(run.as_str());
    run.and_then(|run| run.state.stage())
        .is_some_and(|stage| stage < Stage::Approval)
}

async fn record(world: &World, plan: &Plan, state: &State, attempt: u32) -> Event {
    match packed(world, plan, state).await {
        Ok(release) => Event::ArtifactRecorded {
            at: clock::now(),
            attempt,
            release: release.id,
            digest: release.artifact,
        },
        Err(reason) => Event::JobFinished {
            at: clock::now(),
            stage: Stage::Artifact,
            attempt,
            outcome: JobOutcome::Failed { reason },
        },
    }
}

async fn packed(world: &World, plan: &Plan, state: &State) -> Result<Release, String> {
    let checkout = laid_out(world, plan).await?;
    let provenance = Provenance {
        version: PROVENANCE_VERSION,
        service: plan.service.clone(),
        run: plan.run.clone(),
        commit: plan.commit.clone(),
        title: checkout.workspace.title.clone(),
        author: checkout.workspace.author.clone(),
        paths: checkout.project.pipeline.artifact.paths.clone(),
        inputs: BTreeMap::new(),
        steps: state
            .results
            .iter()
            .map(|result| StepResult {
                name: result.stage.as_str().to_owned(),
                command: blueprint::command(&checkout.project, result.stage)
                    .map_or_else(String::new, |c| c.run.clone()),
                passed: result.failure.is_none(),
                end: result.failure.clone().unwrap_or_else(|| "passed".to_owned()),
                millis: blueprint::millis(result.finished_at.since(result.started_at)),
            })
            .collect(),
        built_at: clock::now(),
    };
    let paths = &checkout.project.pipeline.artifact.paths;
    let info = world
        .artifacts
        .pack(&checkout.workspace.folder, paths, &provenance)
        .await
        .map_err(|e| e.to_string())?;
    let made = world
        .releases
        .record(&plan.run, &plan.service, &checkout.text, |id| Release {
            id,
            service: plan.service.clone(),
            commit: plan.commit.clone(),
            title: checkout.workspace.title.clone(),
            artifact: info.digest.clone(),
            created_at: clock::now(),
        });
    made.await.map_err(|error| error.to_string())
}

async fn roll_back(world: &Arc<World>, plan: &Plan, state: &State, environment: &EnvironmentName) -> Outcome {
    let Some(release) = &state.release else {
        return Outcome::Done;
    };
    match start_rollout::back_from(world, &plan.service, environment, release, Some(&plan.run)).await {
        Ok(RolloutOutcome::Deployed) => Outcome::Done,
        Ok(RolloutOutcome::RolledBack { reason } | RolloutOutcome::Failed { reason }) | Err(reason) => {
            Outcome::Failed { reason }
        }
    }
}

async fn notify(world: &World, id: &str, plan: &Plan, state: &State, what: Notice) {
    let (headline, severity) = match what {
        Notice::StageFailed => ("failed", Severity::High),
        Notice::ApprovalWanted => ("waits for approval", Severity::Medium),
        Notice::StagingRolledBack => ("was rolled back from staging", Severity::High),
        Notice::ProductionRolledBack => ("was rolled back from production", Severity::High),
        Notice::Cancelled => ("was cancelled", Severity::Low),
        Notice::Deployed => ("is deployed", Severity::Low),
    };
    let title = format!("{} {headline}: {}", plan.service, plan.title);
    let body = format!(
        "{id} of commit {}: {}",
        plan.commit.get(..12).unwrap_or(&plan.commit),
        state.describe()
    );
    let channels = [Channel::Slack, Channel::Email, Channel::Webhook];
    world
        .tell(
            &format!("{id}/{what:?}"),
            &channels,
            severity,
            (title, body),
            &format!("/runs/{id}"),
        )
        .await;
}
