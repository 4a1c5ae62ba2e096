//! Runs, their stages, logs and gates.

use std::sync::PoisonError;

use trimtab_api as api;
use trimtab_api::{Approval, Fault, Run, RunLog, RunLogQuery, RunQuery, RunState, RunSummary, StageState};
use trimtab_control::clock;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Runs;
use trimtab_control::{blueprint, run_log};
use trimtab_pipeline::{End, Phase, Stage};
use trimtab_project::Project;

use super::forge::Told;
use super::{AppBackend, moment, rows};

/// Starters of runs that are remembered.
const STARTERS_MAX: usize = 10_000;
/// How a run's reason begins when a person ended it.
const CANCELLED: &str = "cancelled by ";

/// Lines of a stage's log in one answer when the asker names no limit.
const LINES_DEFAULT: usize = 1000;
/// Most lines of a stage's log in one answer.
const LINES_MAX: usize = 10_000;

impl AppBackend {
    pub(super) async fn run_list(&self, query: &RunQuery) -> Result<Vec<RunSummary>, Fault> {
        let mut all = self.world.machines().runs.list();
        all.reverse();
        if let Some(before) = &query.before
            && let Some(place) = all.iter().position(|run| run.id == *before)
        {
            all.drain(..=place);
        }
        all.retain(|run| {
            query
                .service
                .as_ref()
                .is_none_or(|s| *s == run.plan.service.as_str())
        });
        all.truncate(rows(query.limit));
        let told = self.told_by_forge().await?;
        let mut summaries = Vec::new();
        for run in &all {
            summaries.push(self.run_summary(run, &told).await?);
        }
        Ok(summaries)
    }

    async fn run_summary(&self, run: &Snapshot<Runs>, told: &Told) -> Result<RunSummary, Fault> {
        let state = match &run.state.phase {
            Phase::Working {
                stage: Stage::Approval,
                ..
            } => RunState::Waiting,
            Phase::Working { .. } | Phase::RollingBack { .. } | Phase::Announcing { .. } => RunState::Running,
            Phase::Ended { end: End::Deployed } => RunState::Deployed,
            Phase::Ended { .. } if cancelled(run) => RunState::Cancelled,
            Phase::Ended {
                end: End::Failed { .. },
            } => RunState::Failed,
        };
        let mut stages: Vec<Stage> = run.plan.stages.iter().map(|plan| plan.stage).collect();
        stages.sort();
        stages.dedup();
        let project = run.state.release.as_ref();
        let project = project.and_then(|release| self.world.release(release).ok());
        let project = project.map(|(_, project)| project);
        let stages = stages
            .into_iter()
            .map(|stage| self.stage(run, stage, project.as_ref()));
        Ok(RunSummary {
            id: run.id.clone(),
            service: run.plan.service.to_string(),
            commit: run.plan.commit.clone(),
            title: run.plan.title.clone(),
            author: told.author(&run.plan.commit),
            branch: self.world.repository(&run.plan.service).map(|r| r.branch.clone()),
            trigger: match (self.starter(run).await?, told.pushed(&run.plan.commit)) {
                (by, true) => format!("push by {by}"),
                (by, false) => format!("asked for by {by}"),
            },
            state,
            state_text: run.state.describe(),
            release: run.state.release.as_ref().map(ToString::to_string),
            created_at: moment(run.created_at),
            finished_at: run.state.end().map(|_| moment(run.changed_at)),
            stages: stages.collect(),
        })
    }

