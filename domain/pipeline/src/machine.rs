//! The door of the machine, and what is owed in each phase.

use std::time::Duration;

use crate::transition::{advance, transition};
use crate::{Effect, End, Event, Notice, Phase, Plan, Stage, State, TimerName};

/// The version of [`Event`] as journalled.
pub const EVENT_VERSION: u32 = 1;

/// A job that was lost is run this often in all.
pub const JOB_ATTEMPTS_MAX: u32 = 3;

/// How long the outbox may take before a run ends with its team untold.
const NOTIFY_LIMIT: Duration = Duration::from_secs(5 * 60);

/// How long taking a release off an environment may take before people must look.
pub(crate) const ROLL_BACK_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The first state of a run.
pub fn start(plan: &Plan) -> State {
    let state = State {
        generation: Default::default(),
        phase: Phase::Ended { end: End::Deployed },
        since: plan.started_at,
        results: Vec::new(),
        release: None,
        digest: None,
        approval_announced: false,
    };
    advance(plan, state, None, plan.started_at)
}

/// Folds `event` in and says what is newly owed. Events that do not concern the state, among them
/// answers to older attempts and generations, change nothing.
pub fn step(plan: &Plan, state: State, event: Event) -> (State, Vec<Effect>) {
    let owed = pending(plan, &state);
    let next = transition(plan, state, event);
    let effects = pending(plan, &next)
        .into_iter()
        .filter(|effect| !owed.contains(effect))
        .collect();
    (next, effects)
}

/// All that is owed in `state`, whether under way or not; nothing once the run is over.
pub fn pending(plan: &Plan, state: &State) -> Vec<Effect> {
    let generation = state.generation;
    let deadline = |limit: Duration| Effect::Timer {
        name: TimerName::Deadline,
        generation,
        at: state.since.plus(limit),
    };
    match &state.phase {
        Phase::Working { stage, attempt } => {
            let mut effects = work(plan, state, *stage, *attempt);
            effects.push(deadline(Duration::from_millis(plan.deadline_ms(*stage))));
            effects
        }
        Phase::RollingBack { environment, .. } => vec![
            Effect::RollBackEnvironment {
                environment: environment.clone(),
                generation,
            },
            deadline(ROLL_BACK_LIMIT),
        ],
        Phase::Announcing { notice, .. } => vec![
            Effect::Notify {
                what: *notice,
                generation,
            },
            deadline(NOTIFY_LIMIT),
        ],
        Phase::Ended { .. } => Vec::new(),
    }
}

fn work(plan: &Plan, state: &State, stage: Stage, attempt: u32) -> Vec<Effect> {
    match stage {
        Stage::Install
        | Stage::Build
        | Stage::Unit
        | Stage::Integration
        | Stage::E2e
        | Stage::Smoke
        | Stage::StagingIntegration
        | Stage::Performance => vec![Effect::RunJob { stage, attempt }],
        Stage::Artifact => vec![Effect::RecordArtifact { attempt }],
        Stage::DeployStaging => vec![Effect::StartRollout {
            environment: plan.staging.clone(),
            attempt,
        }],
        Stage::DeployProduction => vec![Effect::StartRollout {
            environment: plan.production.clone(),
            attempt,
        }],
        Stage::Approval => {
            let mut effects = vec![Effect::AskApproval {
                role: plan.approver,
                until: state
                    .since
                    .plus(Duration::from_millis(plan.deadline_ms(Stage::Approval))),
            }];
            if !state.approval_announced {
                effects.push(Effect::Notify {
                    what: Notice::ApprovalWanted,
                    generation: state.generation,
                });
            }
            effects
        }
    }
}
