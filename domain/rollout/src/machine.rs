//! The door of the machine, what is owed in each phase, and how phases are entered.

use std::time::Duration;

use trimtab_model::{Generation, ReleaseId, Timestamp, Weight};

use crate::{
    Effect, End, Event, Hook, Notice, OnInconclusive, Owed, Phase, Plan, State, Strategy, TimerName, Traffic,
    TrafficStep, Way, answer::said, backward, forward, guard, replace, watch,
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
        phase: forward::first(plan),
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
        flag: None,
        baseline_warm: true,
        instances: replace::at_start(plan),
        irreversible: false,
        refused: false,
        reported: None,
        accepted: false,
        unproven: None,
        watch: None,
        protection: None,
        cleared: 0,
        hook_failure: None,
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
    match state.phase.way() {
        Way::Forward | Way::Landing => forward::apply(plan, state, said, at),
        Way::Back | Way::Over => backward::apply(plan, state, said, at),
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
    effects.extend(watch::observation(state));
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
    let release = || plan.candidate.clone();
    match &state.phase {
        Phase::Hooking { hook } => Some(Effect::RunHook {
            hook: *hook,
            generation,
        }),
        Phase::Testing => Some(Effect::Test {
            release: release(),
            generation,
        }),
        Phase::Shifting { .. } | Phase::Retiring { .. } | Phase::Finishing | Phase::Withdrawing => {
            Some(Effect::ShiftTraffic {
                candidate_weight: state.traffic.weight,
                instances: state.instances,
                generation,
            })
        }
        Phase::Raising { .. } | Phase::Disabling | Phase::Lowering => Some(Effect::SetFlag {
            share: state.flag.as_ref().map_or(Weight::ZERO, |flag| flag.share),
            generation,
        }),
        Phase::Checking { .. } => Some(Effect::CheckHealth {
            release: release(),
            generation,
        }),
        Phase::Asking { .. } | Phase::Approving { .. } => Some(Effect::AskPerson {
            generation,
            until: state.since.plus(millis(plan.limits.ask_ms)),
        }),
        Phase::Quarantining => Some(Effect::Quarantine {
            release: release(),
            digest: plan.candidate_digest.clone(),
            reason: state.cause.as_ref().map(ToString::to_string).unwrap_or_default(),
            generation,
        }),
        Phase::Starting
        | Phase::Growing { .. }
        | Phase::Restoring
        | Phase::DrainingPart { .. }
        | Phase::StoppingPart { .. }
        | Phase::DrainingBaseline
        | Phase::Decommissioning
        | Phase::DrainingCandidate
        | Phase::Stopping => instance_work(plan, state),
        Phase::Watching { .. }
        | Phase::Frozen { .. }
        | Phase::Holding { .. }
        | Phase::Lingering
        | Phase::Protected
        | Phase::Announcing { .. }
        | Phase::Ended { .. } => None,
    }
}

/// The work of the phases that start, drain and stop instances.
fn instance_work(plan: &Plan, state: &State) -> Option<Effect> {
    let generation = state.generation;
    let (candidate, previous) = (Some(&plan.candidate), plan.previous());
    let batch = |step: usize| plan.traffic_step(step).replacement;
    let start = |release: Option<&ReleaseId>, count| {
        release.map(|release| Effect::StartInstances {
            release: release.clone(),
            count,
            generation,
        })
    };
    let drain = |release: Option<&ReleaseId>, keep| {
        release.map(|release| Effect::Drain {
            release: release.clone(),
            keep,
            generation,
            until: state.since.plus(millis(plan.strategy.manner().drain_ms)),
        })
    };
    let stop = |release: Option<&ReleaseId>, keep| {
        release.map(|release| Effect::StopInstances {
            release: release.clone(),
            keep,
            generation,
        })
    };
    match &state.phase {
        Phase::Starting => start(candidate, replace::first_count(plan)),
        Phase::Growing { step } => start(candidate, batch(*step).map(|batch| batch.candidate)),
        Phase::Restoring => start(previous, None),
        Phase::DrainingPart { step } => drain(previous, batch(*step).map(|batch| batch.baseline)),
        Phase::StoppingPart { step } => stop(previous, batch(*step).map(|batch| batch.baseline)),
        Phase::DrainingBaseline => drain(previous, None),
        Phase::Decommissioning => stop(previous, None),
        Phase::DrainingCandidate => drain(candidate, None),
        Phase::Stopping => stop(candidate, None),
        _ => None,
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
        Phase::Starting | Phase::Growing { .. } => match &plan.strategy {
            Strategy::Rolling(rolling) => rolling.progress_ms,
            Strategy::Direct(_) | Strategy::BlueGreen(_) | Strategy::Canary(_) | Strategy::Flag(_) => {
                limits.start_ms
            }
        },
        Phase::Restoring => limits.start_ms,
        Phase::Hooking {
            hook: Hook::Barrier { .. },
        } => limits.barrier_ms,
        Phase::Hooking { .. } => limits.hook_ms,
        Phase::Testing => limits.test_ms,
        Phase::Shifting { .. }
        | Phase::Retiring { .. }
        | Phase::Raising { .. }
        | Phase::Finishing
        | Phase::Disabling
        | Phase::Withdrawing
        | Phase::Lowering => limits.shift_ms,
        Phase::Checking { .. } => limits.health_ms,
        Phase::Watching { .. } => return watch_deadline(plan, state),
        Phase::Frozen { until, .. } | Phase::Holding { until, .. } => return *until,
        Phase::Asking { .. } | Phase::Approving { .. } => limits.ask_ms,
        Phase::DrainingBaseline | Phase::DrainingCandidate | Phase::DrainingPart { .. } => {
            plan.strategy.manner().drain_ms + DRAIN_GRACE_MS
        }
        Phase::Lingering => plan.strategy.manner().decommission_after_ms,
        Phase::Decommissioning | Phase::StoppingPart { .. } | Phase::Quarantining | Phase::Stopping => {
            limits.stop_ms
        }
        Phase::Protected => match state.protection.as_ref().and_then(|p| p.incident.as_ref()) {
            Some(_) => limits.protect_ms,
            None => limits.incident_wait_ms,
        },
        Phase::Announcing { .. } | Phase::Ended { .. } => limits.notify_ms,
    };
    state.since.plus(millis(ms))
}

/// The window's end, and a while for the verdict on it to arrive.
fn watch_deadline(plan: &Plan, state: &State) -> Timestamp {
    match &state.watch {
        Some(watch) if watch.verdict.is_some() => watch.until,
        Some(watch) => watch.until.plus(millis(plan.limits.verdict_grace_ms)),
        None => state.since.plus(millis(plan.limits.verdict_grace_ms)),
    }
}

impl Plan {
    /// The release to return to: the baseline, unless it is the candidate itself.
    pub fn previous(&self) -> Option<&trimtab_model::ReleaseId> {
        self.baseline
            .as_ref()
            .filter(|baseline| **baseline != self.candidate)
    }

    /// How many instances the baseline has, when they are replaced.
    pub(crate) fn baseline_instances(&self) -> Option<u32> {
        match &self.strategy {
            Strategy::Rolling(rolling) if self.previous().is_some() => Some(rolling.baseline_instances),
            Strategy::Rolling(_)
            | Strategy::Direct(_)
            | Strategy::BlueGreen(_)
            | Strategy::Canary(_)
            | Strategy::Flag(_) => None,
        }
    }

    /// The traffic steps of this rollout; never empty.
    pub fn steps(&self) -> Vec<TrafficStep> {
        self.strategy.steps(self.previous().is_some())
    }

    /// One traffic step; past the last there is everything, unwatched.
    pub(crate) fn traffic_step(&self, step: usize) -> TrafficStep {
        let past = TrafficStep::plain(Weight::FULL, 0, OnInconclusive::Pass);
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
        End::FlagDisabled { .. } => Notice::FlagDisabled,
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