    /// Who asked for a run; that never changes, so it is read once.
    async fn starter(&self, run: &Snapshot<Runs>) -> Result<String, Fault> {
        let known = {
            let starters = self.starters.lock().unwrap_or_else(PoisonError::into_inner);
            starters.get(&run.id).cloned()
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let events = self.stream(&format!("run/{}", run.id)).await?;
        let by = events
            .first()
            .map_or_else(String::new, |event| event.actor.0.clone());
        let mut starters = self.starters.lock().unwrap_or_else(PoisonError::into_inner);
        if starters.len() >= STARTERS_MAX {
            starters.clear();
        }
        starters.insert(run.id.clone(), by.clone());
        Ok(by)
    }

    fn stage(&self, run: &Snapshot<Runs>, stage: Stage, project: Option<&Project>) -> api::Stage {
        let results: Vec<_> = run.state.results.iter().filter(|r| r.stage == stage).collect();
        let working = match &run.state.phase {
            Phase::Working { stage: at, attempt } if *at == stage => Some(*attempt),
            _ => None,
        };
        let last = results.last();
        let state = match (working, last) {
            (Some(_), _) if stage == Stage::Approval => StageState::Waiting,
            (Some(_), _) => StageState::Running,
            (None, None) if cancelled(run) && failed_at(run) == Some(stage) => StageState::Cancelled,
            (None, Some(_)) if cancelled(run) && failed_at(run) == Some(stage) => StageState::Cancelled,
            (None, Some(result)) if result.failure.is_some() => StageState::Failed,
            (None, Some(_)) => StageState::Passed,
            (None, None) if run.state.end().is_some() => StageState::Skipped,
            (None, None) => StageState::Pending,
        };
        let environment = match stage {
            Stage::DeployStaging => Some(&run.plan.staging),
            Stage::DeployProduction => Some(&run.plan.production),
            _ => None,
        };
        let rollout = environment.and_then(|environment| {
            let all = self.world.rollouts_of(&run.plan.service, environment);
            let own = all
                .into_iter()
                .find(|r| r.plan.run.as_ref() == Some(&run.plan.run));
            own.map(|rollout| rollout.id)
        });
        let group = match stage {
            stage if stage < Stage::DeployStaging => "build",
            stage if stage < Stage::Approval => "staging",
            Stage::Approval => "staging",
            _ => "production",
        };
        let attempts = results.iter().map(|result| api::Attempt {
            number: result.attempt,
            outcome: result.failure.clone().unwrap_or_else(|| "passed".to_owned()),
            started_at: Some(moment(result.started_at)),
            finished_at: Some(moment(result.finished_at)),
        });
        let started = working.map(|_| run.state.since).or(last.map(|r| r.started_at));
        api::Stage {
            name: stage.as_str().to_owned(),
            node: node(stage).map(str::to_owned),
            group: group.to_owned(),
            state,
            detail: last.and_then(|result| result.failure.clone()).unwrap_or_default(),
            command: project
                .and_then(|project| blueprint::command(project, stage))
                .map(|command| command.run.clone()),
            rollout,
            attempt: working.or(last.map(|result| result.attempt)).unwrap_or(0),
            attempts: attempts.collect(),
            started_at: started.map(moment),
            finished_at: last.filter(|_| working.is_none()).map(|r| moment(r.finished_at)),
        }
    }

    pub(super) fn run_snapshot(&self, id: &str) -> Result<Snapshot<Runs>, Fault> {
        let found = self.world.machines().runs.get(id);
        found.ok_or_else(|| Fault::not_found("run", id))
    }

    pub(super) async fn one_run(&self, id: &str) -> Result<Run, Fault> {
        let run = self.run_snapshot(id)?;
        let events = self.stream(&format!("run/{id}")).await?;
        let rollouts = self.world.machines().rollouts.list();
        let own = rollouts
            .iter()
            .filter(|r| r.plan.run.as_ref() == Some(&run.plan.run));
        let told = self.told_by_forge().await?;
        Ok(Run {
            summary: self.run_summary(&run, &told).await?,
            merge_request: told.request(&run.plan.commit).map(|request| request.id.clone()),
            approval: approval(&run),
            rollouts: own.map(|rollout| rollout.id.clone()).collect(),
            timeline: self.timeline_of(id, events).await?,
        })
    }

    pub(super) fn approval_list(&self) -> Vec<Approval> {
        let all = self.world.machines().runs.list();
        all.iter().filter_map(approval).collect()
    }

    pub(super) async fn stage_log(&self, id: &str, stage: &str, query: RunLogQuery) -> Result<RunLog, Fault> {
        let run = self.run_snapshot(id)?;
        let wanted = Stage::ALL
            .into_iter()
            .find(|known| known.as_str() == stage)
            .ok_or_else(|| Fault::not_found("stage", stage))?;
        let dir = self.world.dir.join("runs").join(run.plan.run.as_str());
        let after = query.after.unwrap_or(0);
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let limit = query.limit.unwrap_or(LINES_DEFAULT).min(LINES_MAX);
        let read = tokio::task::spawn_blocking(move || run_log::read(&dir, wanted, skip, limit)).await;
        let read = read.map_err(|error| Fault::internal(error.to_string()))?;
        let next = after.saturating_add(u64::try_from(read.len()).unwrap_or(0));
        let complete = read.len() < limit && run.state.stage() != Some(wanted);
        let attempt = query
            .attempt
            .or(read.last().map(|line| line.attempt))
            .unwrap_or(1);
        let lines = read
            .into_iter()
            .zip(after + 1..)
            .filter(|(line, _)| query.attempt.is_none_or(|wanted| line.attempt == wanted));
        Ok(RunLog {
            stage: stage.to_owned(),
            attempt,
            lines: lines
                .map(|(line, number)| api::LogText {
                    number,
                    at: moment(line.at),
                    stderr: false,
                    text: line.text,
                })
                .collect(),
            next,
            complete,
        })
    }
}

/// The stage at which a run that failed ended.
fn failed_at(run: &Snapshot<Runs>) -> Option<Stage> {
    match run.state.end() {
        Some(End::Failed { stage, .. }) => Some(*stage),
        _ => None,
    }
}

/// A person ended the run.
fn cancelled(run: &Snapshot<Runs>) -> bool {
    matches!(run.state.end(), Some(End::Failed { reason, .. }) if reason.starts_with(CANCELLED))
}

/// The node of the mission that a stage stands for.
fn node(stage: Stage) -> Option<&'static str> {
    Some(match stage {
        Stage::Install => "A.B2",
        Stage::Build => "A.B3",
        Stage::Unit => "A.B4",
        Stage::Integration => "A.B5",
        Stage::E2e => "A.B6",
        Stage::Artifact => "A.B9",
        Stage::DeployStaging => "A.S1",
        Stage::Smoke => "A.S2",
        Stage::StagingIntegration => "A.S3",
        Stage::Performance => "A.S4",
        Stage::Approval => "A.S8",
        Stage::DeployProduction => "A.P1",
    })
}

fn approval(run: &Snapshot<Runs>) -> Option<Approval> {
    if run.state.stage() != Some(Stage::Approval) {
        return None;
    }
    let plan = run.plan.stages.iter().find(|plan| plan.stage == Stage::Approval);
    let until = plan.map(|plan| {
        run.state
            .since
            .plus(std::time::Duration::from_millis(plan.deadline_ms))
    });
    let release = run.state.release.as_ref().map(ToString::to_string);
    Some(Approval {
        run: run.id.clone(),
        service: run.plan.service.to_string(),
        question: format!(
            "Deploy {} ({}) to {}?",
            release.as_deref().unwrap_or("the release"),
            run.plan.title,
            run.plan.production
        ),
        release,
        role: run.plan.approver,
        url: None,
        since: moment(run.state.since),
        until: until.filter(|until| *until > clock::now()).map(moment),
    })
}
