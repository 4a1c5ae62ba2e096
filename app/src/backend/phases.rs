//! The phases of a rollout as people follow them: passed, under way, still to come.

use trimtab_api as api;
use trimtab_api::StageState;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Rollouts;
use trimtab_journal::StoredEvent;
use trimtab_model::Timestamp;
use trimtab_rollout::{End, Phase, Plan, State};

use super::moment;

/// One point of a rollout's way.
pub(super) struct Pass {
    pub(super) at: Timestamp,
    pub(super) state: State,
}

/// The states that a rollout went through, with what led to each, by stepping through its events again.
pub(super) fn passed(rollout: &Snapshot<Rollouts>, events: &[StoredEvent]) -> Vec<Pass> {
    let mut state = trimtab_rollout::start(&rollout.plan);
    let mut all = vec![Pass {
        at: rollout.created_at,
        state: state.clone(),
    }];
    for event in events.iter().skip(1) {
        let Ok(happened) = serde_json::from_value(event.body.clone()) else {
            continue;
        };
        state = trimtab_rollout::step(&rollout.plan, state, happened).0;
        all.push(Pass {
            at: event.at,
            state: state.clone(),
        });
    }
    all
}

/// The weights that were acknowledged.
pub(super) fn weights(passes: &[Pass]) -> Vec<api::WeightStep> {
    let (mut weight, mut steps) = (trimtab_model::Weight::ZERO, Vec::new());
    for Pass { at, state } in passes {
        if state.traffic.acknowledged && state.traffic.weight != weight {
            weight = state.traffic.weight;
            steps.push(api::WeightStep {
                at: moment(*at),
                candidate_percent: weight.percent(),
                reason: state.describe(),
            });
        }
    }
    steps
}

/// Every phase that was entered in order, and those still to come while the rollout goes forward.
pub(super) fn phases(plan: &Plan, passes: &[Pass]) -> Vec<api::Stage> {
    let mut all: Vec<(String, Timestamp, Option<Timestamp>)> = Vec::new();
    for Pass { at, state } in passes {
        let Some(name) = name(plan, &state.phase) else {
            if let Some(last) = all.last_mut() {
                last.2 = last.2.or(Some(*at));
            }
            continue;
        };
        match all.last_mut() {
            Some(last) if last.0 == name => {}
            last => {
                if let Some(last) = last {
                    last.2 = last.2.or(Some(*at));
                }
                all.push((name, *at, None));
            }
        }
    }
    let Some(now) = passes.last().map(|pass| &pass.state) else {
        return Vec::new();
    };
    let turned = all.iter().position(|(name, ..)| BACK.contains(&name.as_str()));
    let mut stages: Vec<api::Stage> = all
        .iter()
        .enumerate()
        .map(|(index, (name, from, to))| {
            let state = if to.is_none() && now.end().is_none() {
                StageState::Running
            } else if turned == Some(index + 1) || (failed(now) && index + 1 == all.len()) {
                StageState::Failed
            } else if turned.is_some_and(|turned| index >= turned) {
                StageState::RolledBack
            } else {
                StageState::Passed
            };
            stage(name, state, Some(*from), *to)
        })
        .collect();
    if turned.is_none() && !failed(now) {
        let left = planned(plan);
        let begun = all
            .last()
            .and_then(|(last, ..)| left.iter().position(|name| name == last));
        if now.end().is_none() {
            let rest = begun.map_or(0, |at| at + 1);
            stages.extend(
                left[rest..]
                    .iter()
                    .map(|name| stage(name, StageState::Pending, None, None)),
            );
        }
    }
    stages
}

fn failed(state: &State) -> bool {
    matches!(state.end(), Some(End::Failed { .. }))
}

fn stage(name: &str, state: StageState, from: Option<Timestamp>, to: Option<Timestamp>) -> api::Stage {
    api::Stage {
        name: name.to_owned(),
        node: None,
        group: "rollout".to_owned(),
        state,
        detail: String::new(),
        command: None,
        rollout: None,
        attempt: 1,
        attempts: Vec::new(),
        started_at: from.map(moment),
        finished_at: to.map(moment),
    }
}

