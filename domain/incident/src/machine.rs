//! The door of the machine, what is owed in each phase, and the way from open to closed.

use std::time::Duration;

use trimtab_model::{Generation, Severity, Timestamp};

use crate::{
    Channel, Closing, Effect, End, Event, Notice, Phase, Plan, State, TimerName, Way, act, state::Owed,
};

/// The version of [`Event`] as journalled.
pub const EVENT_VERSION: u32 = 1;

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// Protection and its end: the shift of traffic has a limit of its own below this.
const PROTECT_LIMIT: Duration = Duration::from_secs(30);
/// A health check, with the mirrored sample that it may wait for.
const CHECK_LIMIT: Duration = minutes(1);
/// A restart, until the instances run again.
const RESTART_LIMIT: Duration = minutes(1);
/// A rollback, with the start of a release that was no longer warm.
const ROLL_BACK_LIMIT: Duration = minutes(5);
/// The check of the metrics.
const VERIFY_LIMIT: Duration = minutes(3);
/// Each report.
const REPORT_LIMIT: Duration = minutes(2);
/// Between reminders of a critical incident.
const REMIND_CRITICAL: Duration = minutes(15);
/// Between reminders of another, or of one that somebody acknowledged.
const REMIND_OTHER: Duration = minutes(4 * 60);
/// How long a low incident must not be seen to be over.
const QUIET: Duration = minutes(10);
/// What counts as the present when a suspect is checked before anything was done.
const RECENT: Duration = minutes(1);

/// The first state of an incident.
pub fn start(plan: &Plan) -> State {
    let state = State {
        generation: Generation(0),
        phase: Phase::Logged,
        since: plan.opened_at,
        severity: plan.severity,
        protected: false,
        acted_at: plan.opened_at,
        seen_at: plan.opened_at,
        acknowledged_by: None,
        taken_over_by: None,
        owed: Vec::new(),
    };
    open(plan, state, plan.opened_at)
}

/// Folds `event` in and says what is newly owed. Events that do not concern the state, among them
/// answers to older generations, change nothing.
pub fn step(plan: &Plan, state: State, event: Event) -> (State, Vec<Effect>) {
    let owed = pending(plan, &state);
    let next = transition(plan, state, event);
    let effects = pending(plan, &next)
        .into_iter()
        .filter(|effect| !owed.contains(effect))
        .collect();
    (next, effects)
}

/// All that is owed in `state`, whether under way or not; nothing once the incident is over.
pub fn pending(plan: &Plan, state: &State) -> Vec<Effect> {
    if state.end().is_some() {
        return Vec::new();
    }
    let mut effects: Vec<Effect> = work(plan, state).into_iter().collect();
    effects.extend(state.owed.iter().map(|owed| Effect::Notify {
        what: owed.what,
        channels: channels(owed.what, owed.severity),
        severity: owed.severity,
        generation: owed.generation,
    }));
    effects.push(timer(state));
    effects
}

fn work(plan: &Plan, state: &State) -> Option<Effect> {
    let generation = state.generation;
    let since = state.acted_at;
    match &state.phase {
        Phase::Protecting => plan
            .warm_rollout()
            .cloned()
            .map(|rollout| Effect::Protect { rollout, generation }),
        Phase::Checking => plan.suspect.clone().map(|release| Effect::CheckHealth {
            release,
            off_traffic: state.protected,
            since: plan.opened_at.minus(RECENT),
            generation,
        }),
        Phase::Restarting => plan
            .suspect
            .clone()
            .map(|release| Effect::Restart { release, generation }),
        Phase::Rechecking => plan.suspect.clone().map(|release| Effect::CheckHealth {
            release,
            off_traffic: state.protected,
            since,
            generation,
        }),
        Phase::Clearing { .. } => plan
            .rollout
            .clone()
            .map(|rollout| Effect::ClearRollout { rollout, generation }),
        Phase::RollingBack => match (&plan.rollout, &plan.previous) {
            (Some(rollout), _) => Some(Effect::RollBack {
                rollout: rollout.clone(),
                generation,
            }),
            (None, Some(release)) => Some(Effect::StartPrevious {
                release: release.clone(),
                generation,
            }),
            (None, None) => None,
        },
        Phase::Verifying { .. } => Some(Effect::VerifyMetrics { since, generation }),
        Phase::Proposing => Some(Effect::ProposeFixes { generation }),
        Phase::PeopleNeeded { .. } | Phase::AwaitingFix => Some(Effect::WatchMetrics { generation }),
        Phase::Closing { step, .. } => match step {
            Closing::Causes => Some(Effect::ReportCauses { generation }),
            Closing::Postmortem => Some(Effect::WritePostmortem { generation }),
            Closing::Lesson => Some(Effect::Learn { generation }),
            Closing::Notices => None,
        },
        Phase::Logged | Phase::Ended { .. } => None,
    }
}

