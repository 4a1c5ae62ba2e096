//! Feels how instances and the journal go on, for the watch over each service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trimtab_detection::changes::{ChangeEvent, ChangeKind};
use trimtab_detection::steady::Objectives;
use trimtab_journal::StoredEvent;
use trimtab_model::{InstanceId, ReleaseId, ServiceName, Timestamp};
use trimtab_runtime::{Instance, InstanceState};

use crate::clock;
use crate::evidence::Place;
use crate::world::{PRODUCTION, World};

/// Between two feels.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what is known is written down, in feels.
const FEELS_BETWEEN_SAVES: u32 = 60;
/// Events of the journal that are looked back at after a start.
const EVENTS_BACK: u64 = 2_000;
const EVENTS_AT_ONCE: u64 = 500;

/// Goes on for as long as the process lives.
pub(crate) async fn feel(world: Arc<World>) {
    let mut instances = Instances::default();
    let newest = *world.journal.subscribe().borrow();
    let mut position = newest.saturating_sub(EVENTS_BACK);
    let mut feels: u32 = 0;
    loop {
        tokio::time::sleep(PAUSE).await;
        instances.feel(&world).await;
        read_changes(&world, &mut position).await;
        feels = feels.wrapping_add(1);
        if feels.is_multiple_of(FEELS_BETWEEN_SAVES)
            && let Err(error) = world.evidence.save_known()
        {
            tracing::warn!(%error, "failed to write down what is known of the services");
        }
    }
}

#[derive(Default)]
struct Instances {
    /// Processor seconds at a moment, by instance.
    used: BTreeMap<InstanceId, (Timestamp, f64)>,
    restarts: BTreeMap<InstanceId, u32>,
    promised: BTreeMap<Place, ReleaseId>,
}

impl Instances {
    async fn feel(&mut self, world: &World) {
        let Ok(all) = world.fleet.runtime().list().await else {
            return;
        };
        let mut living: BTreeMap<Place, BTreeMap<String, u32>> = BTreeMap::new();
        for instance in all.iter().filter(|instance| should_live(instance.state)) {
            let place = (instance.service.clone(), instance.environment.clone());
            self.measure(world, &place, instance).await;
            self.promise(world, &place, &instance.release);
            let restarts = living.entry(place).or_default();
            restarts.insert(instance.id.to_string(), instance.restarts);
        }
        let known = |id: &InstanceId| all.iter().any(|instance| instance.id == *id);
        self.used.retain(|id, _| known(id));
        self.restarts.retain(|id, _| known(id));
        let now = clock::now();
        for (place, living) in &living {
            world.evidence.tick(place, now, living);
        }
    }

    async fn measure(&mut self, world: &World, place: &Place, instance: &Instance) {
        let now = clock::now();
        let before = self.restarts.insert(instance.id.clone(), instance.restarts);
        if before.is_some_and(|before| before < instance.restarts) {
            world.evidence.note_change(ChangeEvent {
                at: now,
                kind: ChangeKind::Restart,
                service: Some(instance.service.clone()),
                release: Some(instance.release.clone()),
                text: format!("{} ended and was started again", instance.id),
            });
        }
        let Ok(usage) = world.fleet.runtime().usage(&instance.id).await else {
            return;
        };
        let before = self.used.insert(instance.id.clone(), (now, usage.cpu_seconds));
        let cpu = before.and_then(|(at, seconds)| {
            let elapsed = now.since(at).as_secs_f64();
            // A restarted process counts from nothing.
            let used = usage.cpu_seconds - seconds;
            (elapsed > 0.0 && used >= 0.0).then(|| 100.0 * used / elapsed)
        });
        let id = instance.id.as_str();
        world.evidence.instance(place, now, id, cpu, usage.rss_bytes);
    }

    /// The objectives of the release that came last count.
    fn promise(&mut self, world: &World, place: &Place, release: &ReleaseId) {
        if self.promised.get(place) == Some(release) {
            return;
        }
        let Ok((_, project)) = world.release(release) else {
            return;
        };
        self.promised.insert(place.clone(), release.clone());
        let objectives = &project.objectives;
        let promised = Objectives {
            failing_max: 1.0 - objectives.availability.fraction(),
            slow_ms: objectives.latency.as_millis(),
            slow_max: 1.0 - objectives.latency_share.fraction(),
        };
        world.evidence.promise(place, promised);
    }
}

fn should_live(state: InstanceState) -> bool {
    match state {
        InstanceState::Starting | InstanceState::Running | InstanceState::BackOff | InstanceState::Lost => {
            true
        }
        InstanceState::Stopping | InstanceState::Exited | InstanceState::Stopped | InstanceState::Unknown => {
            false
        }
    }
}

/// Carries changes from the journal into the evidence.
async fn read_changes(world: &World, position: &mut u64) {
    loop {
        let Ok(events) = world.journal.read_all(*position, EVENTS_AT_ONCE).await else {
            return;
        };
        let Some(last) = events.last() else { return };
        *position = last.position;
        for change in events.iter().filter_map(|event| change_of(world, event)) {
            world.evidence.note_change(change);
        }
    }
}

fn change_of(world: &World, event: &StoredEvent) -> Option<ChangeEvent> {
    let (family, id) = event.stream.split_once('/')?;
    let (kind, service, release, text) = match family {
        "rollout" if event.kind.ends_with("shifted") => {
            let plan = world.machines().rollouts.get(id)?.plan;
            if plan.environment.as_str() != PRODUCTION {
                return None;
            }
            let candidate = plan.candidate.clone();
            let text = format!("{id} shifted traffic of {candidate}");
            (
                ChangeKind::Deploy,
                Some(plan.service.clone()),
                Some(candidate),
                text,
            )
        }
        "flag" | "flags" => (ChangeKind::Flag, service_of(event), None, words(event)),
        "configuration" | "settings" | "secret" => {
            (ChangeKind::Configuration, service_of(event), None, words(event))
        }
        _ => return None,
    };
    Some(ChangeEvent {
        at: event.at,
        kind,
        service,
        release,
        text,
    })
}

fn service_of(event: &StoredEvent) -> Option<ServiceName> {
    ServiceName::new(event.body.get("service")?.as_str()?).ok()
}

fn words(event: &StoredEvent) -> String {
    let what = event.kind.replace(['.', '_'], " ");
    format!("{what} of {} by {}", event.stream, event.actor)
}
