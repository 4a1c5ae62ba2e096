//! The way forward: started, tested, shifted, checked, watched, finished.

use trimtab_model::{Timestamp, Weight};

use crate::{
    Cause, Hook, Notice, Phase, Plan, State, Traffic,
    answer::Said,
    backward, flag, gates,
    machine::{STUCK_ATTEMPTS, again, again_later, announce, enter, millis, owe},
    replace, watch,
};

/// Folds what was said of the present work into a phase of the way forward.
pub(crate) fn apply(plan: &Plan, state: State, said: Said, at: Timestamp) -> State {
    match (state.phase.clone(), said) {
        (_, Said::Nothing) => state,
        (_, Said::Retry) => again(state, at),
        (phase, Said::Deadline) => outlasted(plan, state, &phase, at),
        (Phase::Shifting { step }, Said::Done) => {
            let shifted = watch::begin(plan, acknowledged(state), step, at);
            advance(plan, shifted, at)
        }
        (Phase::Raising { step }, Said::Done) => {
            let raised = watch::begin(plan, flag::acknowledged(state), step, at);
            advance(plan, raised, at)
        }
        (Phase::Disabling, Said::Done) => after_full(plan, flag::acknowledged(state), at),
        (Phase::Finishing | Phase::Retiring { .. }, Said::Done) => advance(plan, acknowledged(state), at),
        (_, Said::Done) => advance(plan, state, at),
        (phase, Said::Failed(reason)) => failed(plan, state, &phase, reason, at),
    }
}

fn failed(plan: &Plan, state: State, phase: &Phase, reason: String, at: Timestamp) -> State {
    let cause = match phase {
        // What must happen is tried until it does.
        Phase::Disabling => return again_later(state, at),
        Phase::Finishing | Phase::Decommissioning | Phase::StoppingPart { .. }
            if state.attempt < STUCK_ATTEMPTS =>
        {
            return again_later(state, at);
        }
        // The candidate serves either way; instances left over are the runtime's to report.
        Phase::Decommissioning => return advance(plan, state, at),
        Phase::Hooking {
            hook: hook @ (Hook::Contract | Hook::After),
        } => {
            let mut told = State {
                hook_failure: Some(format!("{hook}: {reason}")),
                ..state
            };
            owe(&mut told, Notice::HookFailed);
            return advance(plan, told, at);
        }
        Phase::Hooking {
            hook: hook @ (Hook::Gate { .. } | Hook::Barrier { .. }),
        } => Cause::GateFailed {
            reason: format!("{hook}: {reason}"),
        },
        Phase::Hooking { hook } => Cause::HookFailed {
            reason: format!("{hook}: {reason}"),
        },
        Phase::Starting | Phase::Growing { .. } => Cause::NotStarted { reason },
        Phase::Testing => Cause::TestsFailed { reason },
        Phase::Checking { .. } => Cause::Unhealthy { reason },
        Phase::StoppingPart { .. } => Cause::NotReplaced { reason },
        // Part of the traffic may be there: the way back asks for zero and waits for it.
        _ => Cause::NotShifted { reason },
    };
    backward::roll_back(plan, state, cause, at)
}

fn acknowledged(state: State) -> State {
    State {
        traffic: Traffic {
            acknowledged: true,
            ..state.traffic
        },
        ..state
    }
}

/// A phase of the way forward outlasted its limit.
fn outlasted(plan: &Plan, state: State, phase: &Phase, at: Timestamp) -> State {
    let reason = state.describe();
    match phase {
        Phase::Hooking { .. } => {
            let reason = "it did not end in time".to_owned();
            failed(plan, state, phase, reason, at)
        }
        Phase::Starting
        | Phase::Testing
        | Phase::Retiring { .. }
        | Phase::Growing { .. }
        | Phase::Raising { .. }
        | Phase::Shifting { .. } => backward::roll_back(plan, state, Cause::TimedOut { reason }, at),
        Phase::Disabling => again(state, at),
        Phase::Checking { .. } => {
            let reason = "the health check did not answer".to_owned();
            backward::roll_back(plan, state, Cause::Unhealthy { reason }, at)
        }
        Phase::Watching { .. } => watch::outlasted(plan, state, at),
        Phase::Asking { reason, .. } => watch::unanswered(plan, state, reason, at),
        Phase::Approving { .. } => watch::unanswered(plan, state, "it needs an approval", at),
        Phase::Finishing | Phase::Decommissioning | Phase::StoppingPart { .. }
            if state.attempt < STUCK_ATTEMPTS =>
        {
            again(state, at)
        }
        Phase::Finishing | Phase::StoppingPart { .. } => {
            backward::roll_back(plan, state, Cause::TimedOut { reason }, at)
        }
        Phase::Frozen { .. }
        | Phase::Holding { .. }
        | Phase::DrainingPart { .. }
        | Phase::DrainingBaseline
        | Phase::Lingering
        | Phase::Decommissioning => advance(plan, state, at),
        Phase::Restoring
        | Phase::Withdrawing
        | Phase::Lowering
        | Phase::Protected
        | Phase::DrainingCandidate
        | Phase::Quarantining
        | Phase::Stopping
        | Phase::Announcing { .. }
        | Phase::Ended { .. } => state,
    }
}