fn timer(state: &State) -> Effect {
    let (name, at) = match &state.phase {
        Phase::Logged => (TimerName::Quiet, state.seen_at.plus(QUIET)),
        phase => {
            let limit = match phase {
                Phase::Protecting | Phase::Clearing { .. } => PROTECT_LIMIT,
                Phase::Checking | Phase::Rechecking => CHECK_LIMIT,
                Phase::Restarting => RESTART_LIMIT,
                Phase::RollingBack => ROLL_BACK_LIMIT,
                Phase::Verifying { .. } => VERIFY_LIMIT,
                Phase::PeopleNeeded { .. } | Phase::AwaitingFix => remind_after(state),
                Phase::Proposing | Phase::Closing { .. } | Phase::Logged | Phase::Ended { .. } => {
                    REPORT_LIMIT
                }
            };
            (TimerName::Deadline, state.since.plus(limit))
        }
    };
    Effect::Timer {
        name,
        generation: state.generation,
        at,
    }
}

fn remind_after(state: &State) -> Duration {
    if state.severity == Severity::Critical && state.acknowledged_by.is_none() {
        REMIND_CRITICAL
    } else {
        REMIND_OTHER
    }
}

/// The ladder of design.md §7.
fn channels(what: Notice, severity: Severity) -> Vec<Channel> {
    match (what, severity) {
        (Notice::Raised, _) | (Notice::PeopleNeeded | Notice::RolledBack, Severity::Critical) => {
            vec![Channel::Sms, Channel::Email, Channel::Slack]
        }
        (
            Notice::Warning
            | Notice::RolledBack
            | Notice::Restarted
            | Notice::PeopleNeeded
            | Notice::Reminder
            | Notice::ProblemSolved,
            _,
        ) => vec![Channel::Email, Channel::Slack],
    }
}

/// Begins the branch that the severity asks for.
pub(crate) fn open(plan: &Plan, state: State, at: Timestamp) -> State {
    match state.severity {
        Severity::Critical => act::begin(plan, owing(state, Notice::Raised), at),
        Severity::High | Severity::Medium => enter(owing(state, Notice::Warning), Phase::Proposing, at),
        Severity::Low => enter(state, Phase::Logged, at),
    }
}

fn transition(plan: &Plan, state: State, event: Event) -> State {
    if state.end().is_some() {
        return state;
    }
    let late = event
        .generation()
        .is_some_and(|generation| generation != state.generation);
    match event {
        Event::Notified {
            at, what, generation, ..
        } => told(state, what, generation, at),
        _ if late => state,
        Event::Seen { at } => seen(state, at),
        Event::Escalated { at, severity, .. } => escalated(plan, state, severity, at),
        Event::Acknowledged { by, .. } => State {
            acknowledged_by: Some(state.acknowledged_by.unwrap_or(by)),
            ..state
        },
        Event::TakenOver { at, by } => act::taken_over(state, by, at),
        Event::FixApplied { at, by, what } => fix_applied(state, Way::Fix { by, what }, at),
        Event::Resolved { at, by, reason } => resolved(state, Way::Person { by, reason }, at),
        Event::MetricsCleared { at, .. } => metrics_cleared(state, at),
        Event::TimerFired {
            at,
            name: TimerName::Quiet,
            ..
        } => match state.phase {
            Phase::Logged => close(state, Way::Itself, at),
            _ => state,
        },
        Event::ProtectionEnded { .. }
        | Event::HealthChecked { .. }
        | Event::Restarted { .. }
        | Event::RollbackEnded { .. }
        | Event::MetricsVerified { .. }
        | Event::FixesProposed { .. }
        | Event::CausesReported { .. }
        | Event::PostmortemWritten { .. }
        | Event::Learned { .. }
        | Event::TimerFired {
            name: TimerName::Deadline,
            ..
        } => act::apply(plan, state, event),
    }
}

fn told(state: State, what: Notice, generation: Generation, at: Timestamp) -> State {
    let mut next = state;
    next.owed
        .retain(|owed| owed.what != what || owed.generation != generation);
    match &next.phase {
        Phase::Closing {
            step: Closing::Notices,
            way,
        } if next.owed.is_empty() => {
            let end = End::Resolved { way: way.clone() };
            enter(next, Phase::Ended { end }, at)
        }
        _ => next,
    }
}

