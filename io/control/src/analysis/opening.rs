//! An incident for a problem: the one that is open already, or a new one within the guard-rails.

use std::collections::BTreeSet;
use std::sync::Arc;

use trimtab_detection::Class;
use trimtab_incident::{Event, GroupKey, Guard, OpenIncident, PastAction, Plan, Problem, joins};
use trimtab_model::{Actor, EnvironmentName, IncidentId, ReleaseId, ServiceName, Severity, Timestamp};

use super::diagnosis::Diagnosis;
use crate::blueprint;
use crate::clock;
use crate::host::Snapshot;
use crate::machines::{Incidents, Rollouts};
use crate::world::World;

/// Least time between two notes that an open incident's problem is still seen.
const SEEN_PAUSE_MS: i64 = 60_000;

/// A problem that deserves an incident.
pub(super) struct Opening<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) environment: &'a EnvironmentName,
    pub(super) diagnosis: &'a Diagnosis,
    /// The rollout under way whose candidate is at fault.
    pub(super) rollout: Option<&'a Snapshot<Rollouts>>,
    /// The release that is thought to cause it, or that acting on may help.
    pub(super) suspect: Option<ReleaseId>,
}

/// Opens an incident, or lets the open one of this problem know that it is still there, or grew.
pub(super) async fn open(world: &Arc<World>, opening: &Opening<'_>) {
    let now = clock::now();
    let diagnosis = opening.diagnosis;
    let problem = Problem {
        key: GroupKey {
            service: opening.service.clone(),
            environment: opening.environment.clone(),
            suspect: opening.suspect.clone(),
        },
        class: class_of(diagnosis.class),
        severity: diagnosis.severity,
        title: diagnosis.report.summary.clone(),
        at: now,
    };
    // A rollout's machine waits for the incident of its own.
    if opening.rollout.is_none()
        && let Some(incident) = joined(world, &problem)
    {
        seen_again(world, &incident, &problem).await;
        return;
    }
    let plan = planned(world, opening, &problem, now);
    let by = Actor::trimtab();
    let incidents = &world.machines().incidents;
    let made = incidents
        .create(&by, |number| Plan {
            incident: incident_id(number),
            ..plan
        })
        .await;
    match made {
        Ok(incident) => {
            tracing::warn!(incident = incident.id, severity = %diagnosis.severity, "opened an incident");
            let body = serde_json::json!({ "text": diagnosis.report.render(), "report": diagnosis.report });
            if let Err(error) = world.write_down(&incident.id, "report.diagnosis", body).await {
                tracing::warn!(incident = incident.id, %error, "failed to keep the diagnosis");
            }
        }
        Err(error) => tracing::error!(%error, "failed to open an incident"),
    }
}

fn planned(world: &World, opening: &Opening<'_>, problem: &Problem, now: Timestamp) -> Plan {
    let (service, environment) = (opening.service, opening.environment);
    let suspect = opening.suspect.clone();
    let rollout = opening.rollout;
    let previous = match rollout {
        Some(rollout) => rollout.plan.baseline.clone(),
        None => suspect
            .as_ref()
            .and_then(|suspect| world.previous(service, environment, suspect))
            .filter(|previous| !same_artifact(world, suspect.as_ref(), previous)),
    };
    Plan {
        // Numbered when it is made.
        incident: incident_id(0),
        service: service.clone(),
        environment: environment.clone(),
        title: problem.title.clone(),
        class: problem.class,
        severity: problem.severity,
        guard: guard(world, service, suspect.as_ref(), previous.as_ref(), now),
        suspect,
        rollout: rollout.map(|rollout| rollout.plan.rollout.clone()),
        warm_previous: rollout
            .is_some_and(|rollout| rollout.plan.baseline.is_some() && rollout.state.baseline_warm),
        previous,
        began_at: opening.diagnosis.began_at,
        opened_at: now,
    }
}

