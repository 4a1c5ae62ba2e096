//! The door of the machine, what is owed in each phase, and how phases are entered.

use std::time::Duration;

use trimtab_model::{Generation, Timestamp, Weight};

use crate::{
    Effect, End, Event, Notice, Owed, Phase, Plan, State, TimerName, Traffic, TrafficStep, answer::said,
    backward, forward, guard,
};

/// The version of [`Event`] as journalled.
pub const EVENT_VERSION: u32 = 1;

/// From this attempt on people are told that a step of the way back is stuck.
pub(crate) const STUCK_ATTEMPTS: u32 = 3;
/// First wait before what failed is tried again; grows by itself with each attempt.
const RETRY_MS: u64 = 1000;
/// Longest wait before what failed is tried again.
const RETRY_MS_MAX: u64 = 30_000;
/// What a drain may take beyond its limit until its report counts as missing.
const DRAIN_GRACE_MS: u64 = 2000;

/// The first state of a rollout.
pub fn start(plan: &Plan) -> State {
    State {
        generation: Generation(1),
        phase: Phase::Starting,
        since: plan.started_at,
        attempt: 1,
        retry_at: None,
        ready: false,
        paused: None,
        traffic: Traffic {
            weight: Weight::ZERO,
            acknowledged: true,
        },
        exposed: false,
        baseline_warm: true,
        watch: None,
        protection: None,
        cleared: 0,
        promoted_by: None,
        cause: None,
        owed: Vec::new(),
    }
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

fn transition(plan: &Plan, state: State, event: Event) -> State {
    if state.end().is_some() {
        return state;
    }
    let at = event.at();
    let (state, event) = match guard::apply(plan, state, event) {
        Ok(next) => return next,
        Err(unguarded) => *unguarded,
    };
    let said = said(plan, &state, &event);
    match state.phase {
        Phase::Starting
        | Phase::Testing
        | Phase::Shifting { .. }
        | Phase::Checking { .. }
        | Phase::Watching { .. }
        | Phase::Asking { .. }
        | Phase::Finishing
        | Phase::DrainingBaseline
        | Phase::Lingering
        | Phase::Decommissioning => forward::apply(plan, state, said, at),
        Phase::Restoring
        | Phase::Withdrawing
        | Phase::Protected
        | Phase::DrainingCandidate
        | Phase::Quarantining
        | Phase::Stopping
        | Phase::Announcing { .. }
        | Phase::Ended { .. } => backward::apply(plan, state, said, at),
    }
}

/// All that is owed in `state`, whether under way or not; nothing once the rollout is over.
pub fn pending(plan: &Plan, state: &State) -> Vec<Effect> {
    if state.end().is_some() {
        return Vec::new();
    }
    let mut effects = Vec::new();
    if !state.ready && state.retry_at.is_none() {
        effects.extend(work(plan, state));
    }
    effects.extend(observation(state));
    effects.extend(state.owed.iter().map(|owed| Effect::Notify {
        what: owed.what,
        generation: owed.generation,
    }));
    effects.push(timer(plan, state));
    effects
}

/// The work of the present phase: one effect at most.
pub(crate) fn work(plan: &Plan, state: &State) -> Option<Effect> {
    let generation = state.generation;
    let candidate = || plan.candidate.clone();
    let until = state.since.plus(millis(plan.strategy.drain_ms()));
    match &state.phase {
        Phase::Starting => Some(Effect::StartInstances {
            release: candidate(),
            generation,
        }),
        Phase::Testing => Some(Effect::Test {
            release: candidate(),
            generation,
        }),
        Phase::Shifting { .. } | Phase::Finishing | Phase::Withdrawing => Some(Effect::ShiftTraffic {
            candidate_weight: state.traffic.weight,
            generation,
        }),
        Phase::Checking { .. } => Some(Effect::CheckHealth {
            release: candidate(),
            generation,
        }),
        Phase::Asking { .. } => Some(Effect::AskPerson {
            generation,
            until: state.since.plus(millis(plan.limits.ask_ms)),
        }),
        Phase::DrainingBaseline => plan.previous().map(|release| Effect::Drain {
            release: release.clone(),
            generation,
            until,
        }),
        Phase::Decommissioning => plan.previous().map(|release| Effect::StopInstances {
            release: release.clone(),
            generation,
        }),
        Phase::Restoring => plan.previous().map(|release| Effect::StartInstances {
            release: release.clone(),
            generation,
        }),
        Phase::DrainingCandidate => Some(Effect::Drain {
            release: candidate(),
            generation,
            until,
        }),
        Phase::Quarantining => Some(Effect::Quarantine {
            release: candidate(),
            digest: plan.candidate_digest.clone(),
            reason: state.cause.as_ref().map(ToString::to_string).unwrap_or_default(),
            generation,
        }),
        Phase::Stopping => Some(Effect::StopInstances {
            release: candidate(),
            generation,
        }),
        Phase::Watching { .. }
        | Phase::Lingering
        | Phase::Protected
        | Phase::Announcing { .. }
        | Phase::Ended { .. } => None,
    }
}

/// A regression can be reported from the first user on the candidate until the watch is answered, also
/// while a person has paused or is asked.
fn observation(state: &State) -> Option<Effect> {
    let watch = state.watch.as_ref().filter(|watch| watch.verdict.is_none())?;
    match state.phase {
        Phase::Shifting { .. } | Phase::Checking { .. } | Phase::Watching { .. } | Phase::Asking { .. } => {
            Some(Effect::Observe {
                generation: watch.generation,
                round: watch.round,
                until: watch.until,
            })
        }
        Phase::Starting
        | Phase::Testing
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
        | Phase::Ended { .. } => None,
    }
}

fn timer(plan: &Plan, state: &State) -> Effect {
    let (name, at) = match (&state.retry_at, &state.paused) {
        (Some(at), _) => (TimerName::Retry, *at),
        (None, Some(pause)) if state.ready => {
            (TimerName::Deadline, pause.at.plus(millis(plan.limits.pause_ms)))
        }
        (None, _) => (TimerName::Deadline, deadline(plan, state)),
    };
    Effect::Timer {
        name,
        generation: state.generation,
        at,
    }
}

fn deadline(plan: &Plan, state: &State) -> Timestamp {
    let limits = &plan.limits;
    let ms = match &state.phase {
        Phase::Starting | Phase::Restoring => limits.start_ms,
        Phase::Testing => limits.test_ms,
        Phase::Shifting { .. } | Phase::Finishing | Phase::Withdrawing => limits.shift_ms,
        Phase::Checking { .. } => limits.health_ms,
        Phase::Watching { .. } => {
            let until = state.watch.as_ref().map_or(state.since, |watch| watch.until);
            return until.plus(millis(limits.verdict_grace_ms));
        }
        Phase::Asking { .. } => limits.ask_ms,
        Phase::DrainingBaseline | Phase::DrainingCandidate => plan.strategy.drain_ms() + DRAIN_GRACE_MS,
        Phase::Lingering => plan.strategy.decommission_after_ms(),
        Phase::Decommissioning | Phase::Quarantining | Phase::Stopping => limits.stop_ms,
        Phase::Protected => match state.protection.as_ref().and_then(|p| p.incident.as_ref()) {
            Some(_) => limits.protect_ms,
            None => limits.incident_wait_ms,
        },
        Phase::Announcing { .. } | Phase::Ended { .. } => limits.notify_ms,
    };
    state.since.plus(millis(ms))
}

impl Plan {
    /// The release to return to: the baseline, unless it is the candidate itself.
    pub fn previous(&self) -> Option<&trimtab_model::ReleaseId> {
        self.baseline
            .as_ref()
            .filter(|baseline| **baseline != self.candidate)
    }

    /// The traffic steps of this rollout; never empty.
    pub fn steps(&self) -> Vec<TrafficStep> {
        self.strategy.steps(self.previous().is_some())
    }

    /// One traffic step; past the last there is everything, unwatched.
    pub(crate) fn traffic_step(&self, step: usize) -> TrafficStep {
        let past = TrafficStep {
            weight: Weight::FULL,
            watch_ms: 0,
        };
        self.steps().get(step).copied().unwrap_or(past)
    }
}

/// Enters `phase` anew.
pub(crate) fn enter(state: State, phase: Phase, at: Timestamp) -> State {
    State {
        generation: state.generation.next(),
        phase,
        since: at,
        attempt: 1,
        retry_at: None,
        ready: false,
        ..state
    }
}

/// Tries the present phase again now.
pub(crate) fn again(state: State, at: Timestamp) -> State {
    let mut next = State {
        generation: state.generation.next(),
        since: at,
        attempt: state.attempt.saturating_add(1),
        retry_at: None,
        ..state
    };
    if next.attempt == STUCK_ATTEMPTS {
        owe(&mut next, Notice::Stuck);
    }
    next
}

/// Tries the present phase again after a while.
pub(crate) fn again_later(state: State, at: Timestamp) -> State {
    let wait = (RETRY_MS * u64::from(state.attempt)).min(RETRY_MS_MAX);
    State {
        retry_at: Some(at.plus(millis(wait))),
        ..state
    }
}

/// Settles the end; [`Phase::Ended`] follows when the team has been told.
pub(crate) fn announce(state: State, end: End, at: Timestamp) -> State {
    let what = match &end {
        End::Deployed => Notice::Deployed,
        End::RolledBack { .. } => Notice::RolledBack,
        End::Failed { .. } => Notice::Failed,
    };
    let mut next = enter(state, Phase::Announcing { end }, at);
    owe(&mut next, what);
    next
}

pub(crate) fn owe(state: &mut State, what: Notice) {
    let generation = state.generation;
    state.owed.push(Owed { what, generation });
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
