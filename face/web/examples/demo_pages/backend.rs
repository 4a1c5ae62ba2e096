//! A backend without a program behind it. Tokens: `viewer`, `developer`, `approver`, `operator`, `admin`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::broadcast;
use trimtab_api as api;
use trimtab_api::{Command, Done, Fault, Moment, Principal, Topic};
use trimtab_model::{Role, Timestamp};
use trimtab_web::{Backend, TokenHash};

use crate::{data, stories};

/// What it was asked to do, for tests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// By whom.
    pub by: String,
    /// What.
    pub command: Command,
}

/// Made-up data that moves with the clock.
pub(crate) struct Demo {
    empty: bool,
    changes: broadcast::Sender<Topic>,
    asked: Mutex<Vec<Asked>>,
    rolled_back: AtomicBool,
}

/// The present.
pub(crate) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::from_millis(since.as_millis() as i64)
}

impl Demo {
    /// With its story, or as a server that has seen nothing yet.
    pub(crate) fn new(empty: bool) -> Self {
        let (changes, _) = broadcast::channel(64);
        Demo {
            empty,
            changes,
            asked: Mutex::default(),
            rolled_back: AtomicBool::new(false),
        }
    }

    /// Tells that something changed.
    pub(crate) fn change(&self, topic: Topic) {
        let _ = self.changes.send(topic);
    }

    /// The rollout under way is rolled back, and everyone hears of it.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests ask"))]
    pub(crate) fn roll_back(&self) {
        self.rolled_back.store(true, Ordering::Relaxed);
        self.change(Topic::Rollout("rollout-4".to_owned()));
    }

    fn as_it_stands(&self, mut summary: api::RolloutSummary) -> api::RolloutSummary {
        if summary.id == "rollout-4" && self.rolled_back.load(Ordering::Relaxed) {
            summary.state = api::RolloutState::RolledBack;
            summary.state_text = "Rolled back: error rate 14.2 % against 0.1 %".to_owned();
            summary.candidate_percent = 0.0;
            summary.allowed = api::Allowed::default();
        }
        summary
    }

    /// Commands so far.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests ask"))]
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }

    fn unless_empty<T: Default>(&self, some: impl FnOnce() -> T) -> Result<T, Fault> {
        Ok(if self.empty { T::default() } else { some() })
    }

    fn find<T>(&self, what: &str, id: &str, all: Vec<T>, is: impl Fn(&T) -> bool) -> Result<T, Fault> {
        all.into_iter()
            .filter(|_| !self.empty)
            .find(is)
            .ok_or_else(|| Fault::not_found(what, id))
    }
}

fn done(message: &str) -> Result<Done, Fault> {
    Ok(Done {
        message: message.to_owned(),
        ..Done::default()
    })
}