/// The present phase is done: goes on, or waits where a person paused.
pub(crate) fn advance(plan: &Plan, state: State, at: Timestamp) -> State {
    if let Some(pause) = &state.paused {
        // The guard keeps watching through the pause.
        let until = pause.at.plus(millis(plan.limits.pause_ms));
        let guarded = watch::guarded(state, until);
        let generation = guarded.generation.next();
        return State {
            generation,
            ready: true,
            ..guarded
        };
    }
    match state.phase {
        Phase::Hooking { hook } => hooked(plan, state, hook, at),
        Phase::Starting if plan.strategy.manner().tests => enter(state, Phase::Testing, at),
        Phase::Starting | Phase::Testing => gates::go(plan, state, 0, at),
        Phase::Frozen { step, .. } => gates::unfrozen(plan, state, step, at),
        Phase::Retiring { step } => enter(state, Phase::DrainingPart { step }, at),
        Phase::Growing { step } => replace::grown(plan, state, step, at),
        Phase::Shifting { step } | Phase::Raising { step } => enter(state, Phase::Checking { step }, at),
        Phase::Disabling => after_full(plan, state, at),
        Phase::Checking { step } => replace::checked(plan, state, step, at),
        Phase::DrainingPart { step } => enter(state, Phase::StoppingPart { step }, at),
        Phase::StoppingPart { step } => replace::stopped(plan, state, step, at),
        Phase::Watching { step } => gates::watched(plan, state, step, at),
        Phase::Approving { step } | Phase::Asking { step, .. } => gates::approved(plan, state, step, at),
        Phase::Holding { step, .. } => gates::go(plan, state, step + 1, at),
        Phase::Finishing => after_full(plan, state, at),
        Phase::DrainingBaseline if plan.strategy.manner().decommission_after_ms > 0 => {
            enter(state, Phase::Lingering, at)
        }
        Phase::DrainingBaseline | Phase::Lingering => {
            let cooling = State {
                baseline_warm: false,
                ..state
            };
            enter(cooling, Phase::Decommissioning, at)
        }
        Phase::Decommissioning => conclude(plan, state, at),
        Phase::Restoring
        | Phase::Withdrawing
        | Phase::Lowering
        | Phase::Protected
        | Phase::DrainingCandidate
        | Phase::Quarantining
        | Phase::Stopping
        | Phase::Announcing { .. }
        | Phase::Ended { .. } => state,
    }
}

/// The first phase of a rollout.
pub(crate) fn first(plan: &Plan) -> Phase {
    match (plan.hooks.before, plan.hooks.expand) {
        (true, _) => Phase::Hooking { hook: Hook::Before },
        (false, true) => Phase::Hooking { hook: Hook::Expand },
        (false, false) => Phase::Starting,
    }
}

fn hooked(plan: &Plan, state: State, hook: Hook, at: Timestamp) -> State {
    match hook {
        Hook::Before if plan.hooks.expand => enter(state, Phase::Hooking { hook: Hook::Expand }, at),
        Hook::Before | Hook::Expand => enter(state, Phase::Starting, at),
        Hook::Gate { step } => gates::gated(plan, state, step, at),
        Hook::Barrier { step } => gates::opened(plan, state, step, at),
        Hook::Contract if plan.hooks.after => enter(state, Phase::Hooking { hook: Hook::After }, at),
        Hook::Contract | Hook::After => announce_served(state, at),
    }
}

/// The baseline is gone.
fn conclude(plan: &Plan, state: State, at: Timestamp) -> State {
    if plan.hooks.contract {
        // From its first statement on: half a migration is no place to return from.
        let bound = State {
            irreversible: true,
            ..state
        };
        enter(bound, Phase::Hooking { hook: Hook::Contract }, at)
    } else if plan.hooks.after {
        enter(state, Phase::Hooking { hook: Hook::After }, at)
    } else {
        announce_served(state, at)
    }
}

fn announce_served(state: State, at: Timestamp) -> State {
    let end = flag::served(&state);
    announce(state, end, at)
}

pub(crate) fn shift(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let weight = plan.traffic_step(step).weight;
    enter(ask_for(state, weight), Phase::Shifting { step }, at)
}

pub(crate) fn ask_for(state: State, weight: Weight) -> State {
    State {
        traffic: Traffic {
            weight,
            acknowledged: false,
        },
        exposed: state.exposed || weight > Weight::ZERO,
        ..state
    }
}

/// The last watch ended well: what is left of the traffic goes over, then the baseline goes.
pub(crate) fn finish(plan: &Plan, state: State, at: Timestamp) -> State {
    if state.traffic.is_whole() {
        after_full(plan, state, at)
    } else {
        enter(ask_for(state, Weight::FULL), Phase::Finishing, at)
    }
}

fn after_full(plan: &Plan, state: State, at: Timestamp) -> State {
    match plan.group {
        // The baseline stays warm until the whole group has come as far.
        Some(_) => gates::barrier(plan, state, plan.steps().len() + 1, at),
        None => landed(plan, state, at),
    }
}

/// Everyone is on the candidate for good.
pub(crate) fn landed(plan: &Plan, state: State, at: Timestamp) -> State {
    match plan.previous() {
        Some(_) => enter(state, Phase::DrainingBaseline, at),
        None => conclude(plan, state, at),
    }
}
