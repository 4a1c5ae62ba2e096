//! The machines as the host runs them.

use serde::Serialize;

use crate::machine::Machine;

/// Pipeline runs.
pub struct Runs;
/// Rollouts.
pub struct Rollouts;
/// Incidents.
pub struct Incidents;
/// Services released together.
pub struct Groups;

macro_rules! machine {
    ($name:ident, $stream:literal, $domain:ident) => {
        impl Machine for $name {
            const STREAM: &'static str = $stream;
            type Plan = $domain::Plan;
            type State = $domain::State;
            type Event = $domain::Event;
            type Effect = $domain::Effect;

            fn start(plan: &Self::Plan) -> Self::State {
                $domain::start(plan)
            }
            fn step(plan: &Self::Plan, state: Self::State, event: Self::Event) -> Self::State {
                $domain::step(plan, state, event).0
            }
            fn pending(plan: &Self::Plan, state: &Self::State) -> Vec<Self::Effect> {
                $domain::pending(plan, state)
            }
            fn ended(state: &Self::State) -> bool {
                state.end().is_some()
            }
            fn actor(event: &Self::Event) -> Option<String> {
                by(event)
            }
        }
    };
}

use trimtab_incident as incident;
use trimtab_pipeline as pipeline;
use trimtab_rollout as rollout;
use trimtab_rollout::group;

machine!(Runs, "run", pipeline);
machine!(Rollouts, "rollout", rollout);
machine!(Groups, "group", group);
machine!(Incidents, "incident", incident);

/// The `by` field that events of people carry.
fn by(event: &impl Serialize) -> Option<String> {
    serde_json::to_value(event)
        .ok()?
        .get("by")?
        .as_str()
        .map(str::to_owned)
}
