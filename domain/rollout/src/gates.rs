//! What stands between a step's watch and the next step: the job, the approval, the wait, the freeze.

use trimtab_model::{Actor, Timestamp};

use crate::{
    Hook, Notice, Phase, Plan, State, flag, forward,
    machine::{enter, millis, owe},
    replace, watch,
};

/// The watch of `step` ended well.
pub(crate) fn watched(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    if !plan.traffic_step(step).gate.job {
        return gated(plan, state, step, at);
    }
    let guarded = watch::guarded(state, at.plus(millis(plan.limits.hook_ms)));
    let hook = Hook::Gate { step };
    enter(guarded, Phase::Hooking { hook }, at)
}

/// The job after `step` passed.
pub(crate) fn gated(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    if !plan.traffic_step(step).gate.approval {
        return approved(plan, state, step, at);
    }
    let guarded = watch::guarded(state, at.plus(millis(plan.limits.ask_ms)));
    let mut next = enter(guarded, Phase::Approving { step }, at);
    owe(&mut next, Notice::Approval);
    next
}

/// A person said yes to what follows `step`.
pub(crate) fn approved(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let hold_ms = plan.traffic_step(step).gate.hold_ms;
    if hold_ms == 0 {
        return go(plan, state, step + 1, at);
    }
    let until = at.plus(millis(hold_ms));
    enter(watch::guarded(state, until), Phase::Holding { step, until }, at)
}

/// Goes on to `step`; a member of a group waits for the others first.
pub(crate) fn go(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    match plan.group {
        Some(_) => barrier(plan, state, step, at),
        None => opened(plan, state, step, at),
    }
}

/// Waits until the whole group has come as far.
pub(crate) fn barrier(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let guarded = watch::guarded(state, at.plus(millis(plan.limits.barrier_ms)));
    let hook = Hook::Barrier { step };
    enter(guarded, Phase::Hooking { hook }, at)
}

/// Nobody is waited for any more: goes on to `step` unless a freeze holds it; past the last step is what is
/// left of the traffic, and then the baseline's end.
pub(crate) fn opened(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    if step > plan.steps().len() {
        return forward::landed(plan, state, at);
    }
    match plan.frozen_until(at) {
        Some(until) => enter(watch::guarded(state, until), Phase::Frozen { step, until }, at),
        None => unfrozen(plan, state, step, at),
    }
}

/// Goes on to `step` whatever the calendar says.
pub(crate) fn unfrozen(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    if step >= plan.steps().len() {
        return match flag::short_of_last(plan, &state) {
            Some((last, share)) => flag::raise(state, last, share, at),
            None => forward::finish(plan, state, at),
        };
    }
    let between = plan.limits.shift_ms + plan.limits.health_ms;
    let guarded = watch::guarded(state, at.plus(millis(between)));
    let next = plan.traffic_step(step);
    match (next.flag, next.replacement) {
        // A question may have come between; the flag waits until everyone is on the candidate.
        (Some(_), _) if !guarded.traffic.is_whole() => {
            forward::shift(plan, guarded, step.saturating_sub(1), at)
        }
        (Some(share), _) => flag::raise(guarded, step, share, at),
        (None, Some(replacement)) => replace::begin(guarded, step, replacement, at),
        (None, None) => forward::shift(plan, guarded, step, at),
    }
}

/// A person takes the verdict upon themselves: everything to the candidate now; instances are still
/// replaced batch by batch.
pub(crate) fn promote(plan: &Plan, state: State, by: Actor, at: Timestamp) -> State {
    let (Phase::Watching { step }
    | Phase::Asking { step, .. }
    | Phase::Approving { step }
    | Phase::Holding { step, .. }
    | Phase::Frozen { step, .. }
    | Phase::Hooking {
        hook: Hook::Gate { step },
    }) = state.phase
    else {
        // Nothing to promote yet, or no longer.
        return state;
    };
    let next = match state.phase {
        Phase::Frozen { .. } => step,
        _ => step + 1,
    };
    let frozen = next == step;
    // What never had a user is not promoted past its first step: it is let go from a freeze only.
    let replaces = plan.traffic_step(step).replacement.is_some();
    let past_all = plan.steps().len();
    let promoted = State {
        promoted_by: Some(by),
        paused: None,
        ready: false,
        ..watch::accepted(state)
    };
    // A member of a group is let go from its own step; the others are waited for all the same.
    if plan.group.is_some() && !frozen {
        return barrier(plan, promoted, next, at);
    }
    let next = if replaces || !promoted.exposed || plan.group.is_some() {
        next
    } else {
        flag::promoted_to(plan, step).unwrap_or(past_all)
    };
    unfrozen(plan, promoted, next, at)
}

/// A person says yes to what follows `step`; a yes to another step says nothing.
pub(crate) fn approve(plan: &Plan, state: State, to: usize, at: Timestamp) -> State {
    match state.phase {
        Phase::Approving { step } | Phase::Asking { step, .. } if step == to && !state.ready => {
            forward::advance(plan, watch::accepted(state), at)
        }
        _ => state,
    }
}
