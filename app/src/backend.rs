//! What the faces ask, answered from the world.

mod access;
mod charts;
mod commands;
mod entrances;
mod figures;
mod flags;
mod forecasts;
mod forge;
mod groups;
mod health;
mod incidents;
mod markers;
mod overview;
mod phases;
mod places;
mod proxy;
mod quality;
mod reports;
mod rollouts;
mod runs;
mod scaling;
mod scores;
mod signals;
mod story;
mod trial;
mod ways_back;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::sync::broadcast;
use trimtab_api as api;
use trimtab_api::{Command, Done, Fault, FaultCode, Moment, Principal, Topic};
use trimtab_control::clock;
use trimtab_control::world::World;
use trimtab_journal::{Expected, NewEvent, StoredEvent};
use trimtab_model::{Actor, Role, ServiceName, Timestamp};
use trimtab_telemetry::promql::Value;
use trimtab_web::{Backend, TokenHash};

use access::Tokens;

/// Topics kept for a receiver that is slow; one that lags further reads everything again.
const TOPICS_MAX: usize = 1024;
/// Rows of a list when the asker names no limit.
const ROWS_DEFAULT: usize = 50;
/// Most rows of a list.
const ROWS_MAX: usize = 1000;
/// Events read at a time from the journal.
const EVENTS_PER_READ: u64 = 500;

/// The program as the pages and the API see it.
pub(crate) struct AppBackend {
    world: Arc<World>,
    tokens: Tokens,
    topics: broadcast::Sender<Topic>,
    started_at: Timestamp,
    /// Values that look far back, by their query.
    seldom: Mutex<BTreeMap<String, (Timestamp, Option<Value>)>>,
    /// Who asked for each run.
    starters: Mutex<BTreeMap<String, String>>,
}

impl AppBackend {
    /// Folds the tokens from the journal and begins to tell of changes; the hosts of `world` must be
    /// set.
    pub(crate) async fn open(world: Arc<World>) -> Result<Arc<Self>, Fault> {
        let tokens = Tokens::open(&world.journal).await?;
        let (topics, _) = broadcast::channel(TOPICS_MAX);
        tokio::spawn(story::tell_changes(world.journal.clone(), topics.clone()));
        tokio::spawn(story::tell_deliveries(world.outbox.subscribe(), topics.clone()));
        Ok(Arc::new(Self {
            world,
            tokens,
            topics,
            started_at: clock::now(),
            seldom: Mutex::default(),
            starters: Mutex::default(),
        }))
    }

    /// Keeps a token that the program itself made, unless its hash is known already.
    pub(crate) async fn ensure_token(
        &self,
        name: &str,
        role: Role,
        secret_hash: TokenHash,
    ) -> Result<(), Fault> {
        if self.tokens.find(&secret_hash, clock::now()).is_some() {
            return Ok(());
        }
        let new = api::NewToken {
            name: name.to_owned(),
            role,
            days: None,
        };
        self.tokens
            .create(&self.world.journal, Actor::trimtab(), new, secret_hash)
            .await
            .map(drop)
    }

    async fn write(
        &self,
        stream: &str,
        kind: &str,
        by: Actor,
        body: serde_json::Value,
    ) -> Result<Vec<StoredEvent>, Fault> {
        let event = NewEvent::new(stream, kind, clock::now(), by, body);
        let written = self.world.journal.append(Expected::Any, vec![event]).await;
        written.map_err(unavailable)
    }

    async fn stream(&self, name: &str) -> Result<Vec<StoredEvent>, Fault> {
        self.world.journal.read_stream(name, 0).await.map_err(unavailable)
    }

    fn services_known(&self) -> Vec<ServiceName> {
        let mut all: Vec<ServiceName> = self
            .world
            .repositories
            .iter()
            .map(|r| r.service.clone())
            .collect();
        all.extend(self.world.releases.all().into_iter().map(|r| r.release.service));
        all.sort();
        all.dedup();
        all
    }
}

fn unavailable(error: impl std::fmt::Display) -> Fault {
    Fault::new(
        FaultCode::Unavailable,
        error.to_string(),
        "look at the server's log, or run `trimtab doctor`",
    )
}

fn actor(by: &Principal) -> Actor {
    Actor(by.name.clone())
}

fn moment(at: Timestamp) -> Moment {
    Moment(at)
}

fn rows(limit: Option<usize>) -> usize {
    limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX)
}

