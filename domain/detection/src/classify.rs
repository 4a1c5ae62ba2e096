//! What sort of problem it is.
//!
//! A table of rules, each adding points to a class with its reason in words; the class with the most points
//! is named, and its share of all points is how sure that is. Rules rather than a trained model, so that every
//! classification can be read and argued with.

use serde::{Deserialize, Serialize};

use crate::anomaly::{Anomaly, Class, Kind, Signal};
use crate::changes::{ChangeEvent, ChangeKind, near};
use crate::fusion::{Problem, ServiceMap};
use crate::verdict::{Decision, SharedCause, Verdict};

/// What is known beside the anomalies.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The verdict of the rollout under way in the problem's service, if there is one.
    pub verdict: Option<&'a Verdict>,
    /// Recent changes.
    pub changes: &'a [ChangeEvent],
    /// Who calls whom.
    pub map: Option<&'a ServiceMap>,
}

/// A class with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// The class.
    pub class: Class,
    /// Its share of all points, 0 to 1.
    pub confidence: f64,
    /// Why, strongest first.
    pub reasons: Vec<String>,
    /// Points of each class that got any, most first.
    pub ranked: Vec<(Class, f64)>,
}

/// Points and reasons, gathered rule by rule.
#[derive(Default)]
struct Score {
    points: Vec<(Class, f64, String)>,
}

impl Score {
    fn add(&mut self, class: Class, points: f64, reason: impl Into<String>) {
        if points > 0.0 {
            self.points.push((class, points, reason.into()));
        }
    }

    fn total(&self, class: Class) -> f64 {
        self.points
            .iter()
            .filter(|(c, ..)| *c == class)
            .map(|(_, points, _)| points)
            .sum()
    }
}

/// Names the class of a problem.
pub fn classify(problem: &Problem, context: &Context<'_>) -> Classification {
    let mut score = Score::default();
    // Bare suspicion, so that a problem without a clue has a class.
    score.add(Class::DataOrInfrastructure, 0.25, "nothing points anywhere else");
    verdict(&mut score, context);
    for anomaly in &problem.anomalies {
        anomaly_rules(&mut score, anomaly);
    }
    changes(&mut score, problem, context);
    dependencies(&mut score, problem, context);
    let mut ranked: Vec<(Class, f64)> = Class::ALL.map(|class| (class, score.total(class))).to_vec();
    ranked.retain(|(_, points)| *points > 0.0);
    ranked.sort_by(|x, y| y.1.total_cmp(&x.1));
    let all: f64 = ranked.iter().map(|(_, points)| points).sum();
    let (class, points) = ranked
        .first()
        .copied()
        .unwrap_or((Class::DataOrInfrastructure, 0.0));
    let mut of_class: Vec<_> = score.points.into_iter().filter(|(c, ..)| *c == class).collect();
    of_class.sort_by(|x, y| y.1.total_cmp(&x.1));
    Classification {
        class,
        confidence: points / all.max(f64::MIN_POSITIVE),
        reasons: of_class.into_iter().map(|(.., reason)| reason).collect(),
        ranked,
    }
}

fn verdict(score: &mut Score, context: &Context<'_>) {
    let Some(verdict) = context.verdict else { return };
    let shared = verdict.past.as_ref().map(|past| past.shared);
    match verdict.decision {
        Decision::Regressed => score.add(Class::BadRelease, 6.0, format!("verdict: {}", verdict.reason)),
        Decision::Healthy => {
            let reason = "the release under watch is tested to be no worse than the one before";
            score.add(Class::DependencyFailure, 0.5, reason);
            score.add(Class::DataOrInfrastructure, 0.5, reason);
        }
        Decision::Inconclusive if shared == Some(SharedCause::Yes) => {
            let reason = "the holdback on the previous release suffers as the candidate does";
            score.add(Class::DependencyFailure, 4.0, reason);
            score.add(Class::DataOrInfrastructure, 1.5, reason);
        }
        Decision::Inconclusive | Decision::RoutingBroken => {}
    }
}

