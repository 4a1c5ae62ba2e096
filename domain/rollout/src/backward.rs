//! The way back, the same for every strategy: baseline warm, weight zero in force, drained,
//! quarantined, stopped, told.

use trimtab_model::{Actor, IncidentId, Timestamp, Weight};

use crate::{
    Cause, End, Phase, Plan, Protection, State, Traffic, Way,
    answer::Said,
    flag,
    machine::{STUCK_ATTEMPTS, again, again_later, announce, enter},
    replace,
};

/// Settles that the candidate goes back, and begins.
pub(crate) fn roll_back(plan: &Plan, state: State, cause: Cause, at: Timestamp) -> State {
    if flag::is_blamed(&state, &cause) {
        return flag::disable(state, &cause, at);
    }
    let condemned = State {
        cause: Some(cause),
        protection: None,
        ..state
    };
    withdraw(plan, condemned, at)
}

/// Takes traffic off the candidate: what follows depends on whether the cause is settled.
pub(crate) fn withdraw(plan: &Plan, state: State, at: Timestamp) -> State {
    let going = State {
        paused: None,
        watch: None,
        ..state
    };
    // Deployed is not what the team should hear now.
    let going = match going.phase {
        Phase::Announcing { .. } => State {
            owed: Vec::new(),
            ..going
        },
        _ => going,
    };
    if going.traffic.is_off() {
        withdrawn(plan, going, at)
    } else if plan.previous().is_some() && (!going.baseline_warm || replace::is_weak(plan, &going)) {
        enter(going, Phase::Restoring, at)
    } else {
        let off = State {
            traffic: Traffic {
                weight: Weight::ZERO,
                acknowledged: false,
            },
            ..going
        };
        enter(off, Phase::Withdrawing, at)
    }
}

fn withdrawn(plan: &Plan, state: State, at: Timestamp) -> State {
    if flag::is_raised(&state) {
        return flag::lower(state, at);
    }
    // Half a baseline carried everyone so far; it is made whole before anything else.
    if replace::is_short(plan, &state) {
        return enter(state, Phase::Restoring, at);
    }
    match &state.cause {
        Some(_) if state.exposed => enter(state, Phase::DrainingCandidate, at),
        Some(_) => drained(state, at),
        None if state.protection.as_ref().is_some_and(|p| p.cleared) => go_anew(plan, state, at),
        None => enter(state, Phase::Protected, at),
    }
}

fn drained(state: State, at: Timestamp) -> State {
    match &state.cause {
        Some(cause) if cause.quarantines() => enter(state, Phase::Quarantining, at),
        Some(_) | None => enter(state, Phase::Stopping, at),
    }
}

fn stopped(state: State, at: Timestamp) -> State {
    let reason = state.cause.as_ref().map(ToString::to_string).unwrap_or_default();
    let end = if state.exposed {
        End::RolledBack { reason }
    } else {
        End::Failed { reason }
    };
    announce(state, end, at)
}

/// Folds what was said of the present work into a phase of the way back.
pub(crate) fn apply(plan: &Plan, state: State, said: Said, at: Timestamp) -> State {
    match (state.phase.clone(), said) {
        (_, Said::Nothing) => state,
        (_, Said::Retry) => again(state, at),
        (phase, Said::Deadline) => outlasted(plan, state, phase, at),
        (Phase::Restoring, Said::Done) => {
            // What came back is in no pool yet, so that the weight is asked for again, even if it is zero.
            let warm = State {
                baseline_warm: true,
                traffic: Traffic {
                    acknowledged: false,
                    ..state.traffic
                },
                ..replace::restored(plan, state)
            };
            withdraw(plan, warm, at)
        }
        (Phase::Withdrawing, Said::Done) => {
            let off = State {
                traffic: Traffic {
                    weight: Weight::ZERO,
                    acknowledged: true,
                },
                ..state
            };
            withdrawn(plan, off, at)
        }
        (Phase::Lowering, Said::Done) => withdrawn(plan, flag::acknowledged(state), at),
        (Phase::DrainingCandidate, Said::Done) => drained(state, at),
        (Phase::Quarantining, Said::Done) => enter(state, Phase::Stopping, at),
        (Phase::Stopping, Said::Failed(_)) if state.attempt < STUCK_ATTEMPTS => again_later(state, at),
        // Off traffic either way; instances left over are the runtime's to report.
        (Phase::Stopping, Said::Done | Said::Failed(_)) => stopped(state, at),
        // What must happen is tried until it does.
        (Phase::Restoring | Phase::Withdrawing | Phase::Lowering | Phase::Quarantining, Said::Failed(_)) => {
            again_later(state, at)
        }
        // Nothing else has work that could be answered.
        (_, Said::Done | Said::Failed(_)) => state,
    }
}

