//! What the pages and the API need from the rest of the program: the one seam.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use trimtab_api as api;
use trimtab_api::{Command, Done, Fault, Principal, Topic};
use trimtab_model::Timestamp;

use crate::flags::FlagBackend;

/// SHA-256 of a token's text: all that is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// The hash of a token as its owner sends it.
    pub fn of(token: &str) -> Self {
        TokenHash(Sha256::digest(token.as_bytes()).into())
    }

    /// As 64 lower-case hex digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// From 64 hex digits; none when the text is something else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(TokenHash(bytes))
    }
}

/// What the faces ask of the program. Reads answer what is known now; [`Backend::command`] answers
/// once the command is journalled. Every failure is a [`Fault`] that people can read.
///
/// Roles are checked before a method is called; states are checked by whoever implements it
/// ([`api::FaultCode::Conflict`]).
#[async_trait]
pub trait Backend: FlagBackend {
    // Who asks.

    /// Whose token this is; none when it is unknown, revoked or expired. Called on every request.
    async fn authenticate(&self, token: &TokenHash) -> Result<Option<Principal>, Fault>;
    /// Tokens, newest first.
    async fn tokens(&self) -> Result<Vec<api::Token>, Fault>;
    /// Keeps a new token; its secret was made by the caller and only the hash is given.
    async fn create_token(
        &self,
        by: &Principal,
        new: api::NewToken,
        hash: TokenHash,
    ) -> Result<api::Token, Fault>;

    // What is.

    /// Overall health: a pure function of what is known.
    async fn health(&self) -> Result<api::Health, Fault>;
    /// Everything under way, in short.
    async fn status(&self) -> Result<api::Status, Fault>;
    /// Self-examination.
    async fn doctor(&self) -> Result<api::Doctor, Fault>;
    /// Figures and charts of the overview. Asked about once a second per viewed query, and shared
    /// between tabs.
    async fn dashboard(&self, query: api::DashboardQuery) -> Result<api::Dashboard, Fault>;
    /// Deployments, roll-backs and incidents, to mark on charts.
    async fn markers(&self, query: api::MarkerQuery) -> Result<api::Markers, Fault>;
    /// Every service with where it runs.
    async fn services(&self) -> Result<Vec<api::Service>, Fault>;
    /// Runs, newest first.
    async fn runs(&self, query: api::RunQuery) -> Result<Vec<api::RunSummary>, Fault>;
    /// One run.
    async fn run(&self, id: &str) -> Result<api::Run, Fault>;
    /// Part of a stage's log.
    async fn run_log(&self, id: &str, stage: &str, query: api::RunLogQuery) -> Result<api::RunLog, Fault>;
    /// Releases of all services or one, newest first.
    async fn releases(&self, service: Option<&str>) -> Result<Vec<api::Release>, Fault>;
    /// One release.
    async fn release(&self, id: &str) -> Result<api::Release, Fault>;
    /// Rollouts, newest first.
    async fn rollouts(&self, query: api::RolloutQuery) -> Result<Vec<api::RolloutSummary>, Fault>;
    /// One rollout.
    async fn rollout(&self, id: &str) -> Result<api::Rollout, Fault>;
    /// Services released together, newest first.
    async fn groups(&self) -> Result<Vec<api::Group>, Fault>;
    /// One of them.
    async fn group(&self, id: &str) -> Result<api::Group, Fault>;
    /// What the steps of a service's next rollout are expected to tell.
    async fn forecast(&self, query: api::ForecastQuery) -> Result<api::RolloutForecast, Fault>;
    /// Where a way back leads and how long it takes.
    async fn roll_back_forecast(&self, query: api::RollBackRequest) -> Result<api::RollBackForecast, Fault>;
    /// Incidents, newest first.
    async fn incidents(&self, query: api::IncidentQuery) -> Result<Vec<api::IncidentSummary>, Fault>;
    /// One incident.
    async fn incident(&self, id: &str) -> Result<api::Incident, Fault>;
    /// Silences in force.
    async fn silences(&self) -> Result<Vec<api::Silence>, Fault>;
    /// Gates that wait.
    async fn approvals(&self) -> Result<Vec<api::Approval>, Fault>;
    /// The outbox, newest first.
    async fn notifications(&self, query: api::NotificationQuery) -> Result<Vec<api::Delivery>, Fault>;
    /// The timeline, newest first.
    async fn timeline(&self, query: api::TimelineQuery) -> Result<Vec<api::TimelineEntry>, Fault>;
    /// Merge requests, newest first.
    async fn merge_requests(&self) -> Result<Vec<api::MergeRequest>, Fault>;

    // Signals.

    /// Log search.
    async fn logs(&self, query: api::LogQuery) -> Result<api::LogPage, Fault>;
    /// Log lines as they come. The stream may drop lines when its reader is slow, and ends when the
    /// server does.
    async fn tail(&self, query: api::LogQuery) -> Result<BoxStream<'static, api::LogLine>, Fault>;
    /// Span search.
    async fn spans(&self, query: api::SpanQuery) -> Result<api::SpanPage, Fault>;
    /// One trace by its 32 hex digits.
    async fn trace(&self, id: &str) -> Result<api::Trace, Fault>;
    /// PromQL at one time.
    async fn query(&self, promql: &str, at: Timestamp) -> Result<api::QueryResult, Fault>;
    /// PromQL over a time, both ends included.
    async fn query_range(
        &self,
        promql: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: u64,
    ) -> Result<Vec<api::MatrixSeries>, Fault>;
    /// Names of all labels.
    async fn label_names(&self) -> Result<Vec<String>, Fault>;
    /// Values of one label (`__name__` lists the metrics).
    async fn label_values(&self, label: &str) -> Result<Vec<String>, Fault>;

    // What people want.

    /// Takes a command: checks that the state allows it, journals it, answers.
    async fn command(&self, by: &Principal, command: Command) -> Result<Done, Fault>;
    /// Takes what the forge tells.
    async fn git_hook(&self, by: &Principal, hook: api::GitHook) -> Result<Done, Fault>;
    /// Takes a user's score; the score is within 1 to 5.
    async fn feedback(&self, by: &Principal, feedback: api::NewFeedback) -> Result<Done, Fault>;
    /// Puts an act that is no command (a session begun or ended) into the audit log.
    async fn audit(&self, by: &Principal, act: &str) -> Result<(), Fault>;

    // What changes.

    /// Tells of every change, as it happens. A topic is a hint to read again: telling too often is
    /// harmless, and a receiver that lags reads everything again.
    fn changes(&self) -> broadcast::Receiver<Topic>;
}
