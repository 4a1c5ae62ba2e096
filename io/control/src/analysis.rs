//! From evidence to incidents: what was found is fused, classified, weighed, and an incident opened.

mod diagnosis;
mod opening;
mod senses;
mod standing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use trimtab_model::RolloutId;

use crate::clock;
use crate::host::Snapshot;
use crate::machines::Rollouts;
use crate::world::World;
pub(crate) use diagnosis::{diagnose, traffic};
pub(crate) use senses::feel;

/// How often the evidence is looked at when nothing says that it changed.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Looks at the evidence for as long as the process lives, and opens incidents.
pub(crate) async fn watch(world: Arc<World>) {
    let mut changed = world.evidence.changes();
    let mut standing = standing::Standing::default();
    // A cause that both arms share is told of once in a rollout.
    let mut shared = BTreeSet::new();
    loop {
        // Woken by new evidence, or by the pause when there is none.
        let _ = tokio::time::timeout(LOOK_PAUSE, changed.changed()).await;
        for rollout in world.machines().rollouts.list() {
            if let Some(end) = rollout.state.end() {
                let kept = end.serves();
                world
                    .evidence
                    .settle(&rollout.plan.rollout, kept, rollout.changed_at);
            } else if !has_incident(&world, &rollout.plan.rollout) {
                // Where the team wants regressions reported or asked about, the rollout does that itself.
                look_at_rollout(&world, &rollout, &mut shared).await;
            }
        }
        standing.look(&world).await;
    }
}

fn has_incident(world: &World, rollout: &RolloutId) -> bool {
    world
        .machines()
        .incidents
        .list()
        .iter()
        .any(|incident| incident.plan.rollout.as_ref() == Some(rollout))
}

async fn look_at_rollout(world: &Arc<World>, rollout: &Snapshot<Rollouts>, shared: &mut BTreeSet<RolloutId>) {
    let Some(verdict) = world.evidence.verdict(&rollout.plan.rollout) else {
        return;
    };
    let regressed = world.evidence.acts(&rollout.plan.rollout);
    // Both releases suffer: no fault of the candidate, and people should know.
    if !regressed && (!diagnosis::is_shared(&verdict) || !shared.insert(rollout.plan.rollout.clone())) {
        return;
    }
    let now = clock::now();
    let Some(findings) = world.evidence.findings(&rollout.plan.rollout, now) else {
        return;
    };
    let plan = &rollout.plan;
    let diagnosis = diagnose(world, &plan.candidate, Some(findings), now);
    opening::open(
        world,
        &opening::Opening {
            service: &plan.service,
            environment: &plan.environment,
            diagnosis: &diagnosis,
            // Where the candidate is not at fault its rollout is not to be stopped.
            rollout: Some(rollout).filter(|_| regressed),
            suspect: Some(plan.candidate.clone()).filter(|_| regressed),
        },
    )
    .await;
}