/// A phase of the way back outlasted its limit. What must happen is tried until it does.
fn outlasted(plan: &Plan, state: State, phase: Phase, at: Timestamp) -> State {
    match phase {
        Phase::Restoring | Phase::Withdrawing | Phase::Lowering | Phase::Quarantining => again(state, at),
        Phase::Protected => {
            let cause = match &state.protection {
                Some(protection) => match &protection.incident {
                    Some(incident) => Cause::NotCleared {
                        incident: incident.clone(),
                        reason: protection.reason.clone(),
                    },
                    None => Cause::Regressed {
                        reason: protection.reason.trim_start_matches("regression: ").to_owned(),
                    },
                },
                None => Cause::TimedOut {
                    reason: state.describe(),
                },
            };
            roll_back(plan, state, cause, at)
        }
        // What is left in flight after the limit is cut: the drain limit is the plan's.
        Phase::DrainingCandidate => drained(state, at),
        Phase::Stopping if state.attempt < STUCK_ATTEMPTS => again(state, at),
        Phase::Stopping => stopped(state, at),
        Phase::Announcing { end } => {
            let told = State {
                owed: Vec::new(),
                ..state
            };
            enter(told, Phase::Ended { end }, at)
        }
        // Not on the way back.
        Phase::Hooking { .. }
        | Phase::Starting
        | Phase::Testing
        | Phase::Frozen { .. }
        | Phase::Retiring { .. }
        | Phase::Growing { .. }
        | Phase::Shifting { .. }
        | Phase::Raising { .. }
        | Phase::Checking { .. }
        | Phase::DrainingPart { .. }
        | Phase::StoppingPart { .. }
        | Phase::Watching { .. }
        | Phase::Asking { .. }
        | Phase::Approving { .. }
        | Phase::Holding { .. }
        | Phase::Finishing
        | Phase::Disabling
        | Phase::DrainingBaseline
        | Phase::Lingering
        | Phase::Decommissioning
        | Phase::Ended { .. } => state,
    }
}

/// The incident in charge found the candidate well: it goes forward anew.
pub(crate) fn cleared(plan: &Plan, state: State, by: &IncidentId, at: Timestamp) -> State {
    let in_charge = state
        .protection
        .as_ref()
        .is_some_and(|protection| protection.incident.as_ref() == Some(by));
    if !in_charge || state.cause.is_some() {
        return state;
    }
    match state.phase {
        Phase::Protected => go_anew(plan, state, at),
        // Traffic is still leaving the candidate: half a shift is no place to turn round.
        _ => {
            let mut next = state;
            if let Some(protection) = &mut next.protection {
                protection.cleared = true;
            }
            next
        }
    }
}

fn go_anew(plan: &Plan, state: State, at: Timestamp) -> State {
    // A person's restart says nothing about what an incident found.
    let by_incident = state.protection.as_ref().is_some_and(|p| p.incident.is_some());
    let anew = State {
        protection: None,
        cleared: (state.cleared + u32::from(by_incident)).min(2),
        instances: replace::at_start(plan),
        flag: None,
        reported: None,
        accepted: false,
        unproven: None,
        ..state
    };
    enter(anew, Phase::Starting, at)
}

/// A person begins the way forward anew.
pub(crate) fn restart(plan: &Plan, state: State, by: &Actor, at: Timestamp) -> State {
    let in_charge = state.protection.as_ref().is_some_and(|p| p.incident.is_some());
    if state.cause.is_some() || in_charge || state.phase.way() == Way::Over {
        return state;
    }
    let going = State {
        protection: Some(Protection {
            incident: None,
            reason: format!("restarted by {by}"),
            cleared: true,
        }),
        ..state
    };
    match going.phase {
        Phase::Protected => go_anew(plan, going, at),
        // Under way already: it turns round once traffic is off.
        Phase::Withdrawing | Phase::Restoring => going,
        _ => withdraw(plan, going, at),
    }
}

/// Ends an announced rollout once nothing is owed to the team.
pub(crate) fn end_when_told(state: State, at: Timestamp) -> State {
    match &state.phase {
        Phase::Announcing { end } if state.owed.is_empty() => {
            let end = end.clone();
            enter(state, Phase::Ended { end }, at)
        }
        _ => state,
    }
}
