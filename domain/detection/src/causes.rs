//! The report on the causes of a problem: ranked, each with its numbers.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use trimtab_model::ReleaseId;

use crate::anomaly::{Anomaly, Class, Kind, score_of};
use crate::changes::{ChangeEvent, near};
use crate::classify::Classification;
use crate::evidence::rise;
use crate::fusion::Problem;
use crate::verdict::{Decision, Tally, Verdict};
use crate::words::{count, cut, percent};

/// Causes that a report names.
const CAUSES_MAX: usize = 12;
/// Evidence from which an endpoint is named.
const EVIDENCE_MIN: f64 = 20.0;
/// Characters of a subject that the text shows.
const SUBJECT_CHARS: usize = 120;

/// What is named as a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A release.
    Release,
    /// An endpoint of the service.
    Endpoint,
    /// A log template.
    LogTemplate,
    /// A span.
    Span,
    /// A change on record.
    Change,
    /// A resource or a series.
    Series,
    /// An instance or a source that fell silent or keeps on ending.
    Instance,
}

impl CauseKind {
    /// The kind in words.
    pub fn as_str(self) -> &'static str {
        match self {
            CauseKind::Release => "release",
            CauseKind::Endpoint => "endpoint",
            CauseKind::LogTemplate => "log template",
            CauseKind::Span => "span",
            CauseKind::Change => "change",
            CauseKind::Series => "metric",
            CauseKind::Instance => "instance",
        }
    }
}

/// A number of a cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// Its value in `unit`.
    pub value: f64,
    /// The unit: `share`, `ms`, `requests`, `lines` …
    pub unit: String,
}

/// One cause with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// Its place, from 1.
    pub rank: usize,
    /// What it is.
    pub kind: CauseKind,
    /// Which one.
    pub subject: String,
    /// How strongly it is suspected, 0 to 1.
    pub score: f64,
    /// Its numbers.
    pub figures: Vec<Figure>,
    /// The cause as a sentence.
    pub text: String,
}

/// The report on causes, as data; [`CauseReport::render`] makes text of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CauseReport {
    /// One sentence.
    pub summary: String,
    /// The class of the problem.
    pub class: Class,
    /// How sure the class is, 0 to 1.
    pub confidence: f64,
    /// Why it is that class.
    pub reasons: Vec<String>,
    /// The causes, strongest first.
    pub causes: Vec<Cause>,
    /// What may be done about it, for people who plan a fix.
    pub proposals: Vec<String>,
}

/// Counts of one endpoint in both arms, from the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The operation, `POST /sync`.
    pub operation: String,
    /// Requests on the baseline, or before; and how many failed.
    pub baseline: Tally,
    /// Requests on the candidate, or since; and how many failed.
    pub candidate: Tally,
}

/// What a report is made from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Material<'a> {
    /// The verdict on the release, if there was one.
    pub verdict: Option<&'a Verdict>,
    /// The release that is suspected.
    pub release: Option<&'a ReleaseId>,
    /// Counts of endpoints.
    pub endpoints: &'a [Endpoint],
    /// Recent changes.
    pub changes: &'a [ChangeEvent],
}

/// Ranks the causes of a problem.
pub fn report(problem: &Problem, class: &Classification, material: &Material<'_>) -> CauseReport {
    let mut causes: Vec<Cause> = Vec::new();
    causes.extend(release_cause(problem, class, material));
    causes.extend(material.endpoints.iter().filter_map(endpoint_cause));
    causes.extend(problem.anomalies.iter().filter_map(anomaly_cause));
    causes.extend(change_causes(problem, material));
    causes.sort_by(|x, y| y.score.total_cmp(&x.score).then(x.kind.cmp(&y.kind)));
    causes = keep_best_of_each_kind(causes);
    for (at, cause) in causes.iter_mut().enumerate() {
        cause.rank = at + 1;
    }
    CauseReport {
        summary: summary(class, &causes),
        class: class.class,
        confidence: class.confidence,
        reasons: class.reasons.clone(),
        proposals: proposals(class.class, &causes),
        causes,
    }
}

/// The most suspected causes, and at least the first of each kind.
fn keep_best_of_each_kind(causes: Vec<Cause>) -> Vec<Cause> {
    let mut kept: Vec<Cause> = Vec::new();
    let mut left: Vec<Cause> = Vec::new();
    for cause in causes {
        if kept.iter().any(|k| k.kind == cause.kind) {
            left.push(cause);
        } else {
            kept.push(cause);
        }
    }
    let room = CAUSES_MAX.saturating_sub(kept.len());
    kept.extend(left.into_iter().take(room));
    kept.sort_by(|x, y| y.score.total_cmp(&x.score).then(x.kind.cmp(&y.kind)));
    kept
}

fn number(name: &str, value: f64, unit: &str) -> Figure {
    Figure {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
    }
}

