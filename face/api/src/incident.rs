//! Incidents (E).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trimtab_model::Severity;

use crate::{Moment, TimelineEntry};

/// What kind of problem it is (C.D3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentClass {
    /// A release made it worse.
    BadRelease,
    /// Memory, disk, processor or connections run out.
    ResourceExhaustion,
    /// Something the service calls fails.
    DependencyFailure,
    /// More traffic than usual.
    TrafficSurge,
    /// A changed setting.
    ConfigurationChange,
    /// Data or the machines beneath.
    DataOrInfrastructure,
    /// Not yet told.
    Unknown,
}

/// How far an incident is, for colour and filters; `state_text` says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Open; Trimtab acts (E.8 to E.15).
    Acting,
    /// Open; waits for people.
    Open,
    /// Open; a person has seen it.
    Acknowledged,
    /// Open; a person has it, automatic actions are off.
    TakenOver,
    /// Fixed; the metrics are being verified.
    Verifying,
    /// Over; report, postmortem and learning are under way.
    WritingUp,
    /// Over.
    Resolved,
}

impl IncidentState {
    /// Still hurts or may.
    pub fn is_open(self) -> bool {
        !matches!(self, IncidentState::Resolved | IncidentState::WritingUp)
    }
}

/// An incident in lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentSummary {
    /// `incident-1`.
    pub id: String,
    /// One line: what is wrong.
    pub title: String,
    /// The service.
    pub service: String,
    /// Where.
    pub environment: String,
    /// How much it matters.
    #[schemars(with = "String")]
    pub severity: Severity,
    /// What kind of problem.
    pub class: IncidentClass,
    /// How far it is.
    pub state: IncidentState,
    /// One sentence for people.
    pub state_text: String,
    /// The release that is suspected.
    pub release: Option<String>,
    /// The rollout it happened in.
    pub rollout: Option<String>,
    /// When the first anomaly was seen.
    pub opened_at: Moment,
    /// When it was over.
    pub resolved_at: Option<Moment>,
    /// Who acknowledged it.
    #[serde(default)]
    pub acknowledged_by: Option<String>,
    /// A silence covers it.
    #[serde(default)]
    pub silenced: bool,
}

/// One ranked cause (E.18).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// From 1, the likeliest first.
    pub rank: u32,
    /// What: `release`, `endpoint`, `log template`, `span`, `resource`, `change`, ….
    pub kind: String,
    /// Its name, for example `GET /blocks/search`.
    pub subject: String,
    /// What was found, in words.
    pub text: String,
    /// The number that shows it, for example `12.4 % errors against 0.1 %`.
    pub figure: String,
    /// How sure, 0 to 1.
    pub confidence: Option<f64>,
    /// Path of the page that shows more (a trace, a log search).
    #[serde(default)]
    pub link: Option<String>,
}

/// A proposed fix (E.23).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// What to do.
    pub text: String,
    /// Why it should help.
    pub reason: String,
    /// The command that does it, if there is one.
    #[serde(default)]
    pub command: Option<String>,
}

/// What it cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Impact {
    /// Requests that failed because of it.
    pub requests_failed: Option<u64>,
    /// Users that met it.
    pub users: Option<u64>,
    /// Share of the window's error budget that it burnt, in per cent.
    pub budget_percent: Option<f64>,
    /// How long users felt it, in milliseconds.
    pub duration_ms: Option<u64>,
}

/// Something Trimtab or a person did about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TakenAction {
    /// When it began.
    pub at: Moment,
    /// What, in words.
    pub text: String,
    /// What came of it, in words; empty while under way.
    pub outcome: String,
    /// It helped; none while under way.
    pub succeeded: Option<bool>,
    /// Who.
    pub by: String,
}

/// What the models learnt (E.28 to E.30).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LearningChange {
    /// It was taken; refused when false alarms would rise.
    pub accepted: bool,
    /// What changes, or why it was refused, in one sentence.
    pub text: String,
    /// Each changed figure of the models: what, before, after.
    pub changes: Vec<(String, String, String)>,
    /// Replayed episodes found before and after.
    pub found_before: Option<u64>,
    /// Replayed episodes found after.
    pub found_after: Option<u64>,
    /// Replayed episodes in all.
    pub episodes: Option<u64>,
    /// Median delay to detection before, in milliseconds.
    pub delay_before_ms: Option<f64>,
    /// Median delay to detection after, in milliseconds.
    pub delay_after_ms: Option<f64>,
    /// False alarms on recorded clean traffic before.
    pub false_alarms_before: Option<u64>,
    /// False alarms on recorded clean traffic after.
    pub false_alarms_after: Option<u64>,
}

/// What a silence covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SilenceOf {
    /// Only this incident.
    pub incident: Option<String>,
    /// Everything of this service.
    pub service: Option<String>,
    /// Only in this environment.
    pub environment: Option<String>,
}

/// No notifications about something, until an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// What it covers.
    pub of: SilenceOf,
    /// Who set it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
}

/// An incident with everything about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: IncidentSummary,
    /// What it cost so far.
    #[serde(default)]
    pub impact: Impact,
    /// What was seen and done, newest first, with people's comments.
    pub timeline: Vec<TimelineEntry>,
    /// Ranked causes.
    #[serde(default)]
    pub causes: Vec<Cause>,
    /// Proposed fixes.
    #[serde(default)]
    pub proposals: Vec<Proposal>,
    /// Actions taken.
    #[serde(default)]
    pub actions: Vec<TakenAction>,
    /// The postmortem as Markdown, once written.
    #[serde(default)]
    pub postmortem: Option<String>,
    /// What was learnt, once it was.
    #[serde(default)]
    pub learning: Option<LearningChange>,
    /// Silences that cover it.
    #[serde(default)]
    pub silences: Vec<Silence>,
}

/// Which incidents to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IncidentQuery {
    /// Only of this service.
    pub service: Option<String>,
    /// Only open ones.
    pub open: Option<bool>,
    /// At most so many; 50 when absent.
    pub limit: Option<usize>,
}
