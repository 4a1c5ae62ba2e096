//! The door of the group's machine.

use trimtab_model::{Generation, Timestamp};

use super::{Effect, End, Event, Notice, Phase, Plan, Progress, State};
use crate::machine::millis;

/// The first state of a group.
pub fn start(plan: &Plan) -> State {
    State {
        generation: Generation(1),
        phase: Phase::Advancing,
        since: plan.started_at,
        members: vec![Progress::default(); plan.members.len()],
        cause: None,
        owed: Vec::new(),
    }
}

/// Folds `event` in and says what is newly owed. Events that do not concern the state change nothing.
pub fn step(plan: &Plan, state: State, event: Event) -> (State, Vec<Effect>) {
    let owed = pending(plan, &state);
    let next = transition(plan, state, event);
    let effects = pending(plan, &next)
        .into_iter()
        .filter(|effect| !owed.contains(effect))
        .collect();
    (next, effects)
}

/// Whether a member that waits at `barrier` may go on: all others have come as far. The barrier before its
/// baseline goes opens when everyone is at that one.
pub fn permits(state: &State, member: usize, barrier: usize, last: bool) -> bool {
    let others = state
        .members
        .iter()
        .enumerate()
        .filter(|(place, _)| *place != member);
    let mut others = others.map(|(_, other)| other);
    state.phase == Phase::Advancing
        && others.all(|other| {
            if last {
                other.last
            } else {
                other.has_come_to(barrier)
            }
        })
}

fn transition(plan: &Plan, state: State, event: Event) -> State {
    let at = event.at();
    match event {
        Event::MemberStarted { member, rollout, .. } => with(state, member, |progress| {
            progress.rollout = Some(rollout);
        }),
        Event::MemberWaits {
            member,
            barrier,
            last,
            ..
        } => with(state, member, |progress| {
            // Also a lower one: a person began this member anew, and the others wait again.
            progress.reached = Some(barrier);
            progress.last = last;
        }),
        Event::MemberTurned { member, reason, .. } => turned(plan, state, member, &reason, at),
        Event::MemberEnded { member, end, .. } => ended(plan, state, member, end, at),
        Event::Aborted { by, reason, .. } => match state.phase {
            Phase::Advancing if reason.trim().is_empty() => recall(plan, state, format!("by {by}"), at),
            Phase::Advancing => recall(plan, state, format!("by {by}: {reason}"), at),
            Phase::Recalling | Phase::Announcing { .. } | Phase::Ended { .. } => state,
        },
        Event::Notified { what, .. } => {
            let mut next = state;
            next.owed.retain(|owed| *owed != what);
            match &next.phase {
                Phase::Announcing { end } if next.owed.is_empty() => {
                    let phase = Phase::Ended { end: end.clone() };
                    enter(next, phase, at)
                }
                _ => next,
            }
        }
        Event::TimerFired { generation, .. } if generation == state.generation => outlasted(plan, state, at),
        Event::TimerFired { .. } => state,
    }
}

/// Changes a member that is not over yet.
fn with(mut state: State, member: usize, change: impl FnOnce(&mut Progress)) -> State {
    if let Some(progress) = state.members.get_mut(member)
        && progress.end.is_none()
    {
        change(progress);
    }
    state
}

fn turned(plan: &Plan, state: State, member: usize, reason: &str, at: Timestamp) -> State {
    match state.phase {
        Phase::Advancing => {
            let who = plan.members.get(member);
            let who = who.map_or_else(String::new, |member| format!("{}: ", member.service));
            recall(plan, state, format!("{who}{reason}"), at)
        }
        Phase::Recalling | Phase::Announcing { .. } | Phase::Ended { .. } => state,
    }
}

fn ended(plan: &Plan, state: State, member: usize, end: crate::End, at: Timestamp) -> State {
    let known = state
        .members
        .get(member)
        .is_none_or(|member| member.end.is_some());
    if known {
        return state;
    }
    let failed = match &end {
        crate::End::Deployed => None,
        crate::End::RolledBack { reason }
        | crate::End::Failed { reason }
        | crate::End::FlagDisabled { reason } => Some(reason.clone()),
    };
    let before = recalled(&state);
    let mut next = with(state, member, |progress| progress.end = Some(end));
    if next.phase == Phase::Advancing
        && let Some(reason) = failed
    {
        next = turned(plan, next, member, &reason, at);
    } else if next.phase == Phase::Recalling && recalled(&next) != before {
        // The next in turn has its own time.
        next = enter(next, Phase::Recalling, at);
    }
    settle(plan, next, at)
}