fn cause(kind: CauseKind, subject: String, score: f64, figures: Vec<Figure>, text: String) -> Cause {
    Cause {
        rank: 0,
        kind,
        subject,
        score: score.clamp(0.0, 1.0),
        figures,
        text,
    }
}

fn release_cause(problem: &Problem, class: &Classification, material: &Material<'_>) -> Option<Cause> {
    let release = material.release.or_else(|| problem.release())?;
    let verdict = material.verdict.filter(|v| v.decision == Decision::Regressed);
    if class.class != Class::BadRelease && verdict.is_none() {
        return None;
    }
    let (score, mut figures, text) = match verdict {
        Some(verdict) => {
            let leading = verdict.metrics.iter().find(|m| Some(m.metric) == verdict.leading);
            let figures = leading.map_or_else(Vec::new, |m| {
                vec![
                    number("candidate", m.candidate.rate, "share"),
                    number("baseline", m.baseline.rate, "share"),
                    number("effect", m.effect, "share"),
                ]
            });
            (1.0, figures, format!("release {release}: {}", verdict.reason))
        }
        None => (
            class.confidence,
            Vec::new(),
            format!("release {release} is what the signs point at"),
        ),
    };
    figures.push(number("confidence", class.confidence, "share"));
    Some(cause(
        CauseKind::Release,
        release.to_string(),
        score,
        figures,
        text,
    ))
}

fn endpoint_cause(endpoint: &Endpoint) -> Option<Cause> {
    let log_e = rise(endpoint.baseline, endpoint.candidate);
    if log_e < EVIDENCE_MIN.ln() {
        return None;
    }
    let (now, before) = (endpoint.candidate, endpoint.baseline);
    let text = format!(
        "{} fails in {} of its requests ({} of {}), {} on the baseline ({} of {})",
        endpoint.operation,
        percent(now.rate()),
        count(now.bad),
        count(now.units),
        percent(before.rate()),
        count(before.bad),
        count(before.units)
    );
    let figures = vec![
        number("candidate", now.rate(), "share"),
        number("baseline", before.rate(), "share"),
        number("failed", now.bad as f64, "requests"),
    ];
    Some(cause(
        CauseKind::Endpoint,
        endpoint.operation.clone(),
        score_of(log_e),
        figures,
        text,
    ))
}

fn anomaly_cause(anomaly: &Anomaly) -> Option<Cause> {
    let kind = match anomaly.kind {
        // The release and its verdict speak for themselves.
        Kind::Regression => return None,
        Kind::NewTemplate | Kind::SurgingTemplate => CauseKind::LogTemplate,
        Kind::SlowSpan | Kind::FailingSpan | Kind::NewSpan | Kind::MissingSpan => CauseKind::Span,
        Kind::Outlier | Kind::ChangePoint | Kind::Exhaustion => CauseKind::Series,
        Kind::MissingHeartbeat | Kind::CrashLoop => CauseKind::Instance,
    };
    let figures = vec![
        number("observed", anomaly.observed, &anomaly.unit),
        number("expected", anomaly.expected, &anomaly.unit),
    ];
    // Slightly below the release and the endpoint, which people look for first.
    let score = anomaly.score * 0.95;
    Some(cause(
        kind,
        anomaly.subject.clone(),
        score,
        figures,
        anomaly.text.clone(),
    ))
}

fn change_causes(problem: &Problem, material: &Material<'_>) -> Vec<Cause> {
    let service = problem.anomalies.iter().find_map(|a| a.service.as_ref());
    near(material.changes, problem.onset, service)
        .into_iter()
        .take(3)
        .map(|near| {
            let seconds = near.before_ms as f64 / 1000.0;
            let text = format!("{}, {}", near.change.text, near.when());
            let figures = vec![number("before onset", seconds, "s")];
            cause(
                CauseKind::Change,
                near.change.text.clone(),
                0.7 * near.nearness,
                figures,
                text,
            )
        })
        .collect()
}

fn summary(class: &Classification, causes: &[Cause]) -> String {
    let first = |kind| {
        causes
            .iter()
            .find(|c: &&Cause| c.kind == kind)
            .map(|c| cut(&c.subject, SUBJECT_CHARS))
    };
    let mut text = format!("{} ({} sure)", class.class, percent(class.confidence));
    if let Some(release) = first(CauseKind::Release) {
        let _ = write!(text, ": {release}");
    }
    if let Some(endpoint) = first(CauseKind::Endpoint) {
        let _ = write!(text, ", at {endpoint}");
    }
    if let Some(template) = first(CauseKind::LogTemplate) {
        let _ = write!(text, ", with \"{template}\" in its log");
    }
    if let Some(span) = first(CauseKind::Span) {
        let _ = write!(text, ", in {span}");
    }
    text
}

