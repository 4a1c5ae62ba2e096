//! The way forward: started, tested, shifted, checked, watched, finished.

use trimtab_model::{Actor, Generation, Timestamp, Weight};

use crate::{
    Cause, End, Notice, OnInconclusive, Phase, Plan, State, Traffic, Verdict, Watch,
    answer::Said,
    backward,
    machine::{STUCK_ATTEMPTS, again, again_later, announce, enter, millis, owe},
};

/// Folds what was said of the present work into a phase of the way forward.
pub(crate) fn apply(plan: &Plan, state: State, said: Said, at: Timestamp) -> State {
    match (state.phase.clone(), said) {
        (_, Said::Nothing) => state,
        (_, Said::Retry) => again(state, at),
        (phase, Said::Deadline) => outlasted(plan, state, &phase, at),
        (Phase::Shifting { step }, Said::Done) => {
            let shifted = begin_watch(plan, acknowledged(state), step, at);
            advance(plan, shifted, at)
        }
        (Phase::Finishing, Said::Done) => advance(plan, acknowledged(state), at),
        (_, Said::Done) => advance(plan, state, at),
        (Phase::Finishing | Phase::Decommissioning, Said::Failed(_)) if state.attempt < STUCK_ATTEMPTS => {
            again_later(state, at)
        }
        // The candidate serves either way; instances left over are the runtime's to report.
        (Phase::Decommissioning, Said::Failed(_)) => advance(plan, state, at),
        (phase, Said::Failed(reason)) => {
            let cause = match phase {
                Phase::Starting => Cause::NotStarted { reason },
                Phase::Testing => Cause::TestsFailed { reason },
                Phase::Checking { .. } => Cause::Unhealthy { reason },
                // Part of the traffic may be there: the way back asks for zero and waits for it.
                _ => Cause::NotShifted { reason },
            };
            backward::roll_back(plan, state, cause, at)
        }
    }
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

/// The watch of a step begins when its weight is in force. Evidence goes on from step to step: it is
/// never restarted inside a way forward (verdict.md, section 4).
fn begin_watch(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let watch_ms = plan.traffic_step(step).watch_ms;
    if watch_ms == 0 {
        return state;
    }
    let (generation, round) = match &state.watch {
        Some(watch) => (watch.generation, watch.round + 1),
        None => (state.generation.next(), 0),
    };
    let watch = Watch {
        generation,
        round,
        extensions: 0,
        until: at.plus(millis(watch_ms)),
        verdict: None,
    };
    State {
        watch: Some(watch),
        ..state
    }
}

/// A watch said that the candidate is healthy, or that it cannot tell.
pub(crate) fn observed(
    plan: &Plan,
    state: State,
    (generation, round): (Generation, u32),
    verdict: Verdict,
    at: Timestamp,
) -> State {
    let mut next = state;
    let is_watched = matches!(
        next.phase,
        Phase::Shifting { .. } | Phase::Checking { .. } | Phase::Watching { .. } | Phase::Asking { .. }
    );
    match &mut next.watch {
        Some(_) if !is_watched => return next,
        Some(watch) if watch.generation == generation && watch.round == round && watch.verdict.is_none() => {
            watch.verdict = Some(verdict.clone());
        }
        Some(_) | None => return next,
    }
    match next.phase {
        Phase::Watching { step } if !next.ready => judge(plan, next, step, verdict, at),
        Phase::Asking { .. } if !next.ready => match verdict {
            Verdict::Healthy => advance(plan, next, at),
            Verdict::Inconclusive { reason } | Verdict::Regressed { reason } => {
                backward::roll_back(plan, next, Cause::Inconclusive { reason }, at)
            }
        },
        // Before the health check has answered, or in a pause: kept, and weighed when its turn comes.
        _ => next,
    }
}

fn judge(plan: &Plan, state: State, step: usize, verdict: Verdict, at: Timestamp) -> State {
    let reason = match verdict {
        Verdict::Healthy => return advance(plan, state, at),
        Verdict::Regressed { reason } => {
            return backward::roll_back(plan, state, Cause::Regressed { reason }, at);
        }
        Verdict::Inconclusive { reason } => reason,
    };
    let extensions = state.watch.as_ref().map_or(0, |watch| watch.extensions);
    match plan.strategy.on_inconclusive() {
        OnInconclusive::Pass => advance(plan, state, at),
        OnInconclusive::Extend if extensions < plan.strategy.extensions_max() => {
            let until = at.plus(millis(plan.traffic_step(step).watch_ms));
            let mut next = next_window(state, until);
            if let Some(watch) = &mut next.watch {
                watch.extensions += 1;
            }
            enter(next, Phase::Watching { step }, at)
        }
        OnInconclusive::Extend | OnInconclusive::Ask => {
            let asking = next_window(state, at.plus(millis(plan.limits.ask_ms)));
            let mut next = enter(asking, Phase::Asking { step, reason }, at);
            owe(&mut next, Notice::Asked);
            next
        }
        OnInconclusive::RollBack => backward::roll_back(plan, state, Cause::Inconclusive { reason }, at),
    }
}

fn next_window(mut state: State, until: Timestamp) -> State {
    if let Some(watch) = &mut state.watch {
        watch.round += 1;
        watch.until = until;
        watch.verdict = None;
    }
    state
}

/// A phase of the way forward outlasted its limit.
fn outlasted(plan: &Plan, state: State, phase: &Phase, at: Timestamp) -> State {
    let reason = state.describe();
    match phase {
        Phase::Starting | Phase::Testing | Phase::Shifting { .. } => {
            backward::roll_back(plan, state, Cause::TimedOut { reason }, at)
        }
        Phase::Checking { .. } => {
            let reason = "the health check did not answer".to_owned();
            backward::roll_back(plan, state, Cause::Unhealthy { reason }, at)
        }
        // No gate passes on an absence.
        Phase::Watching { .. } => {
            let reason = "no verdict arrived".to_owned();
            backward::roll_back(plan, state, Cause::Inconclusive { reason }, at)
        }
        Phase::Asking { reason, .. } => {
            let reason = format!("{reason}, and nobody answered in time");
            backward::roll_back(plan, state, Cause::Inconclusive { reason }, at)
        }
        Phase::Finishing if state.attempt < STUCK_ATTEMPTS => again(state, at),
        Phase::Finishing => backward::roll_back(plan, state, Cause::TimedOut { reason }, at),
        Phase::Decommissioning if state.attempt < STUCK_ATTEMPTS => again(state, at),
        Phase::DrainingBaseline | Phase::Lingering | Phase::Decommissioning => advance(plan, state, at),
        Phase::Restoring
        | Phase::Withdrawing
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
        let guarded = match &state.watch {
            Some(watch) if watch.verdict.is_some() => next_window(state, until),
            Some(_) | None => state,
        };
        let generation = guarded.generation.next();
        return State {
            generation,
            ready: true,
            ..guarded
        };
    }
    match state.phase {
        Phase::Starting if plan.strategy.tests() => enter(state, Phase::Testing, at),
        Phase::Starting | Phase::Testing => shift(plan, state, 0, at),
        Phase::Shifting { step } => enter(state, Phase::Checking { step }, at),
        Phase::Checking { step } if plan.traffic_step(step).watch_ms > 0 => {
            let verdict = state.watch.as_ref().and_then(|watch| watch.verdict.clone());
            let watching = enter(state, Phase::Watching { step }, at);
            match verdict {
                Some(verdict) => judge(plan, watching, step, verdict, at),
                None => watching,
            }
        }
        Phase::Checking { step } | Phase::Watching { step } | Phase::Asking { step, .. } => {
            if step + 1 < plan.steps().len() {
                shift(plan, state, step + 1, at)
            } else {
                finish(plan, state, at)
            }
        }
        Phase::Finishing => after_full(plan, state, at),
        Phase::DrainingBaseline if plan.strategy.decommission_after_ms() > 0 => {
            enter(state, Phase::Lingering, at)
        }
        Phase::DrainingBaseline | Phase::Lingering => {
            let cooling = State {
                baseline_warm: false,
                ..state
            };
            enter(cooling, Phase::Decommissioning, at)
        }
        Phase::Decommissioning => announce(state, End::Deployed, at),
        Phase::Restoring
        | Phase::Withdrawing
        | Phase::Protected
        | Phase::DrainingCandidate
        | Phase::Quarantining
        | Phase::Stopping
        | Phase::Announcing { .. }
        | Phase::Ended { .. } => state,
    }
}

fn shift(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let weight = plan.traffic_step(step).weight;
    enter(ask_for(state, weight), Phase::Shifting { step }, at)
}

fn ask_for(state: State, weight: Weight) -> State {
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
fn finish(plan: &Plan, state: State, at: Timestamp) -> State {
    if state.traffic.weight == Weight::FULL && state.traffic.acknowledged {
        after_full(plan, state, at)
    } else {
        enter(ask_for(state, Weight::FULL), Phase::Finishing, at)
    }
}

fn after_full(plan: &Plan, state: State, at: Timestamp) -> State {
    match plan.previous() {
        Some(_) => enter(state, Phase::DrainingBaseline, at),
        None => announce(state, End::Deployed, at),
    }
}

/// A person takes the verdict upon themselves.
pub(crate) fn promote(plan: &Plan, state: State, by: Actor, at: Timestamp) -> State {
    match state.phase {
        Phase::Watching { .. } | Phase::Asking { .. } => {
            let promoted = State {
                promoted_by: Some(by),
                paused: None,
                ..state
            };
            finish(plan, promoted, at)
        }
        // Nothing to promote yet, or no longer.
        Phase::Starting
        | Phase::Testing
        | Phase::Shifting { .. }
        | Phase::Checking { .. }
        | Phase::Finishing
        | Phase::DrainingBaseline
        | Phase::Lingering
        | Phase::Decommissioning
        | Phase::Restoring
        | Phase::Withdrawing
        | Phase::Protected
        | Phase::DrainingCandidate
        | Phase::Quarantining
        | Phase::Stopping
        | Phase::Announcing { .. }
        | Phase::Ended { .. } => state,
    }
}