#[async_trait]
impl trimtab_web::FlagBackend for Demo {
    async fn flag_sets(&self) -> Result<Vec<api::FlagSetSummary>, Fault> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Backend for Demo {
    async fn authenticate(&self, token: &TokenHash) -> Result<Option<Principal>, Fault> {
        let role = Role::ALL
            .into_iter()
            .find(|role| TokenHash::of(role.as_str()) == *token);
        Ok(role.map(|role| Principal {
            name: format!("{role}-person"),
            role,
            token: Some(format!("token-{role}")),
        }))
    }
    async fn tokens(&self) -> Result<Vec<api::Token>, Fault> {
        self.unless_empty(stories::tokens)
    }
    async fn create_token(
        &self,
        by: &Principal,
        new: api::NewToken,
        _: TokenHash,
    ) -> Result<api::Token, Fault> {
        Ok(api::Token {
            id: "token-9".into(),
            name: new.name,
            role: new.role,
            created_at: now(),
            created_by: by.name.clone(),
            expires_at: None,
            last_used_at: None,
        })
    }
    async fn health(&self) -> Result<api::Health, Fault> {
        Ok(data::health(self.empty))
    }
    async fn status(&self) -> Result<api::Status, Fault> {
        Ok(api::Status {
            version: "0.1.0".into(),
            started_at: now(),
            health: data::health(self.empty),
            services: self.services().await?,
            runs: self.runs(api::RunQuery::default()).await?,
            rollouts: self.rollouts(api::RolloutQuery::default()).await?,
            incidents: self.incidents(api::IncidentQuery::default()).await?,
            approvals: self.approvals().await?,
        })
    }
    async fn doctor(&self) -> Result<api::Doctor, Fault> {
        Ok(stories::doctor())
    }
    async fn dashboard(&self, query: api::DashboardQuery) -> Result<api::Dashboard, Fault> {
        let mut dashboard = data::dashboard(&query, self.empty);
        dashboard.rollouts = dashboard
            .rollouts
            .into_iter()
            .map(|summary| self.as_it_stands(summary))
            .collect();
        Ok(dashboard)
    }
    async fn services(&self) -> Result<Vec<api::Service>, Fault> {
        self.unless_empty(stories::services)
    }
    async fn runs(&self, _: api::RunQuery) -> Result<Vec<api::RunSummary>, Fault> {
        self.unless_empty(|| stories::runs().into_iter().map(|run| run.summary).collect())
    }
    async fn run(&self, id: &str) -> Result<api::Run, Fault> {
        self.find("run", id, stories::runs(), |run| run.summary.id == id)
    }
    async fn run_log(&self, _: &str, stage: &str, _: api::RunLogQuery) -> Result<api::RunLog, Fault> {
        Ok(stories::run_log(stage))
    }
    async fn releases(&self, _: Option<&str>) -> Result<Vec<api::Release>, Fault> {
        self.unless_empty(stories::releases)
    }
    async fn release(&self, id: &str) -> Result<api::Release, Fault> {
        self.find("release", id, stories::releases(), |release| release.id == id)
    }
    async fn rollouts(&self, _: api::RolloutQuery) -> Result<Vec<api::RolloutSummary>, Fault> {
        self.unless_empty(|| {
            stories::rollouts()
                .into_iter()
                .map(|rollout| self.as_it_stands(rollout.summary))
                .collect()
        })
    }
    async fn rollout(&self, id: &str) -> Result<api::Rollout, Fault> {
        let mut found = self.find("rollout", id, stories::rollouts(), |rollout| {
            rollout.summary.id == id
        })?;
        found.summary = self.as_it_stands(found.summary);
        Ok(found)
    }
    async fn incidents(&self, _: api::IncidentQuery) -> Result<Vec<api::IncidentSummary>, Fault> {
        self.unless_empty(|| {
            stories::incidents()
                .into_iter()
                .map(|incident| incident.summary)
                .collect()
        })
    }
    async fn incident(&self, id: &str) -> Result<api::Incident, Fault> {
        self.find("incident", id, stories::incidents(), |incident| {
            incident.summary.id == id
        })
    }
    async fn silences(&self) -> Result<Vec<api::Silence>, Fault> {
        Ok(vec![])
    }
    async fn approvals(&self) -> Result<Vec<api::Approval>, Fault> {
        self.unless_empty(stories::approvals)
    }
    async fn notifications(&self, _: api::NotificationQuery) -> Result<Vec<api::Delivery>, Fault> {
        self.unless_empty(stories::deliveries)
    }
    async fn markers(&self, query: api::MarkerQuery) -> Result<api::Markers, Fault> {
        let shown = data::dashboard(&api::DashboardQuery::default(), self.empty);
        let mut markers = shown.markers;
        markers.retain(|marker| query.from.is_none_or(|from| marker.at.0 >= from.0));
        Ok(api::Markers { markers })
    }
    async fn timeline(&self, _: api::TimelineQuery) -> Result<Vec<api::TimelineEntry>, Fault> {
        self.unless_empty(stories::timeline)
    }
    async fn groups(&self) -> Result<Vec<api::Group>, Fault> {
        self.unless_empty(|| vec![stories::rollouts::group()])
    }
    async fn group(&self, _: &str) -> Result<api::Group, Fault> {
        Ok(stories::rollouts::group())
    }
    async fn forecast(&self, _: api::ForecastQuery) -> Result<api::RolloutForecast, Fault> {
        Ok(stories::rollouts::before())
    }
    async fn roll_back_forecast(&self, query: api::RollBackRequest) -> Result<api::RollBackForecast, Fault> {
        Ok(stories::rollouts::forecast(&query))
    }
    async fn merge_requests(&self) -> Result<Vec<api::MergeRequest>, Fault> {
        self.unless_empty(stories::merge_requests)
    }
    async fn logs(&self, _: api::LogQuery) -> Result<api::LogPage, Fault> {
        let lines = if self.empty { vec![] } else { stories::log_lines() };
        Ok(api::LogPage {
            lines,
            truncated: !self.empty,
        })
    }
    async fn tail(&self, _: api::LogQuery) -> Result<BoxStream<'static, api::LogLine>, Fault> {
        let lines = stream::unfold(0_usize, |at| async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let lines = stories::log_lines();
            Some((lines[at % lines.len()].clone(), at + 1))
        });
        Ok(lines.boxed())
    }
    async fn spans(&self, _: api::SpanQuery) -> Result<api::SpanPage, Fault> {
        let spans = if self.empty { vec![] } else { stories::spans() };
        Ok(api::SpanPage {
            spans,
            truncated: false,
        })
    }
    async fn trace(&self, id: &str) -> Result<api::Trace, Fault> {
        self.find("trace", id, vec![stories::trace()], |trace| trace.trace_id == id)
    }
    async fn query(&self, _: &str, at: Timestamp) -> Result<api::QueryResult, Fault> {
        Ok(api::QueryResult::Scalar((at.as_seconds(), "1".into())))
    }
    async fn query_range(
        &self,
        promql: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: u64,
    ) -> Result<Vec<api::MatrixSeries>, Fault> {
        if promql.contains("bad(") {
            return Err(Fault::invalid(
                "failed to understand the query: unknown function bad at 1",
                "see docs/promql.md",
            ));
        }
        self.unless_empty(|| data::matrix(start, end, step_ms))
    }
    async fn label_names(&self) -> Result<Vec<String>, Fault> {
        Ok(vec!["__name__".into(), "service".into(), "release".into()])
    }
    async fn label_values(&self, _: &str) -> Result<Vec<String>, Fault> {
        self.unless_empty(|| {
            [
                "trimtab_requests_total",
                "trimtab_request_duration_seconds_bucket",
                "trimtab_host_cpu_percent",
                "trimtab_host_memory_used_bytes",
                "trimtab_probe_success",
                "blocks_created_total",
            ]
            .map(String::from)
            .to_vec()
        })
    }
    async fn command(&self, by: &Principal, command: Command) -> Result<Done, Fault> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(Asked {
                by: by.name.clone(),
                command,
            });
        }
        done("Accepted; it is on the timeline.")
    }
    async fn git_hook(&self, _: &Principal, _: api::GitHook) -> Result<Done, Fault> {
        done("Noted.")
    }
    async fn feedback(&self, _: &Principal, _: api::NewFeedback) -> Result<Done, Fault> {
        done("Thank you.")
    }
    async fn audit(&self, _: &Principal, _: &str) -> Result<(), Fault> {
        Ok(())
    }
    fn changes(&self) -> broadcast::Receiver<Topic> {
        self.changes.subscribe()
    }
}