fn resolved(state: State, way: Way, at: Timestamp) -> State {
    match &state.phase {
        // Under way and soon over: half a rollback is worse than either end of it.
        Phase::RollingBack | Phase::Closing { .. } | Phase::Ended { .. } => state,
        Phase::Logged => close(state, way, at),
        Phase::Protecting
        | Phase::Checking
        | Phase::Restarting
        | Phase::Rechecking
        | Phase::Clearing { .. }
        | Phase::Verifying { .. }
        | Phase::PeopleNeeded { .. }
        | Phase::Proposing
        | Phase::AwaitingFix => close(owing(state, Notice::ProblemSolved), way, at),
    }
}

fn metrics_cleared(state: State, at: Timestamp) -> State {
    match &state.phase {
        Phase::PeopleNeeded { .. } | Phase::AwaitingFix => {
            close(owing(state, Notice::ProblemSolved), Way::Itself, at)
        }
        Phase::Protecting
        | Phase::Checking
        | Phase::Restarting
        | Phase::Rechecking
        | Phase::Clearing { .. }
        | Phase::RollingBack
        | Phase::Verifying { .. }
        | Phase::Proposing
        | Phase::Logged
        | Phase::Closing { .. }
        | Phase::Ended { .. } => state,
    }
}

fn seen(state: State, at: Timestamp) -> State {
    let again = State {
        seen_at: at.max(state.seen_at),
        ..state
    };
    match again.phase {
        // Entered anew, so that a quiet timer under way is out of date.
        Phase::Logged => enter(again, Phase::Logged, at),
        _ => again,
    }
}

fn escalated(plan: &Plan, state: State, severity: Severity, at: Timestamp) -> State {
    if severity <= state.severity {
        return state;
    }
    let grown = State { severity, ..state };
    match (&grown.phase, severity) {
        (Phase::Logged | Phase::Proposing | Phase::AwaitingFix, _) => open(plan, grown, at),
        (Phase::Verifying { .. }, Severity::Critical) => open(plan, grown, at),
        // Being acted on already, or healed.
        (
            Phase::Protecting
            | Phase::Checking
            | Phase::Restarting
            | Phase::Rechecking
            | Phase::Clearing { .. }
            | Phase::RollingBack
            | Phase::Verifying { .. }
            | Phase::Closing { .. }
            | Phase::Ended { .. },
            _,
        ) => grown,
        // People have it in hand; a critical one is worth another call.
        (Phase::PeopleNeeded { .. }, Severity::Critical) => owing(grown, Notice::Raised),
        (Phase::PeopleNeeded { .. }, _) => grown,
    }
}

fn fix_applied(state: State, way: Way, at: Timestamp) -> State {
    match state.phase {
        Phase::PeopleNeeded { .. } | Phase::Proposing | Phase::AwaitingFix | Phase::Logged => {
            let acted = State {
                acted_at: at,
                ..state
            };
            enter(acted, Phase::Verifying { way }, at)
        }
        // Trimtab's own action is judged first; people can take over.
        Phase::Protecting
        | Phase::Checking
        | Phase::Restarting
        | Phase::Rechecking
        | Phase::Clearing { .. }
        | Phase::RollingBack
        | Phase::Verifying { .. }
        | Phase::Closing { .. }
        | Phase::Ended { .. } => state,
    }
}

/// The problem is over: what is left is writing up, as much as the severity deserves.
pub(crate) fn close(state: State, way: Way, at: Timestamp) -> State {
    match state.severity {
        Severity::Critical | Severity::High => closing(state, Closing::Causes, way, at),
        Severity::Medium => closing(state, Closing::Lesson, way, at),
        Severity::Low => closing(state, Closing::Notices, way, at),
    }
}

/// Enters a step of the writing up; the last ends at once when nothing is owed.
pub(crate) fn closing(state: State, step: Closing, way: Way, at: Timestamp) -> State {
    match step {
        Closing::Notices if state.owed.is_empty() => {
            let end = End::Resolved { way };
            enter(state, Phase::Ended { end }, at)
        }
        Closing::Causes | Closing::Postmortem | Closing::Lesson | Closing::Notices => {
            enter(state, Phase::Closing { step, way }, at)
        }
    }
}

/// Enters `phase` anew.
pub(crate) fn enter(state: State, phase: Phase, at: Timestamp) -> State {
    State {
        generation: state.generation.next(),
        phase,
        since: at,
        ..state
    }
}

/// Owes a notice of the decision that follows: call before entering the phase.
pub(crate) fn owing(mut state: State, what: Notice) -> State {
    state.owed.push(Owed {
        what,
        severity: state.severity,
        generation: state.generation.next(),
    });
    state
}
