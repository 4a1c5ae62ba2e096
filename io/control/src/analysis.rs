//! From evidence to incidents: what was found is fused, classified, weighed, and an incident opened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use trimtab_detection::causes::{CauseReport, Material, report};
use trimtab_detection::classify::{Context, classify};
use trimtab_detection::fusion::Problem;
use trimtab_detection::severity::{Impact, judge};
use trimtab_detection::verdict::{Decision, Outcomes};
use trimtab_detection::{Anomaly, Class, Kind, Scope, Signal, changes};
use trimtab_incident::{Guard, PastAction, Plan};
use trimtab_model::{
    Actor, EnvironmentName, IncidentId, ReleaseId, RolloutId, ServiceName, Severity, Timestamp,
};

use crate::blueprint;
use crate::clock;
use crate::evidence::Findings;
use crate::host::Snapshot;
use crate::machines::{Incidents, Rollouts};
use crate::world::{PRODUCTION, World, environment};

/// How often the evidence is looked at when nothing says that it changed.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Stretch of traffic by which a deployed release is guarded.
const GUARD_WINDOW: Duration = Duration::from_secs(20);
/// A deployed release that fails this share of at least `GUARD_REQUESTS_MIN` requests is a problem.
const GUARD_FAILING: f64 = 0.05;
const GUARD_REQUESTS_MIN: u64 = 60;

/// What was made of the evidence about one release.
pub(crate) struct Diagnosis {
    pub(crate) class: Class,
    pub(crate) severity: Severity,
    pub(crate) report: CauseReport,
    pub(crate) findings: Option<Findings>,
}

