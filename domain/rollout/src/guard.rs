//! What works in every phase: commands of people, guards, notices.

use trimtab_model::Timestamp;

use crate::{
    Cause, Event, Notice, OnRegressed, Phase, Plan, Protection, State, Verdict, Way, backward, flag, forward,
    gates,
    machine::{again, enter, millis, owe},
    state::Pause,
    watch,
};

/// Applies the events that do not depend on the phase's own work, and hands back the others.
pub(crate) fn apply(plan: &Plan, state: State, event: Event) -> Result<State, Box<(State, Event)>> {
    if state.irreversible && takes_back(&event) {
        return Ok(refuse(state));
    }
    match event {
        Event::Observed {
            at,
            generation,
            round,
            verdict,
        } => Ok(match verdict {
            Verdict::Regressed { reason, on, .. } => {
                regressed(plan, state, (generation, round), (reason, on), at)
            }
            Verdict::Healthy | Verdict::Inconclusive { .. } => {
                watch::observed(plan, state, (generation, round), verdict, at)
            }
        }),
        Event::Protected { at, incident, reason } => Ok(protect(plan, state, incident, reason, at)),
        Event::Condemned { at, incident, reason } => {
            Ok(condemn(plan, state, Cause::Condemned { incident, reason }, at))
        }
        Event::RolledBack { at, by, reason } => {
            Ok(condemn(plan, state, Cause::RolledBack { by, reason }, at))
        }
        Event::Aborted { at, by } => Ok(match state.cause {
            None => backward::roll_back(plan, state, Cause::Aborted { by }, at),
            Some(_) => state,
        }),
        Event::Recalled { at, group, reason } => Ok(match state.cause {
            None => backward::roll_back(plan, state, Cause::Recalled { group, reason }, at),
            Some(_) => state,
        }),
        Event::Superseded { at, by } => Ok(superseded(plan, state, by, at)),
        Event::Cleared { at, incident, .. } => Ok(backward::cleared(plan, state, &incident, at)),
        Event::Paused { at, by } => Ok(pause(state, by, at)),
        Event::Resumed { at, .. } => Ok(resume(plan, state, at)),
        Event::Promoted { at, by } => Ok(gates::promote(plan, state, by, at)),
        Event::Approved { at, step, .. } => Ok(gates::approve(plan, state, step, at)),
        Event::Restarted { at, by } => Ok(backward::restart(plan, state, &by, at)),
        Event::Retried { at, .. } if state.retry_at.is_some() => Ok(again(state, at)),
        Event::Retried { .. } => Ok(state),
        Event::Notified { at, what, generation } => {
            let mut next = state;
            next.owed
                .retain(|owed| owed.what != what || owed.generation != generation);
            Ok(backward::end_when_told(next, at))
        }
        Event::TimerFired { at, generation, .. } if state.ready && generation == state.generation => {
            let hours = millis(plan.limits.pause_ms).as_secs() / 3600;
            let reason = format!("the pause lasted over {hours} h");
            Ok(backward::roll_back(plan, state, Cause::TimedOut { reason }, at))
        }
        Event::Started { .. }
        | Event::HookRan { .. }
        | Event::Tested { .. }
        | Event::Shifted { .. }
        | Event::FlagSet { .. }
        | Event::HealthChecked { .. }
        | Event::Drained { .. }
        | Event::Stopped { .. }
        | Event::Quarantined { .. }
        | Event::TimerFired { .. } => Err(Box::new((state, event))),
    }
}

/// B.BG8: traffic leaves the candidate at once, whatever follows.
fn regressed(
    plan: &Plan,
    state: State,
    (generation, round): (trimtab_model::Generation, u32),
    (reason, on): (String, Option<OnRegressed>),
    at: Timestamp,
) -> State {
    let current = state
        .watch
        .as_ref()
        .is_some_and(|watch| watch.generation == generation);
    if !current || state.cause.is_some() || state.protection.is_some() {
        return state;
    }
    // A candidate that a restart had cured and that regresses again is not worth a second restart.
    let of_flag = state.watch.as_ref().is_some_and(|watch| watch.flag);
    let restart_is_worth_it = state.cleared == 0 && plan.previous().is_some() && !of_flag;
    let on_regressed = on.unwrap_or(plan.strategy.manner().on_regressed);
    match on_regressed {
        OnRegressed::Protect if restart_is_worth_it => {
            let protection = Protection {
                incident: None,
                reason: format!("regression: {reason}"),
                cleared: false,
            };
            let held = State {
                protection: Some(protection),
                ..state
            };
            backward::withdraw(plan, held, at)
        }
        OnRegressed::Protect | OnRegressed::RollBack => {
            backward::roll_back(plan, state, Cause::Regressed { reason }, at)
        }
        OnRegressed::Extend | OnRegressed::Ask | OnRegressed::Report => {
            match watch::regressed_softly(plan, state, round, (&reason, on_regressed), at) {
                Ok(next) => next,
                Err(state) => backward::roll_back(plan, *state, Cause::Regressed { reason }, at),
            }
        }
    }
}