/// The same bytes would fail the same way.
fn same_artifact(world: &World, suspect: Option<&ReleaseId>, previous: &ReleaseId) -> bool {
    let artifact = |id: &ReleaseId| world.releases.get(id).map(|known| known.release.artifact);
    suspect.is_some_and(|suspect| artifact(suspect) == artifact(previous))
}

/// The open incident that a problem belongs to.
fn joined(world: &World, problem: &Problem) -> Option<Snapshot<Incidents>> {
    let mut all = world.machines().incidents.list();
    all.retain(|incident| incident.state.end().is_none());
    let open: Vec<OpenIncident> = all
        .iter()
        .map(|incident| OpenIncident {
            incident: incident.plan.incident.clone(),
            key: GroupKey {
                service: incident.plan.service.clone(),
                environment: incident.plan.environment.clone(),
                suspect: incident.plan.suspect.clone(),
            },
            seen_at: incident.state.seen_at,
            healed: incident.state.is_healed(),
        })
        .collect();
    let found = joins(&open, problem)?.incident.clone();
    all.into_iter().find(|incident| incident.plan.incident == found)
}

async fn seen_again(world: &World, incident: &Snapshot<Incidents>, problem: &Problem) {
    let event = if problem.severity > incident.state.severity {
        Event::Escalated {
            at: problem.at,
            severity: problem.severity,
            reason: problem.title.clone(),
        }
    } else if problem.at.0 - incident.state.seen_at.0 >= SEEN_PAUSE_MS {
        Event::Seen { at: problem.at }
    } else {
        return;
    };
    if let Err(error) = world.machines().incidents.send(&incident.id, event).await {
        tracing::warn!(incident = incident.id, %error, "failed to tell an incident that its problem is still seen");
    }
}

fn guard(
    world: &World,
    service: &ServiceName,
    suspect: Option<&ReleaseId>,
    target: Option<&ReleaseId>,
    now: Timestamp,
) -> Guard {
    // Without a suspect nothing is acted on, so there is nothing to guard.
    let Some(suspect) = suspect else {
        return Guard::Allowed;
    };
    let rails = match world.release(suspect) {
        Ok((_, project)) => blueprint::guard_rails(&project),
        Err(_) => {
            return Guard::Refused {
                reason: "the suspect's trimtab.yaml cannot be read".to_owned(),
            };
        }
    };
    let past: Vec<PastAction> = acted(world)
        .into_iter()
        .map(|incident| PastAction {
            at: incident.plan.opened_at,
            service: incident.plan.service.clone(),
        })
        .collect();
    let known_bad: BTreeSet<ReleaseId> = world
        .releases
        .all()
        .into_iter()
        .filter(|known| world.releases.quarantined(&known.release.id).is_some())
        .map(|known| known.release.id)
        .collect();
    rails.decide(&past, &known_bad, service, target, now)
}

/// Incidents in which Trimtab acted by itself.
fn acted(world: &World) -> Vec<Snapshot<Incidents>> {
    let mut all = world.machines().incidents.list();
    all.retain(|incident| {
        let plan = &incident.plan;
        plan.guard == Guard::Allowed
            && plan.suspect.is_some()
            && plan.class.acting_helps()
            && incident.state.severity == Severity::Critical
    });
    all
}

/// The same class in the incident's words.
pub(super) fn class_of(class: Class) -> trimtab_incident::Class {
    match class {
        Class::BadRelease => trimtab_incident::Class::BadRelease,
        Class::ResourceExhaustion => trimtab_incident::Class::ResourceExhaustion,
        Class::DependencyFailure => trimtab_incident::Class::DependencyFailure,
        Class::TrafficSurge => trimtab_incident::Class::TrafficSurge,
        Class::ConfigurationChange => trimtab_incident::Class::ConfigurationChange,
        Class::DataOrInfrastructure => trimtab_incident::Class::DataOrInfrastructure,
    }
}

fn incident_id(number: u64) -> IncidentId {
    match IncidentId::new(format!("incident-{number}")) {
        Ok(id) => id,
        // `incident-` and digits follow the rules of names.
        Err(_) => unreachable!("incident-{number}"),
    }
}
