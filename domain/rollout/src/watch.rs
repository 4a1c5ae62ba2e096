//! Watches: when one begins, what its verdict leads to. Evidence goes on from step to step: it is never
//! restarted inside a way forward (verdict.md, section 4).

use trimtab_model::{Generation, Timestamp};

use crate::{
    Cause, Notice, OnInconclusive, OnRegressed, Phase, Plan, State, Verdict, Watch, backward,
    forward::advance,
    gates,
    machine::{enter, millis, owe},
};

/// How the question about a regression begins.
const REGRESSION: &str = "regression: ";

/// The watch of a step begins when its weight is in force.
pub(crate) fn begin(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    let traffic_step = plan.traffic_step(step);
    if traffic_step.watch_ms == 0 {
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
        until: at.plus(millis(traffic_step.watch_ms)),
        weight: traffic_step.flag.unwrap_or(traffic_step.weight),
        flag: traffic_step.flag.is_some(),
        requests_min: traffic_step.requests_min,
        verdict: None,
        regression: None,
    };
    State {
        watch: Some(watch),
        ..state
    }
}

/// Keeps the guard on the watch between two windows: a regression is reported until `until` as well.
pub(crate) fn guarded(mut state: State, until: Timestamp) -> State {
    if let Some(watch) = &mut state.watch
        && watch.verdict.is_some()
    {
        watch.round += 1;
        watch.until = until;
        watch.requests_min = 0;
        watch.verdict = None;
    }
    state
}

/// What a watch asks of the observer; nothing once it is answered.
pub(crate) fn observation(state: &State) -> Option<crate::Effect> {
    let watch = state.watch.as_ref().filter(|watch| watch.verdict.is_none())?;
    state.phase.step()?;
    Some(crate::Effect::Observe {
        generation: watch.generation,
        round: watch.round,
        until: watch.until,
        weight: watch.weight,
        requests_min: watch.requests_min,
        flag: watch.flag,
    })
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
    if next.phase.step().is_none() {
        return next;
    }
    match &mut next.watch {
        Some(watch) if watch.generation == generation && watch.round == round && watch.verdict.is_none() => {
            watch.verdict = Some(verdict.clone());
        }
        Some(_) | None => return next,
    }
    match next.phase {
        Phase::Watching { step } if !next.ready => judge(plan, next, step, verdict, at),
        // Only a person can answer that one.
        Phase::Asking { ref reason, .. } if asks_about_regression(reason).is_some() => next,
        Phase::Asking { .. } if !next.ready => match verdict {
            Verdict::Healthy => advance(plan, next, at),
            Verdict::Inconclusive { reason, .. } | Verdict::Regressed { reason, .. } => {
                backward::roll_back(plan, next, Cause::Inconclusive { reason }, at)
            }
        },
        // Before the health check has answered, between two steps, or in a pause: kept, and weighed
        // when its turn comes.
        _ => next,
    }
}

/// The candidate's health is settled: its watch goes on, or what it has said already is weighed.
pub(crate) fn enter_watch(plan: &Plan, state: State, step: usize, at: Timestamp) -> State {
    if plan.traffic_step(step).watch_ms == 0 {
        return gates::watched(plan, state, step, at);
    }
    let verdict = state.watch.as_ref().and_then(|watch| watch.verdict.clone());
    let watching = enter(state, Phase::Watching { step }, at);
    match verdict {
        // Only reported: the window is waited out, as it would have been.
        Some(Verdict::Regressed { .. }) | None => watching,
        Some(verdict) => judge(plan, watching, step, verdict, at),
    }
}

pub(crate) fn judge(plan: &Plan, state: State, step: usize, verdict: Verdict, at: Timestamp) -> State {
    let (reason, on) = match verdict {
        Verdict::Healthy => return advance(plan, without_regression(state), at),
        Verdict::Regressed { reason, .. } => {
            return backward::roll_back(plan, state, Cause::Regressed { reason }, at);
        }
        Verdict::Inconclusive { reason, on, .. } => (reason, on),
    };
    let traffic_step = plan.traffic_step(step);
    let extensions = state.watch.as_ref().map_or(0, |watch| watch.extensions);
    let on = on.unwrap_or(traffic_step.on_inconclusive);
    let regression = state.watch.as_ref().and_then(|watch| watch.regression.clone());
    // An absence clears no regression, whatever it would lead to alone.
    if let Some(regression) = regression.filter(|_| on != OnInconclusive::RollBack) {
        let reason = format!("{REGRESSION}{regression}, and the longer watch does not clear it: {reason}");
        return ask(plan, state, step, reason, at);
    }
    match on {
        OnInconclusive::Pass => advance(plan, state, at),
        OnInconclusive::Report => {
            let mut told = State {
                unproven: Some(reason),
                ..state
            };
            owe(&mut told, Notice::Inconclusive);
            advance(plan, told, at)
        }
        OnInconclusive::Extend if extensions < plan.strategy.manner().extensions_max => {
            let until = at.plus(millis(traffic_step.watch_ms));
            let mut next = guarded(state, until);
            if let Some(watch) = &mut next.watch {
                watch.extensions += 1;
                watch.requests_min = traffic_step.requests_min;
            }
            enter(next, Phase::Watching { step }, at)
        }
        OnInconclusive::Extend | OnInconclusive::Ask => {
            let mut asking = ask(plan, state, step, reason, at);
            if let Some(watch) = &mut asking.watch {
                watch.requests_min = traffic_step.requests_min;
            }
            asking
        }
        OnInconclusive::RollBack => backward::roll_back(plan, state, Cause::Inconclusive { reason }, at),
    }
}