fn protect(
    plan: &Plan,
    state: State,
    incident: trimtab_model::IncidentId,
    reason: String,
    at: Timestamp,
) -> State {
    if state.cause.is_some() {
        return state;
    }
    match &state.protection {
        None => {
            let protection = Protection {
                incident: Some(incident),
                reason,
                cleared: false,
            };
            let held = State {
                protection: Some(protection),
                ..state
            };
            backward::withdraw(plan, held, at)
        }
        Some(Protection { incident: None, .. }) => {
            let protection = Protection {
                incident: Some(incident),
                reason,
                cleared: false,
            };
            let held = State {
                protection: Some(protection),
                ..state
            };
            match held.phase {
                // Entered anew, so that the incident has its full time.
                Phase::Protected => enter(held, Phase::Protected, at),
                _ => held,
            }
        }
        // The first incident stays in charge.
        Some(Protection {
            incident: Some(_), ..
        }) => state,
    }
}

fn condemn(plan: &Plan, state: State, cause: Cause, at: Timestamp) -> State {
    match &state.cause {
        None => backward::roll_back(plan, state, cause, at),
        Some(old) if old.quarantines() => state,
        // Going back already, for a reason that says nothing against the candidate: now there is one.
        Some(_) => {
            let condemned = State {
                cause: Some(cause),
                ..state
            };
            match condemned.phase {
                Phase::Stopping | Phase::Announcing { .. } => {
                    let mut next = enter(condemned, Phase::Quarantining, at);
                    next.owed.clear();
                    next
                }
                _ => condemned,
            }
        }
    }
}

fn superseded(plan: &Plan, state: State, by: trimtab_model::RolloutId, at: Timestamp) -> State {
    let forward = state.phase.way() == Way::Forward;
    let undecided = match state.phase.way() {
        Way::Forward => true,
        Way::Back => state.cause.is_none(),
        // Past its verdict: it is over sooner than it could be turned round.
        Way::Landing | Way::Over => false,
    };
    let cause = Cause::Superseded { by };
    let alone = forward && state.exposed && plan.previous().is_none();
    if undecided && alone && state.flag.is_none() {
        // Nothing else serves: users stay on it until the newer release has taken over.
        let last = State {
            flag: flag::never_raised(plan, &cause),
            paused: None,
            ready: false,
            ..state
        };
        gates::unfrozen(plan, last, plan.steps().len(), at)
    } else if undecided {
        backward::roll_back(plan, state, cause, at)
    } else {
        state
    }
}

fn pause(state: State, by: trimtab_model::Actor, at: Timestamp) -> State {
    let holds = match state.phase.way() {
        Way::Forward => true,
        // The last steps need no holding.
        Way::Landing => !matches!(
            state.phase,
            Phase::Decommissioning | Phase::Disabling | Phase::Hooking { .. }
        ),
        // Nothing holds a candidate on its way back.
        Way::Back | Way::Over => false,
    };
    if !holds || state.paused.is_some() {
        return state;
    }
    State {
        paused: Some(Pause { at, by }),
        ..state
    }
}

/// Nothing leads back from a migration that the baseline cannot live with; people hear that once.
fn refuse(mut state: State) -> State {
    if !state.refused {
        state.refused = true;
        owe(&mut state, Notice::CannotRollBack);
    }
    state
}

fn takes_back(event: &Event) -> bool {
    match event {
        Event::Protected { .. }
        | Event::Condemned { .. }
        | Event::RolledBack { .. }
        | Event::Aborted { .. }
        | Event::Recalled { .. }
        | Event::Restarted { .. } => true,
        Event::Observed { verdict, .. } => matches!(verdict, Verdict::Regressed { .. }),
        Event::Started { .. }
        | Event::HookRan { .. }
        | Event::Tested { .. }
        | Event::Shifted { .. }
        | Event::FlagSet { .. }
        | Event::HealthChecked { .. }
        | Event::Drained { .. }
        | Event::Stopped { .. }
        | Event::Quarantined { .. }
        | Event::Notified { .. }
        | Event::TimerFired { .. }
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::Promoted { .. }
        | Event::Approved { .. }
        | Event::Retried { .. }
        | Event::Cleared { .. }
        | Event::Superseded { .. } => false,
    }
}

fn resume(plan: &Plan, state: State, at: Timestamp) -> State {
    let going = State {
        paused: None,
        ..state
    };
    if going.ready {
        forward::advance(plan, going, at)
    } else {
        going
    }
}
