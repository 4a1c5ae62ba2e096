//! The one shape in which every detector reports what it found.

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, ReleaseId, ServiceName, Timestamp};

/// Which of the four telemetry signals, or the verdict over the proxy's counts, spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Exact counts of requests from the proxy, by way of a verdict.
    Verdict,
    /// Metric series.
    Metrics,
    /// Log lines.
    Logs,
    /// Spans.
    Traces,
    /// Changes and heartbeats.
    Events,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A release judged worse than the one before it.
    Regression,
    /// A series far from where its season and recent past put it.
    Outlier,
    /// A series that moved to another level and stays there.
    ChangePoint,
    /// A series over a limit that its owner named (disk full, memory near its maximum).
    Exhaustion,
    /// A log template never seen before this release.
    NewTemplate,
    /// A log template that comes far more often than it did.
    SurgingTemplate,
    /// An operation that takes longer in the candidate.
    SlowSpan,
    /// An operation that fails more often in the candidate.
    FailingSpan,
    /// A call that only the candidate makes.
    NewSpan,
    /// A call that the candidate no longer makes.
    MissingSpan,
    /// Something that should report and does not.
    MissingHeartbeat,
    /// An instance that keeps on ending and being started again.
    CrashLoop,
}

impl Kind {
    /// The kind in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Regression => "regression",
            Kind::Outlier => "outlier",
            Kind::ChangePoint => "change point",
            Kind::Exhaustion => "exhaustion",
            Kind::NewTemplate => "new log template",
            Kind::SurgingTemplate => "surging log template",
            Kind::SlowSpan => "slow span",
            Kind::FailingSpan => "failing span",
            Kind::NewSpan => "new span",
            Kind::MissingSpan => "missing span",
            Kind::MissingHeartbeat => "missing heartbeat",
            Kind::CrashLoop => "crash loop",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One finding of one detector, with its evidence in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// When it was found.
    pub at: Timestamp,
    /// When it began, as far as the detector can tell; at or before `at`.
    pub onset: Timestamp,
    /// The signal it was found in.
    pub signal: Signal,
    /// What was found.
    pub kind: Kind,
    /// The service concerned; none for the host.
    pub service: Option<ServiceName>,
    /// The environment concerned.
    pub environment: Option<EnvironmentName>,
    /// The release that is suspected, when the finding is tied to one.
    pub release: Option<ReleaseId>,
    /// What it was found in: a series' labels, a template's text, an operation.
    pub subject: String,
    /// How sure and how strong, 0 to 1: 0.5 is the detector's own threshold, 1 is beyond doubt.
    pub score: f64,
    /// What was measured, in `unit`.
    pub observed: f64,
    /// What was expected, in `unit`.
    pub expected: f64,
    /// The unit of both: `ms`, `%`, `/s`, `count` …
    pub unit: String,
    /// The finding as a sentence for people.
    pub text: String,
}

/// Where findings belong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The service concerned.
    pub service: Option<ServiceName>,
    /// The environment concerned.
    pub environment: Option<EnvironmentName>,
    /// The release that is suspected.
    pub release: Option<ReleaseId>,
}

impl Scope {
    /// An anomaly of this scope, still without its subject and numbers.
    pub fn anomaly(&self, signal: Signal, kind: Kind, at: Timestamp, onset: Timestamp) -> Anomaly {
        Anomaly {
            at,
            onset: onset.min(at),
            signal,
            kind,
            service: self.service.clone(),
            environment: self.environment.clone(),
            release: self.release.clone(),
            subject: String::new(),
            score: 0.0,
            observed: 0.0,
            expected: 0.0,
            unit: String::new(),
            text: String::new(),
        }
    }
}

impl Anomaly {
    /// This anomaly with its subject, score, numbers (observed, expected, unit) and sentence.
    pub fn with(self, subject: String, score: f64, numbers: (f64, f64, &str), text: String) -> Self {
        Anomaly {
            subject,
            score: score.clamp(0.0, 1.0),
            observed: numbers.0,
            expected: numbers.1,
            unit: numbers.2.to_owned(),
            text,
            ..self
        }
    }
}

/// A score from the logarithm of evidence: 0.5 at evidence of 100, towards 1 beyond.
pub(crate) fn score_of(log_e: f64) -> f64 {
    1.0 - 0.5f64.powf(log_e.max(0.0) / 100f64.ln())
}

/// What sort of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A release is at fault; going back to the one before it would help.
    BadRelease,
    /// CPU, memory, disk, connections or descriptors ran out.
    ResourceExhaustion,
    /// Something the service calls fails or is slow.
    DependencyFailure,
    /// More traffic than usual.
    TrafficSurge,
    /// A change of configuration or of a flag, not of code.
    ConfigurationChange,
    /// Bad data, or the host, disk or network under the service.
    DataOrInfrastructure,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 6] = [
        Class::BadRelease,
        Class::ResourceExhaustion,
        Class::DependencyFailure,
        Class::TrafficSurge,
        Class::ConfigurationChange,
        Class::DataOrInfrastructure,
    ];

    /// The class in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::BadRelease => "bad release",
            Class::ResourceExhaustion => "resource exhaustion",
            Class::DependencyFailure => "dependency failure",
            Class::TrafficSurge => "traffic surge",
            Class::ConfigurationChange => "configuration change",
            Class::DataOrInfrastructure => "data or infrastructure fault",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
