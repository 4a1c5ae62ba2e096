//! Looks at what stands in production, rollout or not: warnings, and incidents long after a rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use trimtab_detection::Class;
use trimtab_detection::steady::SLOW_REQUESTS;
use trimtab_incident::{End, Way};
use trimtab_journal::{Expected, NewEvent};
use trimtab_model::{Actor, IncidentId, ReleaseId, ServiceName, Severity, Timestamp};

use super::diagnosis::{Diagnosis, diagnose_standing};
use super::opening::{Opening, class_of, open};
use crate::clock;
use crate::evidence::Place;
use crate::world::{PRODUCTION, World, environment};

/// Between two looks.
const LOOK_MS: i64 = 1_000;
/// What is not critical must stand so long before somebody is told.
const STANDING_MS_MIN: i64 = 10_000;
/// And so long where nothing is amiss but speed: a busy machine passes.
const SLOW_MS_MIN: i64 = 60_000;
/// A problem that a person declared over is not raised again for so long, unless it grows.
const DECLARED_OVER: Duration = Duration::from_secs(30 * 60);
/// The same small thing is noted no more often than this.
const NOTE_PAUSE_MS: i64 = 600_000;

/// What was seen standing before.
#[derive(Default)]
pub(super) struct Standing {
    looked_at: i64,
    /// Since when there are signs, by place.
    since: BTreeMap<Place, Timestamp>,
    /// Healed incidents whose place was forgiven.
    forgiven: BTreeSet<IncidentId>,
    noted: BTreeMap<(Place, Class), Timestamp>,
}

impl Standing {
    /// Looks at every service's production.
    pub(super) async fn look(&mut self, world: &Arc<World>) {
        let now = clock::now();
        self.forgive_healed(world);
        if (0..LOOK_MS).contains(&(now.0 - self.looked_at)) {
            return;
        }
        self.looked_at = now.0;
        let services: BTreeSet<ServiceName> = world
            .releases
            .all()
            .into_iter()
            .map(|recorded| recorded.release.service)
            .collect();
        // The host's own trouble is told once, not by each service on it.
        let mut told_of_host = false;
        for service in services {
            let place = (service, environment(PRODUCTION));
            self.look_at(world, &place, now, &mut told_of_host).await;
        }
    }

    async fn look_at(&mut self, world: &Arc<World>, place: &Place, now: Timestamp, told_of_host: &mut bool) {
        let stable = world.stable(&place.0, &place.1);
        let busy = world
            .rollouts_of(&place.0, &place.1)
            .iter()
            .any(|rollout| rollout.state.end().is_none());
        // While a rollout is under way its own verdict says what is at fault.
        let Some(stable) = stable.filter(|_| !busy) else {
            self.since.remove(place);
            return;
        };
        let mut found = world.evidence.found(place, now, Some(&stable));
        if *told_of_host {
            found.signs.retain(|sign| sign.service.is_some());
        }
        *told_of_host |= found.signs.iter().any(|sign| sign.service.is_none());
        if found.signs.is_empty() {
            self.since.remove(place);
            if found.circumstances.is_empty() {
                return;
            }
        }
        let diagnosis = diagnose_standing(world, place, &stable, &found, now);
        if found.signs.is_empty() || diagnosis.severity == Severity::Low {
            self.note(world, place, &diagnosis, now).await;
            return;
        }
        let since = *self.since.entry(place.clone()).or_insert(now);
        let only_slow = found.signs.iter().all(|sign| sign.subject == SLOW_REQUESTS);
        let stands_min = if only_slow { SLOW_MS_MIN } else { STANDING_MS_MIN };
        if diagnosis.severity == Severity::Critical || now.0 - since.0 >= stands_min {
            raise(world, place, stable, &diagnosis, now).await;
        }
    }

    /// What led to an incident that is healed is dealt with.
    fn forgive_healed(&mut self, world: &World) {
        for incident in world.machines().incidents.list() {
            if incident.state.is_healed() && self.forgiven.insert(incident.plan.incident.clone()) {
                let place = (incident.plan.service.clone(), incident.plan.environment.clone());
                world.evidence.forgive(&place, incident.changed_at);
                self.since.remove(&place);
            }
        }
    }

    /// Low: on the timeline, and nobody is told.
    async fn note(&mut self, world: &World, place: &Place, diagnosis: &Diagnosis, now: Timestamp) {
        let key = (place.clone(), diagnosis.class);
        let lately = self.noted.get(&key);
        if lately.is_some_and(|at| now.0 - at.0 < NOTE_PAUSE_MS) {
            return;
        }
        self.noted.insert(key, now);
        let body = serde_json::json!({
            "service": place.0, "environment": place.1, "class": diagnosis.class,
            "severity": Severity::Low, "text": diagnosis.report.summary, "reasons": diagnosis.report.reasons,
        });
        let stream = format!("anomaly/{}", place.0);
        let event = NewEvent::new(stream, "anomaly.noted", now, Actor::trimtab(), body);
        if let Err(error) = world.journal.append(Expected::Any, vec![event]).await {
            tracing::warn!(%error, "failed to note an anomaly");
        }
    }
}

async fn raise(world: &Arc<World>, place: &Place, stable: ReleaseId, diagnosis: &Diagnosis, now: Timestamp) {
    if declared_over(world, place, diagnosis, now) {
        return;
    }
    let helps = class_of(diagnosis.class).acting_helps();
    let opening = Opening {
        service: &place.0,
        environment: &place.1,
        diagnosis,
        rollout: None,
        suspect: Some(stable).filter(|_| helps),
    };
    open(world, &opening).await;
}

fn declared_over(world: &World, place: &Place, diagnosis: &Diagnosis, now: Timestamp) -> bool {
    world.machines().incidents.list().iter().any(|incident| {
        let plan = &incident.plan;
        let same = plan.service == place.0
            && plan.environment == place.1
            && plan.class == class_of(diagnosis.class)
            && incident.state.severity >= diagnosis.severity;
        let by_person = matches!(
            incident.state.end(),
            Some(End::Resolved {
                way: Way::Person { .. }
            })
        );
        same && by_person && now.since(incident.changed_at) < DECLARED_OVER
    })
}
