//! What each event does to a run.

use trimtab_model::{Actor, EnvironmentName, Timestamp};

use crate::machine::{JOB_ATTEMPTS_MAX, ROLL_BACK_LIMIT};
use crate::{
    End, Event, JobOutcome, Notice, Outcome, Phase, Plan, RolloutOutcome, Stage, StageResult, State,
    TimerName,
};

/// The state after `event`.
pub(crate) fn transition(plan: &Plan, state: State, event: Event) -> State {
    match state.phase.clone() {
        Phase::Working { stage, attempt } => working(plan, state, stage, attempt, event),
        Phase::RollingBack { .. } => rolling_back(state, event),
        Phase::Announcing { end, notice } => match event {
            Event::Notified {
                at, what, generation, ..
            } if generation == state.generation && what == notice => enter(state, Phase::Ended { end }, at),
            Event::TimerFired {
                at,
                name: TimerName::Deadline,
                generation,
            } if generation == state.generation => enter(state, Phase::Ended { end }, at),
            Event::Notified { .. }
            | Event::TimerFired { .. }
            | Event::JobFinished { .. }
            | Event::ArtifactRecorded { .. }
            | Event::RolloutEnded { .. }
            | Event::EnvironmentRolledBack { .. }
            | Event::Approved { .. }
            | Event::Rejected { .. }
            | Event::Cancelled { .. } => state,
        },
        Phase::Ended { .. } => state,
    }
}

fn rolling_back(state: State, event: Event) -> State {
    let Phase::RollingBack {
        environment,
        stage,
        reason,
        notice,
    } = state.phase.clone()
    else {
        return state;
    };

    let at = event.at();
    match event {
        Event::EnvironmentRolledBack {
            environment: e,
            generation,
            outcome,
            ..
        } if generation == state.generation && e == environment => {
            let reason = match outcome {
                Outcome::Done => reason,
                Outcome::Failed { reason: why } => {
                    format!("{reason}; failed to roll back {environment}: {why}")
                }
            };
            announce(state, End::Failed { stage, reason }, notice, at)
        }
        Event::TimerFired {
            name: TimerName::Deadline,
            generation,
            ..
        } if generation == state.generation => {
            let reason = format!(
                "{reason}; the rollback of {environment} was not confirmed in {} min: look at it",
                ROLL_BACK_LIMIT.as_secs() / 60
            );
            announce(state, End::Failed { stage, reason }, notice, at)
        }
        // Settled already: the run fails whoever says what now, and what was running is cancelled.
        Event::EnvironmentRolledBack { .. }
        | Event::TimerFired { .. }
        | Event::JobFinished { .. }
        | Event::ArtifactRecorded { .. }
        | Event::RolloutEnded { .. }
        | Event::Approved { .. }
        | Event::Rejected { .. }
        | Event::Cancelled { .. }
        | Event::Notified { .. } => state,
    }
}

fn working(plan: &Plan, state: State, stage: Stage, attempt: u32, event: Event) -> State {
    match (stage, event) {
        (
            _,
            Event::JobFinished {
                at,
                stage: s,
                attempt: a,
                outcome,
            },
        ) if s == stage && a == attempt && (stage.is_job() || stage == Stage::Artifact) => {
            job_finished(plan, state, stage, attempt, outcome, at)
        }
        (
            Stage::Artifact,
            Event::ArtifactRecorded {
                at,
                attempt: a,
                release,
                digest,
            },
        ) if a == attempt => {
            let recorded = State {
                release: Some(release),
                digest: Some(digest),
                ..state
            };
            pass(plan, recorded, stage, attempt, at)
        }
        (
            Stage::DeployStaging | Stage::DeployProduction,
            Event::RolloutEnded {
                at,
                environment,
                attempt: a,
                outcome,
            },
        ) if a == attempt && plan.environment(stage) == Some(&environment) => {
            rollout_ended(plan, state, stage, attempt, outcome, at)
        }
        (
            Stage::Approval,
            event @ (Event::Approved { .. } | Event::Rejected { .. } | Event::Notified { .. }),
        ) => approval(plan, state, attempt, event),
        (
            _,
            Event::TimerFired {
                at,
                name: TimerName::Deadline,
                generation,
            },
        ) if generation == state.generation => fail(plan, state, stage, attempt, outlasted(plan, stage), at),
        (_, Event::Cancelled { at, by }) => cancel(plan, state, stage, attempt, &by, at),
        // Answers to other stages, attempts and generations, and opinions that were not asked for.
        (
            _,
            Event::JobFinished { .. }
            | Event::ArtifactRecorded { .. }
            | Event::RolloutEnded { .. }
            | Event::EnvironmentRolledBack { .. }
            | Event::Approved { .. }
            | Event::Rejected { .. }
            | Event::Notified { .. }
            | Event::TimerFired { .. },
        ) => state,
    }
}

/// A.S8: a person says yes or no, or it is on record that they were asked.
fn approval(plan: &Plan, state: State, attempt: u32, event: Event) -> State {
    match event {
        Event::Approved { at, .. } => pass(plan, state, Stage::Approval, attempt, at),
        Event::Rejected { at, by, reason } => {
            let reason = said(&by, "rejected", &reason);
            fail(plan, state, Stage::Approval, attempt, reason, at)
        }
        Event::Notified {
            what: Notice::ApprovalWanted,
            generation,
            ..
        } if generation == state.generation => State {
            approval_announced: true,
            ..state
        },
        Event::Notified { .. }
        | Event::JobFinished { .. }
        | Event::ArtifactRecorded { .. }
        | Event::RolloutEnded { .. }
        | Event::EnvironmentRolledBack { .. }
        | Event::Cancelled { .. }
        | Event::TimerFired { .. } => state,
    }
}

