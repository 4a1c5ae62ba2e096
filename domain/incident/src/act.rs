//! The critical branch (E.5 to E.19), and how each phase takes its result.

use trimtab_model::{Actor, Severity, Timestamp};

use crate::{
    Closing, End, Event, Guard, Notice, Outcome, Phase, Plan, State, TimerName, Way,
    machine::{close, closing, enter, owing},
};

/// Protect first where a warm release can serve; without one, check and restart in place.
pub(crate) fn begin(plan: &Plan, state: State, at: Timestamp) -> State {
    let hindrance = match (&plan.guard, &state.taken_over_by) {
        (_, Some(by)) => Some(format!("taken over by {by}")),
        (Guard::Refused { reason }, None) => Some(format!("no automatic action: {reason}")),
        (Guard::DryRun, None) => Some(format!("dry run: Trimtab would {}", intended(plan))),
        (Guard::Allowed, None) if !plan.class.acting_helps() => Some(format!(
            "neither a restart nor a rollback helps against a {}",
            plan.class
        )),
        (Guard::Allowed, None) if plan.suspect.is_none() => Some("no release to act on".to_owned()),
        (Guard::Allowed, None) => None,
    };
    match hindrance {
        Some(reason) => enter(state, Phase::PeopleNeeded { reason }, at),
        None if plan.warm_rollout().is_some() => enter(state, Phase::Protecting, at),
        None => enter(state, Phase::Checking, at),
    }
}

fn intended(plan: &Plan) -> String {
    let suspect = plan
        .suspect
        .as_ref()
        .map_or_else(|| "the suspect".to_owned(), ToString::to_string);
    match (&plan.rollout, &plan.previous) {
        (Some(rollout), _) => {
            format!("take traffic off {suspect}, restart it, and if it stays unhealthy roll {rollout} back")
        }
        (None, Some(previous)) => {
            format!("restart {suspect}, and if it stays unhealthy return to {previous}")
        }
        (None, None) => format!("restart {suspect}"),
    }
}

/// Folds the result of the present phase in; its generation has been checked.
pub(crate) fn apply(plan: &Plan, state: State, event: Event) -> State {
    let Some((at, result)) = result(&state, event) else {
        return state;
    };
    match (state.phase.clone(), result) {
        (Phase::Protecting, result) => {
            let asked = State {
                protected: matches!(result, Outcome::Done { .. }),
                ..state
            };
            enter(asked, Phase::Checking, at)
        }
        (Phase::Checking, Outcome::Done { .. }) => well(state, Way::Itself, at),
        (Phase::Checking, Outcome::Failed { .. }) => enter(state, Phase::Restarting, at),
        (Phase::Restarting, Outcome::Done { .. }) => {
            let acted = State {
                acted_at: at,
                ..state
            };
            enter(acted, Phase::Rechecking, at)
        }
        (Phase::Rechecking, Outcome::Done { .. }) => well(state, Way::Restart, at),
        (Phase::Restarting | Phase::Rechecking, Outcome::Failed { reason }) => {
            go_back(plan, state, reason, at)
        }
        (Phase::Clearing { way }, Outcome::Done { .. } | Outcome::Failed { .. }) => {
            let cleared = State {
                protected: false,
                ..state
            };
            enter(cleared, Phase::Verifying { way }, at)
        }
        (Phase::RollingBack, Outcome::Done { .. }) => {
            let acted = State {
                acted_at: at,
                protected: false,
                ..state
            };
            enter(acted, Phase::Verifying { way: Way::Rollback }, at)
        }
        (Phase::RollingBack, Outcome::Failed { reason }) => {
            call_people(state, format!("the rollback failed: {reason}"), at)
        }
        (Phase::Verifying { way }, Outcome::Done { .. }) => verified(state, way, at),
        (Phase::Verifying { way }, Outcome::Failed { reason }) => unimproved(state, &way, reason, at),
        (Phase::Proposing, Outcome::Done { .. } | Outcome::Failed { .. }) => {
            enter(state, Phase::AwaitingFix, at)
        }
        // Only the deadline brings these two here: people are reminded.
        (phase @ (Phase::PeopleNeeded { .. } | Phase::AwaitingFix), _) => {
            enter(owing(state, Notice::Reminder), phase, at)
        }
        (Phase::Closing { step, way }, Outcome::Done { .. } | Outcome::Failed { .. }) => {
            written(state, step, way, at)
        }
        (Phase::Logged | Phase::Ended { .. }, Outcome::Done { .. } | Outcome::Failed { .. }) => state,
    }
}

