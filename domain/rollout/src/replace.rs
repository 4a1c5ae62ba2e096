//! Rolling replacement: for each batch the candidate's instances come, take traffic and are checked,
//! and the baseline's leave traffic, drain and stop; or the other way round where nothing may surge.

use trimtab_model::Timestamp;

use crate::{Instances, Phase, Plan, Replacement, State, forward, machine::enter, watch};

/// Where a replacement begins: all of the baseline, none of the candidate.
pub(crate) fn at_start(plan: &Plan) -> Option<Instances> {
    plan.baseline_instances().map(|baseline| Instances {
        candidate: 0,
        baseline,
    })
}

/// The candidate's instances that may start before the first batch's turn: for the off-traffic tests.
pub(crate) fn first_count(plan: &Plan) -> Option<u32> {
    let first = plan.traffic_step(0).replacement?;
    Some(if first.retire_first { 0 } else { first.candidate })
}

/// Begins a batch.
pub(crate) fn begin(state: State, step: usize, replacement: Replacement, at: Timestamp) -> State {
    if replacement.retire_first {
        let fewer = with(state, |now| Instances {
            baseline: replacement.baseline,
            ..now
        });
        enter(reweighed(fewer), Phase::Retiring { step }, at)
    } else {
        enter(state, Phase::Growing { step }, at)
    }
}

/// The candidate's new instances are well: they take their share.
pub(crate) fn grown(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let Some(replacement) = plan.traffic_step(step).replacement else {
        return state;
    };
    let now = with(state, |_| Instances {
        candidate: replacement.candidate,
        baseline: replacement.baseline,
    });
    enter(reweighed(now), Phase::Shifting { step }, at)
}

/// The candidate is well under traffic: what it replaced goes, unless that went first.
pub(crate) fn checked(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let before = match step.checked_sub(1) {
        Some(before) => plan.traffic_step(before).replacement.map(|batch| batch.baseline),
        None => plan.baseline_instances(),
    };
    match plan.traffic_step(step).replacement {
        Some(batch) if !batch.retire_first && before.is_some_and(|before| before > batch.baseline) => {
            enter(state, Phase::DrainingPart { step }, at)
        }
        Some(_) | None => watch::enter_watch(plan, state, step, at),
    }
}

/// What was replaced is stopped.
pub(crate) fn stopped(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    match plan.traffic_step(step).replacement {
        Some(batch) if batch.retire_first => enter(state, Phase::Growing { step }, at),
        Some(_) | None => watch::enter_watch(plan, state, step, at),
    }
}

/// True while fewer of the baseline's instances are there than it had.
pub(crate) fn is_short(plan: &Plan, state: &State) -> bool {
    match (plan.baseline_instances(), state.instances) {
        (Some(all), Some(now)) => now.baseline < all,
        (_, _) => false,
    }
}

/// True while too few of the baseline's instances are there to carry everyone: traffic leaves a bad
/// candidate at once only if at least half of them are.
pub(crate) fn is_weak(plan: &Plan, state: &State) -> bool {
    match (plan.baseline_instances(), state.instances) {
        (Some(all), Some(now)) => now.baseline.saturating_mul(2) < all,
        (_, _) => false,
    }
}

/// All of the baseline's instances are there again.
pub(crate) fn restored(plan: &Plan, state: State) -> State {
    let all = plan.baseline_instances();
    with(state, |now| Instances {
        baseline: all.unwrap_or(now.baseline),
        ..now
    })
}

fn with(state: State, change: impl FnOnce(Instances) -> Instances) -> State {
    State {
        instances: state.instances.map(change),
        ..state
    }
}

fn reweighed(state: State) -> State {
    let weight = state
        .instances
        .map(Instances::weight)
        .unwrap_or(state.traffic.weight);
    forward::ask_for(state, weight)
}