/// The longer watch found the candidate well after all.
fn without_regression(mut state: State) -> State {
    if let Some(watch) = &mut state.watch {
        watch.regression = None;
    }
    state
}

/// The regression that a person who says to go on has seen: asked about, or watched as long again.
fn seen(state: &State) -> Option<String> {
    if let Phase::Asking { reason, .. } = &state.phase
        && let Some(regression) = asks_about_regression(reason)
    {
        return Some(regression.to_owned());
    }
    let watch = state.watch.as_ref()?;
    match &watch.verdict {
        Some(Verdict::Regressed { reason, .. }) => Some(reason.clone()),
        Some(_) | None => watch.regression.clone(),
    }
}

/// A person says to go on: what is known of a regression is only reported from here on.
pub(crate) fn accepted(state: State) -> State {
    let seen = seen(&state);
    State {
        accepted: state.accepted || seen.is_some(),
        reported: state.reported.clone().or(seen),
        ..state
    }
}

/// A person decides; whatever acts by itself still does.
fn ask(plan: &Plan, state: State, step: usize, reason: String, at: Timestamp) -> State {
    let guarded = guarded(state, at.plus(millis(plan.limits.ask_ms)));
    let mut asking = enter(guarded, Phase::Asking { step, reason }, at);
    owe(&mut asking, Notice::Asked);
    asking
}

/// The watch outlasted its limit.
pub(crate) fn outlasted(plan: &Plan, state: State, at: Timestamp) -> State {
    match state.watch.as_ref().and_then(|watch| watch.verdict.clone()) {
        Some(Verdict::Regressed { .. }) if state.reported.is_some() => advance(plan, state, at),
        // No gate passes on an absence.
        Some(_) | None => {
            let reason = "no verdict arrived".to_owned();
            backward::roll_back(plan, state, Cause::Inconclusive { reason }, at)
        }
    }
}

/// The regression that people are asked about, if it is one.
pub(crate) fn asks_about_regression(reason: &str) -> Option<&str> {
    reason.strip_prefix(REGRESSION)
}

/// A question to people outlasted its limit: silence is no.
pub(crate) fn unanswered(plan: &Plan, state: State, reason: &str, at: Timestamp) -> State {
    let unanswered = |reason: &str| format!("{reason}, and nobody answered in time");
    let cause = match asks_about_regression(reason) {
        Some(regression) => Cause::Regressed {
            reason: unanswered(regression),
        },
        None => Cause::Inconclusive {
            reason: unanswered(reason),
        },
    };
    backward::roll_back(plan, state, cause, at)
}

/// A step is watched as long again for a regression once, and while it is watched only.
fn may_extend(plan: &Plan, state: &State) -> bool {
    let watching = matches!(state.phase, Phase::Watching { .. }) && state.paused.is_none();
    let fresh = state.watch.as_ref().is_some_and(|watch| {
        watch.regression.is_none() && watch.extensions < plan.strategy.manner().extensions_max
    });
    watching && fresh && !state.ready
}

/// A regression that the team wants only reported, or asked about. Gives the state back where that
/// cannot be done.
pub(crate) fn regressed_softly(
    plan: &Plan,
    state: State,
    round: u32,
    (reason, on_regressed): (&str, OnRegressed),
    at: Timestamp,
) -> Result<State, Box<State>> {
    let step = match state.phase {
        // A freeze holds the step ahead; the one that is served is before it.
        Phase::Frozen { step, .. } => step.checked_sub(1),
        Phase::Finishing => plan.steps().len().checked_sub(1),
        ref phase => phase.step(),
    };
    let mut next = state;
    if let Some(watch) = &mut next.watch {
        // Of an older window: the present one's observer sees the same evidence.
        if watch.round != round || matches!(watch.verdict, Some(Verdict::Regressed { .. })) {
            return Ok(next);
        }
        watch.verdict = Some(Verdict::regressed(reason));
    }
    let on_regressed = match on_regressed {
        // A person has seen it and said to go on.
        OnRegressed::Ask | OnRegressed::Extend if next.accepted => OnRegressed::Report,
        OnRegressed::Extend if !may_extend(plan, &next) => OnRegressed::Ask,
        on_regressed => on_regressed,
    };
    match (on_regressed, step) {
        (OnRegressed::Report, _) => {
            if next.reported.is_none() {
                next.reported = Some(reason.to_owned());
                owe(&mut next, Notice::WouldRollBack);
                // Only said: whatever else is watched is watched on to the window's end.
                if let Some(watch) = &mut next.watch {
                    watch.verdict = None;
                    watch.round += 1;
                }
            }
            Ok(next)
        }
        (OnRegressed::Extend, Some(step)) => {
            let until = at.plus(millis(plan.traffic_step(step).watch_ms));
            let mut longer = guarded(next, until);
            if let Some(watch) = &mut longer.watch {
                watch.extensions += 1;
                watch.requests_min = plan.traffic_step(step).requests_min;
                watch.regression = Some(reason.to_owned());
            }
            Ok(enter(longer, Phase::Watching { step }, at))
        }
        // They are asked already; whatever the answer, it is about this one too.
        (OnRegressed::Ask, _) if next.asks_about_regression() => Ok(next),
        (OnRegressed::Ask, Some(step)) => {
            let reason = format!("{REGRESSION}{reason}");
            let resumed = State { paused: None, ..next };
            Ok(ask(plan, resumed, step, reason, at))
        }
        (OnRegressed::Ask | OnRegressed::Extend, None)
        | (OnRegressed::Protect | OnRegressed::RollBack, _) => Err(Box::new(next)),
    }
}