fn anomaly_rules(score: &mut Score, anomaly: &Anomaly) {
    let (strength, text) = (anomaly.score, anomaly.text.as_str());
    let subject = anomaly.subject.to_lowercase();
    let names = |words: &[&str]| words.iter().any(|word| subject.contains(word));
    if anomaly.release.is_some() {
        let points = match anomaly.kind {
            Kind::Regression if anomaly.signal == Signal::Verdict => 4.0,
            // Without another arm it only says that users suffer while this release serves.
            Kind::Regression => 1.25,
            Kind::NewTemplate | Kind::FailingSpan | Kind::SlowSpan => 1.5,
            Kind::SurgingTemplate | Kind::CrashLoop => 1.0,
            Kind::NewSpan | Kind::MissingSpan => 0.75,
            Kind::Outlier | Kind::ChangePoint | Kind::Exhaustion | Kind::MissingHeartbeat => 0.25,
        };
        score.add(Class::BadRelease, points * strength, text);
    }
    if anomaly.kind == Kind::Exhaustion {
        score.add(Class::ResourceExhaustion, 3.0 * strength, text);
    }
    let level = matches!(anomaly.kind, Kind::Outlier | Kind::ChangePoint);
    let up = anomaly.observed > anomaly.expected;
    if level
        && up
        && names(&[
            "cpu",
            "memory",
            "disk",
            "connections",
            "descriptors",
            "threads",
            "queue",
        ])
    {
        score.add(Class::ResourceExhaustion, 1.5 * strength, text);
    }
    if level && anomaly.observed > 1.5 * anomaly.expected && names(&["requests", "traffic", "active_users"]) {
        score.add(Class::TrafficSurge, 2.5 * strength, text);
    }
    if matches!(anomaly.kind, Kind::NewTemplate | Kind::SurgingTemplate) {
        log_rules(score, &subject, strength, text);
    }
    if anomaly.kind == Kind::MissingHeartbeat {
        score.add(Class::DataOrInfrastructure, 1.5 * strength, text);
    }
    if anomaly.service.is_none() && anomaly.signal == Signal::Metrics {
        score.add(Class::DataOrInfrastructure, 1.0 * strength, text);
    }
}

/// What log lines say in so many words.
fn log_rules(score: &mut Score, subject: &str, strength: f64, text: &str) {
    let rules: [(Class, f64, &[&str]); 3] = [
        (
            Class::DependencyFailure,
            1.5,
            &[
                "connection refused",
                "unavailable",
                "timed out",
                "timeout",
                "no route",
                "dns",
                "upstream",
            ],
        ),
        (
            Class::ResourceExhaustion,
            2.0,
            &[
                "out of memory",
                "no space left",
                "too many open files",
                "pool exhausted",
                "quota",
            ],
        ),
        (
            Class::DataOrInfrastructure,
            1.5,
            &[
                "corrupt",
                "checksum",
                "malformed",
                "invalid utf",
                "unexpected end",
                "input/output error",
            ],
        ),
    ];
    for (class, points, words) in rules {
        if words.iter().any(|word| subject.contains(word)) {
            score.add(class, points * strength, text);
        }
    }
}

fn changes(score: &mut Score, problem: &Problem, context: &Context<'_>) {
    let service = problem.anomalies.iter().find_map(|a| a.service.as_ref());
    // A release that was tested to be healthy is not suspected for its mere nearness.
    let cleared = context
        .verdict
        .is_some_and(|verdict| verdict.decision == Decision::Healthy);
    for near in near(context.changes, problem.onset, service) {
        let (class, points) = match near.change.kind {
            ChangeKind::Deploy if cleared => continue,
            ChangeKind::Deploy => (Class::BadRelease, 1.5),
            ChangeKind::Configuration | ChangeKind::Flag => (Class::ConfigurationChange, 3.0),
            ChangeKind::Scale => (Class::ResourceExhaustion, 0.5),
            ChangeKind::Outside => (Class::DataOrInfrastructure, 1.5),
            ChangeKind::Restart => continue,
        };
        let reason = format!("{} {}", near.change.text, near.when());
        score.add(class, points * near.nearness, reason);
    }
}