#[async_trait]
impl Backend for AppBackend {
    async fn authenticate(&self, token: &TokenHash) -> Result<Option<Principal>, Fault> {
        Ok(self.tokens.find(token, clock::now()))
    }
    async fn tokens(&self) -> Result<Vec<api::Token>, Fault> {
        Ok(self.tokens.list())
    }
    async fn create_token(
        &self,
        by: &Principal,
        new: api::NewToken,
        hash: TokenHash,
    ) -> Result<api::Token, Fault> {
        self.tokens
            .create(&self.world.journal, actor(by), new, hash)
            .await
    }
    async fn health(&self) -> Result<api::Health, Fault> {
        self.overall_health(None, trimtab_control::world::PRODUCTION)
            .await
    }
    async fn status(&self) -> Result<api::Status, Fault> {
        let mut runs = self.run_list(&api::RunQuery::default()).await?;
        runs.retain(|run| run.finished_at.is_none());
        let under_way = api::RolloutQuery {
            active: Some(true),
            ..api::RolloutQuery::default()
        };
        let open = api::IncidentQuery {
            open: Some(true),
            ..api::IncidentQuery::default()
        };
        Ok(api::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: moment(self.started_at),
            health: self.health().await?,
            services: self.services().await?,
            runs,
            rollouts: self.rollout_list(&under_way),
            incidents: self.incident_list(&open).await?,
            approvals: self.approval_list(),
        })
    }
    async fn doctor(&self) -> Result<api::Doctor, Fault> {
        self.examine().await
    }
    async fn dashboard(&self, query: api::DashboardQuery) -> Result<api::Dashboard, Fault> {
        self.overview(query).await
    }
    async fn services(&self) -> Result<Vec<api::Service>, Fault> {
        self.service_list().await
    }
    async fn runs(&self, query: api::RunQuery) -> Result<Vec<api::RunSummary>, Fault> {
        self.run_list(&query).await
    }
    async fn run(&self, id: &str) -> Result<api::Run, Fault> {
        self.one_run(id).await
    }
    async fn run_log(&self, id: &str, stage: &str, query: api::RunLogQuery) -> Result<api::RunLog, Fault> {
        self.stage_log(id, stage, query).await
    }
    async fn releases(&self, service: Option<&str>) -> Result<Vec<api::Release>, Fault> {
        self.release_list(service).await
    }
    async fn release(&self, id: &str) -> Result<api::Release, Fault> {
        let all = self.release_list(None).await?;
        let found = all.into_iter().find(|release| release.id == id);
        found.ok_or_else(|| Fault::not_found("release", id))
    }
    async fn rollouts(&self, query: api::RolloutQuery) -> Result<Vec<api::RolloutSummary>, Fault> {
        Ok(self.rollout_list(&query))
    }
    async fn rollout(&self, id: &str) -> Result<api::Rollout, Fault> {
        self.one_rollout(id).await
    }
    async fn groups(&self) -> Result<Vec<api::Group>, Fault> {
        Ok(self.group_list())
    }
    async fn group(&self, id: &str) -> Result<api::Group, Fault> {
        self.one_group(id)
    }
    async fn forecast(&self, query: api::ForecastQuery) -> Result<api::RolloutForecast, Fault> {
        self.forecast_of_next(&query).await
    }
    async fn roll_back_forecast(&self, query: api::RollBackRequest) -> Result<api::RollBackForecast, Fault> {
        self.forecast_of_roll_back(&query).await
    }
    async fn incidents(&self, query: api::IncidentQuery) -> Result<Vec<api::IncidentSummary>, Fault> {
        self.incident_list(&query).await
    }
    async fn incident(&self, id: &str) -> Result<api::Incident, Fault> {
        self.one_incident(id).await
    }
    async fn silences(&self) -> Result<Vec<api::Silence>, Fault> {
        self.silences_in_force().await
    }
    async fn approvals(&self) -> Result<Vec<api::Approval>, Fault> {
        Ok(self.approval_list())
    }
    async fn notifications(&self, query: api::NotificationQuery) -> Result<Vec<api::Delivery>, Fault> {
        self.deliveries(&query).await
    }
    async fn markers(&self, query: api::MarkerQuery) -> Result<api::Markers, Fault> {
        self.marked(&query).await
    }
    async fn timeline(&self, query: api::TimelineQuery) -> Result<Vec<api::TimelineEntry>, Fault> {
        self.told(&query).await
    }
    async fn merge_requests(&self) -> Result<Vec<api::MergeRequest>, Fault> {
        self.merge_request_list().await
    }
    async fn logs(&self, query: api::LogQuery) -> Result<api::LogPage, Fault> {
        self.log_page(query).await
    }
    async fn tail(&self, query: api::LogQuery) -> Result<BoxStream<'static, api::LogLine>, Fault> {
        self.log_tail(&query)
    }
    async fn spans(&self, query: api::SpanQuery) -> Result<api::SpanPage, Fault> {
        self.span_page(query).await
    }
    async fn trace(&self, id: &str) -> Result<api::Trace, Fault> {
        self.one_trace(id).await
    }
    async fn query(&self, promql: &str, at: Timestamp) -> Result<api::QueryResult, Fault> {
        self.instant(promql, at).await
    }
    async fn query_range(
        &self,
        promql: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: u64,
    ) -> Result<Vec<api::MatrixSeries>, Fault> {
        self.matrix(promql, start, end, step_ms).await
    }
    async fn label_names(&self) -> Result<Vec<String>, Fault> {
        self.world.series.label_names().await.map_err(unavailable)
    }
    async fn label_values(&self, label: &str) -> Result<Vec<String>, Fault> {
        self.world.series.label_values(label).await.map_err(unavailable)
    }
    async fn command(&self, by: &Principal, command: Command) -> Result<Done, Fault> {
        self.obey(by, command).await
    }
    async fn git_hook(&self, by: &Principal, hook: api::GitHook) -> Result<Done, Fault> {
        self.take_hook(by, hook).await
    }
    async fn feedback(&self, by: &Principal, feedback: api::NewFeedback) -> Result<Done, Fault> {
        self.take_feedback(by, feedback).await
    }
    async fn audit(&self, by: &Principal, act: &str) -> Result<(), Fault> {
        let body = serde_json::json!({ "act": act, "role": by.role });
        self.write("audit", "audit.act", actor(by), body).await.map(drop)
    }
    fn changes(&self) -> broadcast::Receiver<Topic> {
        self.topics.subscribe()
    }
}