/// What the event says about the present phase: its own result, or that it outlasted its limit.
fn result(state: &State, event: Event) -> Option<(Timestamp, Outcome)> {
    match (&state.phase, event) {
        (Phase::Protecting | Phase::Clearing { .. }, Event::ProtectionEnded { at, outcome, .. })
        | (Phase::Checking | Phase::Rechecking, Event::HealthChecked { at, outcome, .. })
        | (Phase::Restarting, Event::Restarted { at, outcome, .. })
        | (Phase::RollingBack, Event::RollbackEnded { at, outcome, .. })
        | (Phase::Verifying { .. }, Event::MetricsVerified { at, outcome, .. })
        | (Phase::Proposing, Event::FixesProposed { at, outcome, .. })
        | (
            Phase::Closing {
                step: Closing::Causes,
                ..
            },
            Event::CausesReported { at, outcome, .. },
        )
        | (
            Phase::Closing {
                step: Closing::Postmortem,
                ..
            },
            Event::PostmortemWritten { at, outcome, .. },
        )
        | (
            Phase::Closing {
                step: Closing::Lesson,
                ..
            },
            Event::Learned { at, outcome, .. },
        ) => Some((at, outcome)),
        // No answer is no health, no improvement and no success.
        (
            _,
            Event::TimerFired {
                at,
                name: TimerName::Deadline,
                ..
            },
        ) => {
            let reason = "no answer in time".to_owned();
            Some((at, Outcome::Failed { reason }))
        }
        // Results of other phases.
        (
            _,
            Event::ProtectionEnded { .. }
            | Event::HealthChecked { .. }
            | Event::Restarted { .. }
            | Event::RollbackEnded { .. }
            | Event::MetricsVerified { .. }
            | Event::FixesProposed { .. }
            | Event::CausesReported { .. }
            | Event::PostmortemWritten { .. }
            | Event::Learned { .. }
            | Event::MetricsCleared { .. }
            | Event::Notified { .. }
            | Event::TimerFired { .. }
            | Event::Seen { .. }
            | Event::Escalated { .. }
            | Event::Acknowledged { .. }
            | Event::TakenOver { .. }
            | Event::FixApplied { .. }
            | Event::Resolved { .. },
        ) => None,
    }
}

fn well(state: State, way: Way, at: Timestamp) -> State {
    let phase = if state.protected {
        Phase::Clearing { way }
    } else {
        Phase::Verifying { way }
    };
    enter(state, phase, at)
}

/// Only the rollout moves traffic while there is one; else the previous artifact is started.
fn go_back(plan: &Plan, state: State, reason: String, at: Timestamp) -> State {
    if plan.rollout.is_some() || plan.previous.is_some() {
        enter(state, Phase::RollingBack, at)
    } else {
        let reason = format!("still unhealthy after the restart ({reason}), and no release to return to");
        call_people(state, reason, at)
    }
}

fn call_people(state: State, reason: String, at: Timestamp) -> State {
    enter(
        owing(state, Notice::PeopleNeeded),
        Phase::PeopleNeeded { reason },
        at,
    )
}

fn verified(state: State, way: Way, at: Timestamp) -> State {
    let what = match way {
        Way::Rollback => Notice::RolledBack,
        Way::Restart => Notice::Restarted,
        Way::Fix { .. } | Way::Itself | Way::Person { .. } => Notice::ProblemSolved,
    };
    // A low incident was never told of, so neither is its end.
    let told = match state.severity {
        Severity::Low => state,
        Severity::Medium | Severity::High | Severity::Critical => owing(state, what),
    };
    close(told, way, at)
}

fn unimproved(state: State, way: &Way, reason: String, at: Timestamp) -> State {
    match state.severity {
        Severity::Critical => {
            let reason = format!("{way}, and the metrics did not improve: {reason}");
            call_people(state, reason, at)
        }
        Severity::High | Severity::Medium => enter(state, Phase::AwaitingFix, at),
        Severity::Low => enter(state, Phase::Logged, at),
    }
}

/// A report that failed does not hold the next: the journal keeps the reason.
fn written(state: State, step: Closing, way: Way, at: Timestamp) -> State {
    match step {
        Closing::Causes => closing(state, Closing::Postmortem, way, at),
        Closing::Postmortem => closing(state, Closing::Lesson, way, at),
        Closing::Lesson => closing(state, Closing::Notices, way, at),
        Closing::Notices => {
            let told = State {
                owed: Vec::new(),
                ..state
            };
            let end = End::Resolved { way };
            enter(told, Phase::Ended { end }, at)
        }
    }
}

/// A person stops what Trimtab does by itself.
pub(crate) fn taken_over(state: State, by: Actor, at: Timestamp) -> State {
    let reason = format!("taken over by {by}");
    let taken = State {
        acknowledged_by: Some(state.acknowledged_by.clone().unwrap_or_else(|| by.clone())),
        taken_over_by: Some(by),
        ..state
    };
    match taken.phase {
        // A protected suspect stays off traffic: its rollout rolls it back unless the person clears it.
        Phase::Protecting
        | Phase::Checking
        | Phase::Restarting
        | Phase::Rechecking
        | Phase::Clearing { .. } => enter(taken, Phase::PeopleNeeded { reason }, at),
        // A rollback under way is let end: half of one is worse than either end.
        Phase::RollingBack
        | Phase::Verifying { .. }
        | Phase::PeopleNeeded { .. }
        | Phase::Proposing
        | Phase::AwaitingFix
        | Phase::Logged
        | Phase::Closing { .. }
        | Phase::Ended { .. } => taken,
    }
}