/// Trouble that began earlier in a service that another troubled one calls.
fn dependencies(score: &mut Score, problem: &Problem, context: &Context<'_>) {
    let Some(map) = context.map else { return };
    for caller in &problem.anomalies {
        for callee in &problem.anomalies {
            let (Some(from), Some(to)) = (&caller.service, &callee.service) else {
                continue;
            };
            if map.calls(from, to) && callee.onset <= caller.onset && callee.score >= 0.5 {
                let reason = format!("{to}, which {from} calls, was in trouble first: {}", callee.text);
                score.add(Class::DependencyFailure, 2.0 * callee.score, reason);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use trimtab_model::{ReleaseId, ServiceName, Timestamp};

    use super::*;
    use crate::anomaly::Scope;

    fn anomaly(kind: Kind, subject: &str, release: bool, numbers: (f64, f64)) -> Anomaly {
        let scope = Scope {
            service: ServiceName::new("blocks").ok(),
            environment: None,
            release: release.then(|| ReleaseId::new("blocks-r2").unwrap()),
        };
        let base = scope.anomaly(Signal::Metrics, kind, Timestamp(100_000), Timestamp(99_000));
        base.with(
            subject.to_owned(),
            0.9,
            (numbers.0, numbers.1, ""),
            format!("{kind} in {subject}"),
        )
    }

    fn class(anomalies: Vec<Anomaly>, changes: &[ChangeEvent]) -> Class {
        let problem = Problem::of(1, anomalies).unwrap();
        let context = Context {
            changes,
            ..Context::default()
        };
        let classification = classify(&problem, &context);
        assert!(classification.confidence > 0.3 && !classification.reasons.is_empty());
        classification.class
    }

    #[test]
    fn each_class_has_its_signs() {
        let change = |kind| ChangeEvent {
            at: Timestamp(98_000),
            kind,
            service: ServiceName::new("blocks").ok(),
            release: None,
            text: format!("{kind:?}"),
        };
        let new_line = |text| anomaly(Kind::NewTemplate, text, false, (9.0, 0.0));
        let span = anomaly(Kind::FailingSpan, "POST /sync", true, (0.3, 0.0));
        assert_eq!(
            class(vec![span], &[change(ChangeKind::Deploy)]),
            Class::BadRelease
        );
        let memory = anomaly(Kind::Exhaustion, "memory", false, (0.99, 0.6));
        assert_eq!(class(vec![memory], &[]), Class::ResourceExhaustion);
        assert_eq!(
            class(vec![new_line("connection refused to <*>")], &[]),
            Class::DependencyFailure
        );
        let surge = anomaly(Kind::Outlier, "http_requests_total", false, (900.0, 200.0));
        assert_eq!(class(vec![surge], &[]), Class::TrafficSurge);
        let slow = anomaly(Kind::ChangePoint, "latency", false, (90.0, 20.0));
        assert_eq!(
            class(vec![slow.clone()], &[change(ChangeKind::Flag)]),
            Class::ConfigurationChange
        );
        assert_eq!(
            class(vec![new_line("checksum of segment <*> is wrong")], &[]),
            Class::DataOrInfrastructure
        );
        assert_eq!(class(vec![slow], &[]), Class::DataOrInfrastructure);
    }

    #[test]
    fn a_callee_in_trouble_first_is_the_cause() {
        let mut first = anomaly(Kind::ChangePoint, "latency", false, (90.0, 20.0));
        first.service = ServiceName::new("database").ok();
        first.onset = Timestamp(90_000);
        let later = anomaly(Kind::ChangePoint, "latency", false, (90.0, 20.0));
        let mut map = ServiceMap::default();
        map.add(
            ServiceName::new("blocks").unwrap(),
            ServiceName::new("database").unwrap(),
        );
        let problem = Problem::of(1, vec![later, first]).unwrap();
        let context = Context {
            map: Some(&map),
            ..Context::default()
        };
        assert_eq!(classify(&problem, &context).class, Class::DependencyFailure);
    }
}