fn proposals(class: Class, causes: &[Cause]) -> Vec<String> {
    let named = |kind| {
        causes
            .iter()
            .find(|c| c.kind == kind)
            .map(|c| cut(&c.subject, SUBJECT_CHARS))
    };
    let mut proposals = match class {
        Class::BadRelease => {
            vec!["go back to the previous release, and keep this one quarantined".to_owned()]
        }
        Class::ResourceExhaustion => {
            vec!["add instances or raise the limit, then look for a leak".to_owned()]
        }
        Class::DependencyFailure => {
            vec![
                "look after the service that is called; going back to another release would not help"
                    .to_owned(),
            ]
        }
        Class::TrafficSurge => vec!["add instances; shed or limit what is not urgent".to_owned()],
        Class::ConfigurationChange => vec!["undo the change".to_owned()],
        Class::DataOrInfrastructure => {
            vec!["look after the host, disk and network, and the latest data".to_owned()]
        }
    };
    if let Some(change) = named(CauseKind::Change).filter(|_| class == Class::ConfigurationChange) {
        proposals.push(format!("the change to undo first: {change}"));
    }
    if let Some(endpoint) = named(CauseKind::Endpoint) {
        proposals.push(format!("write a test that calls {endpoint} as users do"));
    }
    if let Some(template) = named(CauseKind::LogTemplate) {
        proposals.push(format!("look for where \"{template}\" is logged"));
    }
    if let Some(span) = named(CauseKind::Span) {
        proposals.push(format!("profile {span}"));
    }
    proposals
}

impl CauseReport {
    /// The report as plain text.
    pub fn render(&self) -> String {
        let mut text = format!("{}\n", self.summary);
        for cause in &self.causes {
            let _ = writeln!(
                text,
                "{:>2}. {} {} ({})",
                cause.rank,
                cause.kind.as_str(),
                cut(&cause.subject, SUBJECT_CHARS),
                percent(cause.score)
            );
            let _ = writeln!(text, "    {}", cause.text);
        }
        if !self.proposals.is_empty() {
            let _ = writeln!(text, "What may be done:");
            for proposal in &self.proposals {
                let _ = writeln!(text, "  - {proposal}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use trimtab_model::{ServiceName, Timestamp};

    use super::*;
    use crate::anomaly::{Scope, Signal};
    use crate::changes::ChangeKind;
    use crate::classify::{Context, classify};

    fn scope() -> Scope {
        Scope {
            service: ServiceName::new("blocks").ok(),
            environment: None,
            release: ReleaseId::new("blocks-r2").ok(),
        }
    }

    fn problem() -> Problem {
        let anomaly = |signal, kind, subject: &str, numbers, text: &str| {
            let base = scope().anomaly(signal, kind, Timestamp(61_000), Timestamp(60_000));
            base.with(subject.to_owned(), 0.95, numbers, text.to_owned())
        };
        let line = "merge of <*> failed: clock went backwards";
        let span = "POST /sync → merge";
        let anomalies = vec![
            anomaly(
                Signal::Logs,
                Kind::NewTemplate,
                line,
                (88.0, 0.0, "lines"),
                "88 lines, none before",
            ),
            anomaly(
                Signal::Traces,
                Kind::SlowSpan,
                span,
                (140.0, 6.0, "ms"),
                "140 ms at p95, 6 ms before",
            ),
        ];
        Problem::of(1, anomalies).unwrap()
    }

    fn endpoint(operation: &str, bad: u64) -> Endpoint {
        Endpoint {
            operation: operation.to_owned(),
            baseline: Tally::new(400, 1),
            candidate: Tally::new(300, bad),
        }
    }

    #[test]
    fn a_report_names_release_endpoint_template_and_span_with_numbers() {
        let problem = problem();
        let changes = [ChangeEvent {
            at: Timestamp(58_000),
            kind: ChangeKind::Deploy,
            service: scope().service,
            release: scope().release,
            text: "traffic switched to blocks-r2".to_owned(),
        }];
        let class = classify(
            &problem,
            &Context {
                changes: &changes,
                ..Context::default()
            },
        );
        assert_eq!(class.class, Class::BadRelease);
        let (release, endpoints) = (
            scope().release,
            [endpoint("POST /sync", 90), endpoint("GET /blocks", 1)],
        );
        let material = Material {
            release: release.as_ref(),
            endpoints: &endpoints,
            changes: &changes,
            verdict: None,
        };
        let report = report(&problem, &class, &material);
        for kind in [
            CauseKind::Release,
            CauseKind::Endpoint,
            CauseKind::LogTemplate,
            CauseKind::Span,
        ] {
            let cause = report.causes.iter().find(|c| c.kind == kind);
            assert!(
                cause.is_some_and(|c| !c.figures.is_empty()),
                "{kind:?} in {report:?}"
            );
        }
        assert!(!report.causes.iter().any(|c| c.subject == "GET /blocks"));
        let text = report.render();
        for part in [
            "blocks-r2",
            "30 % of its requests (90 of 300)",
            "88 lines",
            "140 ms",
            "2.00 s before",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