/// Looks at the evidence for as long as the process lives, and opens incidents.
pub(crate) async fn watch(world: Arc<World>) {
    let mut changed = world.evidence.changes();
    loop {
        // Woken by new evidence, or by the pause when there is none.
        let _ = tokio::time::timeout(LOOK_PAUSE, changed.changed()).await;
        for rollout in world.machines().rollouts.list() {
            // Where the team wants regressions reported or asked about, the rollout does that itself.
            if rollout.state.end().is_none()
                && rollout.plan.acts_on_regressions()
                && world.evidence.decision(&rollout.plan.rollout) == Some(Decision::Regressed)
                && !has_incident(&world, &rollout.plan.rollout)
            {
                open_for_rollout(&world, &rollout).await;
            }
        }
        guard_deployed(&world).await;
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

async fn open_for_rollout(world: &Arc<World>, rollout: &Snapshot<Rollouts>) {
    let now = clock::now();
    let Some(findings) = world.evidence.findings(&rollout.plan.rollout, now) else {
        return;
    };
    let diagnosis = diagnose(world, &rollout.plan.candidate, Some(findings), now);
    let plan = rollout.plan.clone();
    open(
        world,
        &plan.service,
        &plan.environment,
        &diagnosis,
        Some(rollout),
        Some(plan.candidate.clone()),
    )
    .await;
}

/// Watches what serves long after its rollout: there is no other arm then, so the rule is absolute.
async fn guard_deployed(world: &Arc<World>) {
    let now = clock::now();
    let production = environment(PRODUCTION);
    let services: BTreeSet<ServiceName> = world
        .releases
        .all()
        .into_iter()
        .map(|recorded| recorded.release.service)
        .collect();
    for service in services {
        let Some(stable) = world.stable(&service, &production) else {
            continue;
        };
        let busy = world
            .rollouts_of(&service, &production)
            .iter()
            .any(|rollout| rollout.state.end().is_none());
        let open_already = world
            .machines()
            .incidents
            .list()
            .iter()
            .any(|incident| incident.plan.service == service && incident.state.end().is_none());
        if busy || open_already {
            continue;
        }
        let total = traffic(world, &service, &production, now.minus(GUARD_WINDOW));
        let failing = total.errors as f64 / total.requests.max(1) as f64;
        if total.requests < GUARD_REQUESTS_MIN || failing < GUARD_FAILING {
            continue;
        }
        let diagnosis = diagnose_deployed(&service, &production, &stable, &total, now);
        open(world, &service, &production, &diagnosis, None, Some(stable)).await;
    }
}

/// Live requests of an environment since a moment.
pub(crate) fn traffic(
    world: &World,
    service: &ServiceName,
    environment: &EnvironmentName,
    since: Timestamp,
) -> Outcomes {
    let mut total = Outcomes::default();
    for stretch in world
        .evidence
        .traffic_since(&(service.clone(), environment.clone()), since)
    {
        if !stretch.mirrored {
            total.merge(&stretch.outcomes);
        }
    }
    total
}

/// Classifies and weighs what was found about a candidate.
pub(crate) fn diagnose(
    world: &World,
    candidate: &ReleaseId,
    findings: Option<Findings>,
    now: Timestamp,
) -> Diagnosis {
    let onset = findings.as_ref().and_then(|found| found.onset).unwrap_or(now);
    let place = findings.as_ref().map(|found| found.subject.place.clone());
    let scope = Scope {
        service: place.as_ref().map(|(service, _)| service.clone()),
        environment: place.as_ref().map(|(_, environment)| environment.clone()),
        release: Some(candidate.clone()),
    };
    let mut anomalies = findings
        .as_ref()
        .map(|found| found.anomalies.clone())
        .unwrap_or_default();
    if let Some(found) = findings
        .as_ref()
        .filter(|found| found.verdict.decision == Decision::Regressed)
    {
        let mut anomaly = scope.anomaly(Signal::Verdict, Kind::Regression, now, onset);
        anomaly.subject = candidate.to_string();
        anomaly.score = 1.0 - found.verdict.alpha;
        anomaly.text.clone_from(&found.verdict.reason);
        if let Some(metric) = found.verdict.metrics.first() {
            anomaly.observed = metric.candidate.rate * 100.0;
            anomaly.expected = metric.baseline.rate * 100.0;
            "%".clone_into(&mut anomaly.unit);
        }
        anomalies.push(anomaly);
    }
    let failing = place
        .as_ref()
        .map(|(service, environment)| traffic(world, service, environment, onset));
    weigh(anomalies, findings, candidate, failing, now)
}

fn diagnose_deployed(
    service: &ServiceName,
    environment: &EnvironmentName,
    stable: &ReleaseId,
    total: &Outcomes,
    now: Timestamp,
) -> Diagnosis {
    let scope = Scope {
        service: Some(service.clone()),
        environment: Some(environment.clone()),
        release: Some(stable.clone()),
    };
    let mut anomaly = scope.anomaly(Signal::Metrics, Kind::Regression, now, now.minus(GUARD_WINDOW));
    anomaly.subject = stable.to_string();
    anomaly.score = 0.9;
    anomaly.observed = 100.0 * total.errors as f64 / total.requests.max(1) as f64;
    "%".clone_into(&mut anomaly.unit);
    anomaly.text = format!(
        "{stable} fails {:.1} % of {} requests",
        anomaly.observed, total.requests
    );
    weigh(vec![anomaly], None, stable, Some(total.clone()), now)
}

fn weigh(
    anomalies: Vec<Anomaly>,
    findings: Option<Findings>,
    release: &ReleaseId,
    traffic: Option<Outcomes>,
    now: Timestamp,
) -> Diagnosis {
    let change = changes::ChangeEvent {
        at: findings
            .as_ref()
            .and_then(|found| found.first_request_at)
            .unwrap_or(now),
        kind: changes::ChangeKind::Deploy,
        service: findings.as_ref().map(|found| found.subject.place.0.clone()),
        release: Some(release.clone()),
        text: format!("{release} began to serve"),
    };
    let near = [change];
    let verdict = findings.as_ref().map(|found| &found.verdict);
    let problem = Problem::of(1, anomalies);
    let confidence = problem.as_ref().map_or(0.0, Problem::confidence);
    let failing = traffic
        .as_ref()
        .filter(|all| all.requests > 0)
        .map(|all| all.errors as f64 / all.requests as f64);
    let impact = Impact {
        production: true,
        burn_rate: None,
        failing,
        failed: traffic.map(|all| all.errors),
        breadth: None,
        confidence,
    };
    let (class, report) = match &problem {
        Some(problem) => {
            let found = classify(
                problem,
                &Context {
                    verdict,
                    changes: &near,
                    map: None,
                },
            );
            let endpoints = findings
                .as_ref()
                .map(|found| found.endpoints.clone())
                .unwrap_or_default();
            let material = Material {
                verdict,
                release: Some(release),
                endpoints: &endpoints,
                changes: &near,
            };
            (found.class, report(problem, &found, &material))
        }
        None => (Class::BadRelease, empty_report()),
    };
    let severity = judge(class, &impact, verdict).severity;
    Diagnosis {
        class,
        severity,
        report,
        findings,
    }
}

fn empty_report() -> CauseReport {
    CauseReport {
        summary: "nothing was found".to_owned(),
        class: Class::BadRelease,
        confidence: 0.0,
        reasons: Vec::new(),
        causes: Vec::new(),
        proposals: Vec::new(),
    }
}

async fn open(
    world: &Arc<World>,
    service: &ServiceName,
    environment: &EnvironmentName,
    diagnosis: &Diagnosis,
    rollout: Option<&Snapshot<Rollouts>>,
    suspect: Option<ReleaseId>,
) {
    let now = clock::now();
    let previous = match rollout {
        Some(rollout) => rollout.plan.baseline.clone(),
        None => suspect
            .as_ref()
            .and_then(|suspect| world.previous(service, environment, suspect)),
    };
    let guard = guard(world, service, suspect.as_ref(), previous.as_ref(), now);
    let title = diagnosis.report.summary.clone();
    let by = Actor::trimtab();
    let made = world.machines().incidents.create(&by, |number| Plan {
        incident: incident_id(number),
        service: service.clone(),
        environment: environment.clone(),
        title,
        class: class_of(diagnosis.class),
        severity: diagnosis.severity,
        suspect,
        rollout: rollout.map(|rollout| rollout.plan.rollout.clone()),
        warm_previous: rollout
            .is_some_and(|rollout| rollout.plan.baseline.is_some() && rollout.state.baseline_warm),
        previous,
        guard,
        began_at: diagnosis
            .findings
            .as_ref()
            .and_then(|found| found.onset.or(found.first_request_at)),
        opened_at: now,
    });
    match made.await {
        Ok(incident) => {
            tracing::warn!(incident = incident.id, severity = %diagnosis.severity, "opened an incident")
        }
        Err(error) => tracing::error!(%error, "failed to open an incident"),
    }
}

fn guard(
    world: &World,
    service: &ServiceName,
    suspect: Option<&ReleaseId>,
    target: Option<&ReleaseId>,
    now: Timestamp,
) -> Guard {
    let rails = match suspect.map(|suspect| world.release(suspect)) {
        Some(Ok((_, project))) => blueprint::guard_rails(&project),
        _ => {
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
        .filter(|known| world.releases.quarantined(&known.release.artifact).is_some())
        .map(|known| known.release.id)
        .collect();
    rails.decide(&past, &known_bad, service, target, now)
}

/// Incidents in which Trimtab acted by itself.
fn acted(world: &World) -> Vec<Snapshot<Incidents>> {
    let mut all = world.machines().incidents.list();
    all.retain(|incident| {
        incident.plan.guard == Guard::Allowed && incident.plan.severity == Severity::Critical
    });
    all
}

/// The same class in the incident's words.
fn class_of(class: Class) -> trimtab_incident::Class {
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
