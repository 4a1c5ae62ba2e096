//! What was made of the evidence: class, severity and causes.

use trimtab_detection::causes::{CauseReport, Material, report};
use trimtab_detection::classify::{Context, classify};
use trimtab_detection::fusion::Problem;
use trimtab_detection::severity::{Impact, judge};
use trimtab_detection::steady::Found;
use trimtab_detection::verdict::{Decision, Outcomes, SharedCause, Verdict};
use trimtab_detection::{Anomaly, Class, Kind, Scope, Signal, changes};
use trimtab_model::{EnvironmentName, ReleaseId, ServiceName, Severity, Timestamp};

use crate::evidence::{Findings, Place};
use crate::world::{PRODUCTION, World};

/// What was made of the evidence about one release or place.
pub(crate) struct Diagnosis {
    pub(crate) class: Class,
    pub(crate) severity: Severity,
    pub(crate) report: CauseReport,
    pub(crate) findings: Option<Findings>,
    /// When the trouble began, as far as is known.
    pub(crate) began_at: Option<Timestamp>,
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

/// Whether a verdict says that both releases suffer.
pub(super) fn is_shared(verdict: &Verdict) -> bool {
    let past = verdict.past.as_ref();
    past.is_some_and(|past| past.shared == SharedCause::Yes)
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
    anomalies.extend(
        findings
            .as_ref()
            .and_then(|found| called(&found.verdict, candidate, &scope, now, onset)),
    );
    // What moved beside it helps to say what sort of problem it is.
    if let Some(place) = &place {
        anomalies.extend(world.evidence.found(place, now, None).circumstances);
    }
    let served = place
        .as_ref()
        .map(|(service, environment)| traffic(world, service, environment, onset));
    let served = served.filter(|all| all.requests > 0);
    let impact = Impact {
        production: place
            .as_ref()
            .is_none_or(|(_, environment)| environment.as_str() == PRODUCTION),
        failing: served.as_ref().map(|all| all.errors as f64 / all.requests as f64),
        failed: served.map(|all| all.errors),
        ..Impact::default()
    };
    let first_request_at = findings.as_ref().and_then(|found| found.first_request_at);
    let began = findings.as_ref().and_then(|found| found.onset);
    let mut near = world.evidence.latest_changes();
    near.push(changes::ChangeEvent {
        at: first_request_at.unwrap_or(now),
        kind: changes::ChangeKind::Deploy,
        service: scope.service.clone(),
        release: Some(candidate.clone()),
        text: format!("{candidate} began to serve"),
    });
    weigh(
        anomalies,
        findings,
        candidate,
        impact,
        &near,
        began.or(first_request_at),
    )
}

/// The verdict as an anomaly, when it calls the candidate worse or the cause shared.
fn called(
    verdict: &Verdict,
    candidate: &ReleaseId,
    scope: &Scope,
    now: Timestamp,
    onset: Timestamp,
) -> Option<Anomaly> {
    let shared = is_shared(verdict);
    if verdict.decision != Decision::Regressed && !shared {
        return None;
    }
    let scope = Scope {
        release: scope.release.clone().filter(|_| !shared),
        ..scope.clone()
    };
    let mut anomaly = scope.anomaly(Signal::Verdict, Kind::Regression, now, onset);
    anomaly.subject = candidate.to_string();
    anomaly.score = 1.0 - verdict.alpha;
    anomaly.text.clone_from(&verdict.reason);
    if let Some(metric) = verdict.metrics.first() {
        anomaly.observed = metric.candidate.rate * 100.0;
        anomaly.expected = metric.baseline.rate * 100.0;
        "%".clone_into(&mut anomaly.unit);
    }
    Some(anomaly)
}

/// Classifies and weighs what was found in a place long after a rollout.
pub(super) fn diagnose_standing(
    world: &World,
    place: &Place,
    stable: &ReleaseId,
    found: &Found,
    now: Timestamp,
) -> Diagnosis {
    let mut anomalies = found.signs.clone();
    anomalies.extend(found.circumstances.iter().cloned());
    let doubt: f64 = found.signs.iter().map(|sign| 1.0 - sign.score).product();
    let noticed = &found.noticed;
    let impact = Impact {
        production: place.1.as_str() == PRODUCTION,
        burn_rate: noticed.burn_rate,
        failing: noticed.failing,
        failed: noticed.failed,
        breadth: None,
        // Odd circumstances alone make nothing sure.
        confidence: 1.0 - doubt,
    };
    let began = found.signs.iter().map(|sign| sign.onset).min();
    let near = world.evidence.latest_changes();
    let mut diagnosis = weigh(anomalies, None, stable, impact, &near, began.or(Some(now)));
    // People read the first sign, whatever the class.
    if let Some(worst) = found.signs.first().or(found.circumstances.first()) {
        diagnosis.report.summary = format!("{}: {}", diagnosis.class, worst.text);
    }
    diagnosis
}

/// A confidence of zero in `impact` stands for that of the anomalies together, when there is a verdict.
fn weigh(
    anomalies: Vec<Anomaly>,
    findings: Option<Findings>,
    release: &ReleaseId,
    impact: Impact,
    near: &[changes::ChangeEvent],
    began_at: Option<Timestamp>,
) -> Diagnosis {
    let verdict = findings.as_ref().map(|found| &found.verdict);
    let problem = Problem::of(1, anomalies);
    let mut impact = impact;
    if verdict.is_some() {
        impact.confidence = problem.as_ref().map_or(0.0, Problem::confidence);
    }
    let (class, report) = match &problem {
        Some(problem) => {
            let context = Context {
                verdict,
                changes: near,
                map: None,
            };
            let found = classify(problem, &context);
            let endpoints = findings
                .as_ref()
                .map(|found| found.endpoints.clone())
                .unwrap_or_default();
            let material = Material {
                verdict,
                release: Some(release),
                endpoints: &endpoints,
                changes: near,
            };
            (found.class, report(problem, &found, &material))
        }
        None => (Class::DataOrInfrastructure, empty_report()),
    };
    let severity = judge(class, &impact, verdict).severity;
    Diagnosis {
        class,
        severity,
        report,
        findings,
        began_at,
    }
}

fn empty_report() -> CauseReport {
    CauseReport {
        summary: "nothing was found".to_owned(),
        class: Class::DataOrInfrastructure,
        confidence: 0.0,
        reasons: Vec::new(),
        causes: Vec::new(),
        proposals: Vec::new(),
    }
}