/// Phases of the way back.
const BACK: [&str; 7] = [
    "start the previous release",
    "take traffic off",
    "off traffic",
    "drain the candidate",
    "quarantine",
    "stop the candidate",
    "disable the flag as well",
];

/// The forward phases of a plan in their order.
fn planned(plan: &Plan) -> Vec<String> {
    let mut all = vec!["start".to_owned()];
    if plan.strategy.tests() {
        all.push("test off traffic".to_owned());
    }
    let steps = plan.strategy.steps(plan.baseline.is_some());
    for (step, traffic) in steps.iter().enumerate() {
        let moves = match traffic.flag {
            Some(_) => Phase::Raising { step },
            None => Phase::Shifting { step },
        };
        all.extend(name(plan, &moves));
        all.extend(name(plan, &Phase::Checking { step }));
        if traffic.watch_ms > 0 {
            all.extend(name(plan, &Phase::Watching { step }));
        }
    }
    if steps
        .last()
        .is_some_and(|last| last.weight != trimtab_model::Weight::FULL)
    {
        all.extend(name(plan, &Phase::Finishing));
    }
    if plan.baseline.is_some() {
        all.extend(name(plan, &Phase::DrainingBaseline));
        if plan.strategy.decommission_after_ms() > 0 {
            all.extend(name(plan, &Phase::Lingering));
        }
        all.extend(name(plan, &Phase::Decommissioning));
    }
    all
}

/// A phase in words; none for its end, which the state's badge tells.
fn name(plan: &Plan, phase: &Phase) -> Option<String> {
    let share = |step: usize| {
        let steps = plan.strategy.steps(plan.baseline.is_some());
        steps.get(step).map_or_else(String::new, |step| match step.flag {
            Some(share) => format!(" {} % of users", share.percent()),
            None => format!(" {} %", step.weight.percent()),
        })
    };
    let words = match phase {
        Phase::Hooking { hook } => hook.to_string(),
        Phase::Starting => "start".to_owned(),
        Phase::Frozen { .. } => "held by a freeze".to_owned(),
        Phase::Retiring { .. } => "take old instances off traffic".to_owned(),
        Phase::Growing { step } => format!("start instances for{}", share(*step)),
        Phase::DrainingPart { step } => format!("drain old instances at{}", share(*step)),
        Phase::StoppingPart { step } => format!("stop old instances at{}", share(*step)),
        Phase::Approving { step } => format!("approval at{}", share(*step)),
        Phase::Holding { step, .. } => format!("hold at{}", share(*step)),
        Phase::Testing => "test off traffic".to_owned(),
        Phase::Shifting { step } => format!("switch{}", share(*step)),
        Phase::Raising { step } => format!("flag on for{}", share(*step)),
        Phase::Disabling => "disable the flag".to_owned(),
        Phase::Lowering => BACK[6].to_owned(),
        Phase::Checking { step } => format!("health at{}", share(*step)),
        Phase::Watching { step } => format!("watch{}", share(*step)),
        Phase::Asking { .. } => "a person is asked".to_owned(),
        Phase::Finishing => "switch 100 %".to_owned(),
        Phase::DrainingBaseline => "drain the previous".to_owned(),
        Phase::Lingering => "keep the previous warm".to_owned(),
        Phase::Decommissioning => "stop the previous".to_owned(),
        Phase::Restoring => BACK[0].to_owned(),
        Phase::Withdrawing => BACK[1].to_owned(),
        Phase::Protected => BACK[2].to_owned(),
        Phase::DrainingCandidate => BACK[3].to_owned(),
        Phase::Quarantining => BACK[4].to_owned(),
        Phase::Stopping => BACK[5].to_owned(),
        Phase::Announcing { .. } | Phase::Ended { .. } => return None,
    };
    Some(words)
}

#[cfg(test)]
mod tests;