fn rollout_ended(
    plan: &Plan,
    state: State,
    stage: Stage,
    attempt: u32,
    outcome: RolloutOutcome,
    at: Timestamp,
) -> State {
    match outcome {
        RolloutOutcome::Deployed => pass(plan, state, stage, attempt, at),
        // The rollout has put the environment back itself: nothing is left to roll back here.
        RolloutOutcome::RolledBack { reason } | RolloutOutcome::Failed { reason } => {
            let notice = match stage {
                Stage::DeployProduction => Notice::ProductionRolledBack,
                _ => Notice::StagingRolledBack,
            };
            let state = record(state, stage, attempt, at, Some(reason.clone()));
            announce(state, End::Failed { stage, reason }, notice, at)
        }
    }
}

fn outlasted(plan: &Plan, stage: Stage) -> String {
    match stage {
        Stage::Approval => "nobody answered in time".to_owned(),
        _ => format!("did not end within {} s", plan.deadline_ms(stage).div_ceil(1000)),
    }
}

fn job_finished(
    plan: &Plan,
    state: State,
    stage: Stage,
    attempt: u32,
    outcome: JobOutcome,
    at: Timestamp,
) -> State {
    match outcome {
        // A release is what ArtifactRecorded brings: passing without one would deploy nothing.
        JobOutcome::Passed if stage == Stage::Artifact => {
            let reason = "the artifact was packed and no release recorded".to_owned();
            fail(plan, state, stage, attempt, reason, at)
        }
        JobOutcome::Passed => pass(plan, state, stage, attempt, at),
        JobOutcome::Failed { reason } => fail(plan, state, stage, attempt, reason, at),
        JobOutcome::Lost { reason } if attempt < JOB_ATTEMPTS_MAX => {
            let state = record(state, stage, attempt, at, Some(format!("lost: {reason}")));
            let again = Phase::Working {
                stage,
                attempt: attempt + 1,
            };
            enter(state, again, at)
        }
        JobOutcome::Lost { reason } => {
            let reason = format!("lost {JOB_ATTEMPTS_MAX} times: {reason}");
            fail(plan, state, stage, attempt, reason, at)
        }
    }
}

fn pass(plan: &Plan, state: State, stage: Stage, attempt: u32, at: Timestamp) -> State {
    let state = record(state, stage, attempt, at, None);
    advance(plan, state, Some(stage), at)
}

/// Goes on to the next stage that the plan has, or to the end.
pub(crate) fn advance(plan: &Plan, state: State, after: Option<Stage>, at: Timestamp) -> State {
    match plan.next_after(after) {
        Some(stage) => enter(state, Phase::Working { stage, attempt: 1 }, at),
        None => announce(state, End::Deployed, Notice::Deployed, at),
    }
}

/// The *no* arrows: B7 to B8, S5 and S8 to S6, P4 and P8 to P5 and P9.
fn fail(plan: &Plan, state: State, stage: Stage, attempt: u32, reason: String, at: Timestamp) -> State {
    let state = record(state, stage, attempt, at, Some(reason.clone()));
    let staged = stage.is_staging_gate() && plan.has(Stage::DeployStaging);
    let back = match stage {
        Stage::DeployProduction => Some((plan.production.clone(), Notice::ProductionRolledBack)),
        Stage::DeployStaging => Some((plan.staging.clone(), Notice::StagingRolledBack)),
        _ if staged => Some((plan.staging.clone(), Notice::StagingRolledBack)),
        _ => None,
    };
    match back {
        Some((environment, notice)) => roll_back(state, environment, stage, reason, notice, at),
        None => announce(state, End::Failed { stage, reason }, Notice::StageFailed, at),
    }
}

fn cancel(plan: &Plan, state: State, stage: Stage, attempt: u32, by: &Actor, at: Timestamp) -> State {
    let reason = format!("cancelled by {by}");
    let state = record(state, stage, attempt, at, Some(reason.clone()));
    let environment = match plan.environment(stage) {
        Some(environment) => Some(environment.clone()),
        None if stage.is_staging_gate() && plan.has(Stage::DeployStaging) => Some(plan.staging.clone()),
        None => None,
    };
    match environment {
        Some(environment) => roll_back(state, environment, stage, reason, Notice::Cancelled, at),
        None => announce(state, End::Failed { stage, reason }, Notice::Cancelled, at),
    }
}

fn roll_back(
    state: State,
    environment: EnvironmentName,
    stage: Stage,
    reason: String,
    notice: Notice,
    at: Timestamp,
) -> State {
    let phase = Phase::RollingBack {
        environment,
        stage,
        reason,
        notice,
    };
    enter(state, phase, at)
}

fn announce(state: State, end: End, notice: Notice, at: Timestamp) -> State {
    enter(state, Phase::Announcing { end, notice }, at)
}

fn enter(state: State, phase: Phase, at: Timestamp) -> State {
    State {
        generation: state.generation.next(),
        phase,
        since: at,
        ..state
    }
}

fn record(mut state: State, stage: Stage, attempt: u32, at: Timestamp, failure: Option<String>) -> State {
    state.results.push(StageResult {
        stage,
        attempt,
        started_at: state.since,
        finished_at: at,
        failure,
    });
    state
}

fn said(by: &Actor, what: &str, reason: &str) -> String {
    if reason.is_empty() {
        format!("{what} by {by}")
    } else {
        format!("{what} by {by}: {reason}")
    }
}