/// Announces the end once every member is over.
fn settle(plan: &Plan, state: State, at: Timestamp) -> State {
    if state.members.iter().any(|member| member.end.is_none()) {
        return state;
    }
    if !matches!(state.phase, Phase::Advancing | Phase::Recalling) {
        return state;
    }
    let serve: Vec<&str> = plan
        .members
        .iter()
        .zip(&state.members)
        .filter(|(_, progress)| progress.end == Some(crate::End::Deployed))
        .map(|(member, _)| member.release.as_str())
        .collect();
    let (end, what) = if serve.len() == state.members.len() {
        (End::Deployed, Notice::Deployed)
    } else {
        let mut reason = state.cause.clone().unwrap_or_default();
        if !serve.is_empty() {
            reason = format!("{reason}; too late for {}, which serves", serve.join(", "));
        }
        (End::RolledBack { reason }, Notice::RolledBack)
    };
    let mut next = enter(state, Phase::Announcing { end }, at);
    next.owed.push(what);
    next
}

fn recall(plan: &Plan, state: State, cause: String, at: Timestamp) -> State {
    let condemned = State {
        cause: Some(cause),
        ..state
    };
    let going = enter(condemned, Phase::Recalling, at);
    settle(plan, going, at)
}

/// The member whose turn it is to go back: the last that is not over.
fn recalled(state: &State) -> Option<usize> {
    let over = |member: &Progress| member.end.is_some() || member.overdue;
    state.members.iter().rposition(|member| !over(member))
}

fn outlasted(plan: &Plan, state: State, at: Timestamp) -> State {
    match state.phase.clone() {
        Phase::Advancing => recall(plan, state, "it took too long".to_owned(), at),
        Phase::Recalling => {
            // Those behind it are not kept on a bad pairing because of one that is stuck.
            let turn = recalled(&state);
            let mut next = enter(state, Phase::Recalling, at);
            if let Some(member) = turn.and_then(|turn| next.members.get_mut(turn)) {
                member.overdue = true;
            }
            next
        }
        Phase::Announcing { end } => {
            let told = State {
                owed: Vec::new(),
                ..state
            };
            enter(told, Phase::Ended { end }, at)
        }
        Phase::Ended { .. } => state,
    }
}

fn enter(state: State, phase: Phase, at: Timestamp) -> State {
    State {
        generation: state.generation.next(),
        phase,
        since: at,
        ..state
    }
}

/// All that is owed in `state`, whether under way or not; nothing once the group is over.
pub fn pending(plan: &Plan, state: &State) -> Vec<Effect> {
    if state.end().is_some() {
        return Vec::new();
    }
    let turn = recalled(state);
    let back = state.phase == Phase::Recalling;
    let members = state.members.iter().enumerate();
    let mut effects: Vec<Effect> = members
        .filter(|(_, progress)| progress.end.is_none())
        .filter_map(|(member, progress)| match (&progress.rollout, back) {
            // One whose start was not reported is found, if it was started, when its turn comes.
            (_, true) if turn == Some(member) || progress.overdue => Some(Effect::RecallMember { member }),
            (None, true) => None,
            (Some(_), _) => Some(Effect::FollowMember { member }),
            (None, false) => Some(Effect::StartMember { member }),
        })
        .collect();
    effects.extend(state.owed.iter().map(|what| Effect::Notify { what: *what }));
    let limits = &plan.limits;
    let (from, ms) = match &state.phase {
        Phase::Advancing => (plan.started_at, limits.whole_ms),
        Phase::Recalling => (state.since, limits.recall_ms),
        Phase::Announcing { .. } | Phase::Ended { .. } => (state.since, limits.notify_ms),
    };
    effects.push(Effect::Timer {
        generation: state.generation,
        at: from.plus(millis(ms)),
    });
    effects
}
