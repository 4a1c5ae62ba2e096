//! Feature flag: the release goes out with the flag off, then the flag goes on for more and more users
//! (B.F1 to F7).
//!
//! What is on trial in a step of the flag is the flag: trouble there disables it and leaves the release
//! where it is. Only what speaks against the release itself takes that off as well, and the flag with it.

use serde::{Deserialize, Serialize};
use trimtab_model::{Timestamp, Weight};

use crate::{
    Cause, End, Gate, OnInconclusive, OnRegressed, Phase, Plan, State, Strategy, TrafficStep, Way,
    machine::enter,
};

/// The release takes over like green from blue with the flag off; then users get the flag in steps,
/// each watched against as many users without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// The flag's key.
    pub key: String,
    /// True when the candidate is tested off-traffic first.
    pub test: bool,
    /// What stays on the baseline while the release is watched with the flag off.
    pub holdback: Weight,
    /// How long that is watched, in milliseconds.
    pub watch_ms: u64,
    /// What that watch without a verdict leads to.
    pub on_inconclusive: OnInconclusive,
    /// The steps of the flag, their shares growing; everyone follows the last of them.
    pub steps: Vec<FlagStep>,
    /// How long a release that lost its traffic may drain, in milliseconds.
    pub drain_ms: u64,
    /// How long the baseline stays warm after the flag's last step, in milliseconds.
    pub decommission_after_ms: u64,
    /// How often an inconclusive watch is extended before a person is asked.
    pub extensions_max: u32,
    /// What a regression leads to.
    pub on_regressed: OnRegressed,
}

/// One step of the flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagStep {
    /// The share of users who have it on.
    pub share: Weight,
    /// How long it is watched, in milliseconds; 0 is not at all.
    pub watch_ms: u64,
    /// What must happen before the next step.
    #[serde(default)]
    pub gate: Gate,
    /// Users with the flag on who must have been counted for a verdict to count as healthy.
    #[serde(default)]
    pub users_min: u64,
    /// What a watch without a verdict leads to.
    pub on_inconclusive: OnInconclusive,
}

/// The flag as a rollout last asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Raised {
    /// The share of users who have it on.
    pub share: Weight,
    /// True when it is so.
    pub acknowledged: bool,
    /// Why it was disabled while the release stays.
    pub disabled: Option<String>,
}

impl Flag {
    /// Deployed with the flag off, watched, everyone on the candidate; then the steps of the flag.
    pub fn steps(&self) -> Vec<TrafficStep> {
        let mut steps = Vec::new();
        if self.watch_ms > 0 && self.holdback != Weight::FULL && self.holdback != Weight::ZERO {
            let weight = self.holdback.complement();
            steps.push(TrafficStep::plain(weight, self.watch_ms, self.on_inconclusive));
            steps.push(TrafficStep::plain(Weight::FULL, 0, OnInconclusive::Pass));
        } else {
            steps.push(TrafficStep::plain(
                Weight::FULL,
                self.watch_ms,
                self.on_inconclusive,
            ));
        }
        steps.extend(self.steps.iter().map(|step| TrafficStep {
            weight: Weight::FULL,
            flag: Some(step.share),
            watch_ms: step.watch_ms,
            gate: step.gate,
            requests_min: step.users_min,
            on_inconclusive: step.on_inconclusive,
            replacement: None,
        }));
        if self.steps.last().is_none_or(|last| last.share != Weight::FULL) {
            steps.push(TrafficStep {
                flag: Some(Weight::FULL),
                ..TrafficStep::plain(Weight::FULL, 0, OnInconclusive::Pass)
            });
        }
        steps
    }
}

/// Asks for the flag of `step`.
pub(crate) fn raise(state: State, step: usize, share: Weight, at: Timestamp) -> State {
    enter(asked(state, share), Phase::Raising { step }, at)
}

/// The last step and its share, when the flag is not known to be there: a question came between.
pub(crate) fn short_of_last(plan: &Plan, state: &State) -> Option<(usize, Weight)> {
    let steps = plan.steps();
    let share = steps.last()?.flag?;
    let flag = state.flag.as_ref().filter(|flag| flag.disabled.is_none())?;
    let there = flag.share == share && flag.acknowledged;
    (!there).then(|| (steps.len() - 1, share))
}

/// The flag is as asked for.
pub(crate) fn acknowledged(state: State) -> State {
    State {
        flag: state.flag.map(|flag| Raised {
            acknowledged: true,
            ..flag
        }),
        ..state
    }
}

/// True while users may have the flag on.
pub(crate) fn is_raised(state: &State) -> bool {
    let off = |flag: &Raised| flag.share == Weight::ZERO && flag.acknowledged;
    state.flag.as_ref().is_some_and(|flag| !off(flag))
}

/// True where trouble is laid to the flag first: in its steps, unless the cause speaks against the
/// release itself.
pub(crate) fn is_blamed(state: &State, cause: &Cause) -> bool {
    let of_release = matches!(
        cause,
        Cause::Condemned { .. }
            | Cause::NotCleared { .. }
            | Cause::RolledBack { .. }
            | Cause::Recalled { .. }
    );
    let settled = state.cause.is_some() || state.protection.is_some();
    state.flag.is_some() && state.phase.way() == Way::Forward && !settled && !of_release
}

/// B.F5: the flag goes off for everyone; the release stays.
pub(crate) fn disable(state: State, cause: &Cause, at: Timestamp) -> State {
    let mut off = asked(state, Weight::ZERO);
    if let Some(flag) = &mut off.flag {
        flag.disabled = Some(cause.to_string());
    }
    let off = State {
        paused: None,
        watch: None,
        ..off
    };
    enter(off, Phase::Disabling, at)
}

/// The flag goes off before a release goes that is off traffic.
pub(crate) fn lower(state: State, at: Timestamp) -> State {
    enter(asked(state, Weight::ZERO), Phase::Lowering, at)
}

/// The flag of a rollout that ends before its first step.
pub(crate) fn never_raised(plan: &Plan, cause: &Cause) -> Option<Raised> {
    match plan.strategy {
        Strategy::Flag(_) => Some(Raised {
            share: Weight::ZERO,
            acknowledged: true,
            disabled: Some(cause.to_string()),
        }),
        Strategy::Direct(_) | Strategy::BlueGreen(_) | Strategy::Canary(_) | Strategy::Rolling(_) => None,
    }
}

/// How a rollout ends whose candidate serves.
pub(crate) fn served(state: &State) -> End {
    match state.flag.as_ref().and_then(|flag| flag.disabled.clone()) {
        Some(reason) => End::FlagDisabled { reason },
        None => End::Deployed,
    }
}

/// The step that a person's promotion leads to from `step`: out of the release's steps to the flag's
/// first, out of the flag's to its last.
pub(crate) fn promoted_to(plan: &Plan, step: usize) -> Option<usize> {
    let Strategy::Flag(_) = plan.strategy else {
        return None;
    };
    let steps = plan.steps();
    let first = steps.iter().position(|step| step.flag.is_some())?;
    Some(match first.checked_sub(1) {
        Some(whole) if step < whole => whole,
        Some(whole) if step == whole => first,
        _ => steps.len().saturating_sub(1).max(step + 1),
    })
}

fn asked(state: State, share: Weight) -> State {
    let disabled = state.flag.as_ref().and_then(|flag| flag.disabled.clone());
    State {
        flag: Some(Raised {
            share,
            acknowledged: false,
            disabled,
        }),
        ..state
    }
}
