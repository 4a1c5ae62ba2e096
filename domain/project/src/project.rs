//! `trimtab.yaml`: how a service is built, tested, run and shipped.

mod flag;
mod freeze;
mod hook;
mod production;
mod reading;
mod route;
mod run;
mod schedule;
mod strategy;
mod verdict;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use trimtab_model::{Role, ServiceName};

pub use flag::FlagRollout;
pub use freeze::{Freeze, Weekday};
pub(crate) use hook::host_and_port;
pub use hook::{Expect, HOOK_PAUSE_MAX, HttpHook, Job, Method};
pub use reading::parse;
pub use route::{Ejection, Protocol, RateLimit, Route, Tester};
pub use run::{Ask, Health, INSTANCES_MAX, Limits, Liveness, Network, Overlap, Run, RunKind};
pub use schedule::Schedule;
pub use strategy::Portion;
pub use verdict::{Absences, Absent, Direction, MetricSettings, Tolerance, VerdictMetric};

use crate::{Percent, Period};
use run::Variable;

/// How a service is built, tested, run and shipped: the whole of `trimtab.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Project {
    /// The service's name.
    #[schemars(with = "String")]
    pub service: ServiceName,
    /// What is run in the checkout to get an artifact.
    pub pipeline: Pipeline,
    /// How an instance runs.
    pub run: Run,
    /// What follows the rollout to staging; without it there is no staging.
    pub staging: Option<Staging>,
    /// How production is rolled out to.
    pub production: Production,
    /// What counts as good service.
    pub objectives: Objectives,
    /// Figures of the team's own on the dashboard; at most five.
    pub business: Vec<BusinessMetric>,
    /// Queries for two figures that only the application knows.
    pub application: Application,
    /// What Trimtab may do by itself.
    pub actions: Actions,
}

/// What is run in the checkout to get an artifact; a stage left out is skipped.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Pipeline {
    /// Fetches dependencies.
    pub install: Option<Command>,
    /// Compiles.
    pub build: Option<Command>,
    /// Unit tests.
    pub unit: Option<Command>,
    /// Integration tests.
    pub integration: Option<Command>,
    /// End-to-end tests.
    pub e2e: Option<Command>,
    /// What is packed.
    pub artifact: Artifact,
}

/// A command: one shell line, or `{run, timeout, env, user}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Command {
    /// The shell line.
    pub run: String,
    /// When it is killed.
    pub timeout: Period,
    /// Variables added to its environment: a value, or `{secret: NAME}` for one of the server's secrets.
    #[schemars(with = "BTreeMap<String, Variable>")]
    pub env: BTreeMap<String, String>,
    /// Variables that are secrets of the server, by the secret's name.
    #[schemars(skip)]
    pub secrets: BTreeMap<String, String>,
    /// The user it runs as: `name`, `uid` or `uid:gid`. The server must allow it.
    pub user: Option<String>,
}

/// What is packed into the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Artifact {
    /// Files and folders, relative to the checkout.
    pub paths: Vec<String>,
}

/// A Prometheus scrape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Metrics {
    /// The path.
    pub path: String,
    /// Between scrapes.
    pub interval: Period,
}

/// What follows the rollout to staging. Commands get TARGET_URL; one left out is skipped.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Staging {
    /// Smoke tests.
    pub smoke: Option<Command>,
    /// Integration tests.
    pub integration: Option<Command>,
    /// Performance tests.
    pub performance: Option<Command>,
    /// Who must say yes; left out, nobody is asked.
    pub approval: Option<Approval>,
}

/// A wait for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Approval {
    /// The least role that may answer.
    #[schemars(with = "String")]
    pub role: Role,
    /// When silence counts as no.
    pub timeout: Period,
}

/// How production is rolled out to.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Production {
    /// How traffic goes over.
    pub strategy: StrategyName,
    /// Tests of the new release before any traffic; gets TARGET_URL.
    pub test: Option<Command>,
    /// The steps of a canary; all traffic follows the last.
    pub steps: Vec<Step>,
    /// How a rolling update replaces instances.
    pub rolling: Rolling,
    /// The flag that the release is rolled out behind.
    pub flag: Option<FlagRollout>,
    /// Jobs on the way.
    pub hooks: Hooks,
    /// When no traffic goes forward; at most 50.
    pub freezes: Vec<Freeze>,
    /// What stays on the previous release while the new one is watched.
    pub holdback: Percent,
    /// How long the new release is watched.
    pub watch: Period,
    /// How long requests on a release that lost its traffic may take to end.
    pub drain: Period,
    /// How long the previous release stays warm after that.
    pub decommission_after: Period,
    /// Which requests are the service's.
    pub route: Route,
    /// How the new release is judged.
    pub verdict: VerdictSettings,
}

/// How traffic goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyName {
    /// Beside the old, one switch, a watch with a holdback.
    BlueGreen,
    /// A few users first, then more, each step gated.
    Canary,
    /// Instances replaced batch by batch.
    Rolling,
    /// Deployed with a flag off, which then goes on for more and more users.
    Flag,
}

/// One step of a canary; a share alone is a step with that weight.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Step {
    /// The share of users on the new release.
    pub weight: Percent,
    /// How long it is watched.
    pub watch: Period,
    /// Requests that the new release must have answered in this step to be called healthy.
    pub requests_min: u64,
    /// What a watch without a verdict leads to; left out, what `verdict` says.
    pub on_inconclusive: Option<Inconclusive>,
    /// A command or a request that must pass after the watch; a command gets TARGET_URL.
    pub job: Option<Job>,
    /// True when a person must say yes after that.
    pub approval: bool,
    /// How long the step is held after that.
    pub pause: Period,
}

/// How a rolling update replaces instances.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Rolling {
    /// How many more than `instances` may run.
    pub surge_max: Portion,
    /// How many fewer than `instances` may serve.
    pub unavailable_max: Portion,
    /// How long a batch must be well before the next.
    pub ready_min: Period,
    /// How long a batch may take to start.
    pub progress: Period,
    /// What a batch without a verdict leads to.
    pub on_inconclusive: Inconclusive,
}

/// Jobs on the way: commands or requests. Commands get TRIMTAB_RELEASE, TRIMTAB_ENVIRONMENT and TRIMTAB_HOOK.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hooks {
    /// Before anything else.
    pub before: Option<Job>,
    /// Before the first instance: the migration that adds what the new release needs.
    pub expand: Option<Job>,
    /// After the previous release is gone: the migration that takes away what only it needed. Nothing
    /// leads back from there.
    pub contract: Option<Job>,
    /// After everything else; a command gets TARGET_URL.
    pub after: Option<Job>,
}

/// How a new release is judged against the previous one.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct VerdictSettings {
    /// The share of good releases that may be thrown out by mistake.
    pub alpha: Percent,
    /// How much worse counts as worse.
    pub tolerance: Percent,
    /// What a watch without a verdict leads to.
    pub on_inconclusive: Inconclusive,
    /// What a regression leads to.
    pub on_regressed: Regressed,
    /// Requests below which nothing is called healthy.
    pub requests_min: u64,
    /// What is done where a metric says nothing.
    #[serde(flatten)]
    pub absences: Absences,
    /// What failed requests lead to.
    pub errors: MetricSettings,
    /// What slow requests lead to.
    pub latency: MetricSettings,
    /// What requests answered with 4xx lead to.
    pub client_errors: MetricSettings,
    /// Metrics of the team's own; at most 20.
    pub metrics: Vec<VerdictMetric>,
}

/// What a regression leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Regressed {
    /// Traffic leaves at once; a restart is tried off-traffic, then it is rolled back.
    Protect,
    /// Roll back at once.
    Rollback,
    /// Leave traffic where it is and watch as long again; ask a person when that has not cleared it.
    Extend,
    /// Leave traffic where it is and ask a person.
    Ask,
    /// Only say that it would have been rolled back.
    Report,
}

/// What a watch without a verdict leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Inconclusive {
    /// Go on.
    Pass,
    /// Watch as long again, then ask.
    Extend,
    /// Ask a person.
    Ask,
    /// Roll back.
    Rollback,
    /// Go on, and tell the team.
    Report,
}

/// What counts as good service.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Objectives {
    /// The share of requests that must not fail.
    pub availability: Percent,
    /// The latency that counts as fast enough.
    pub latency: Period,
    /// The share of requests that must be as fast.
    pub latency_share: Percent,
    /// Apdex' target: up to it satisfied, up to four times it tolerating.
    pub apdex: Period,
    /// Over which time objectives are kept.
    pub window: Period,
}

/// A figure of the team's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BusinessMetric {
    /// Its name: lower-case letters, digits and '_'.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Its unit, for example `/h`.
    pub unit: String,
    /// The PromQL that gives one number.
    pub query: String,
}

/// Queries for two figures that only the application knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Application {
    /// PromQL for the number of active users.
    pub active_users: Option<String>,
    /// PromQL for database queries a second.
    pub database_queries: Option<String>,
}

/// What Trimtab may do by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Actions {
    /// False leaves every action to people.
    pub automatic: bool,
    /// True only says what would be done.
    pub dry_run: bool,
    /// Most actions within an hour.
    pub per_hour_max: u32,
    /// Between two actions on the service.
    pub cooldown: Period,
}

/// The JSON Schema of `trimtab.yaml`, for editors.
pub fn json_schema() -> serde_json::Value {
    crate::schema::strict_schema(schemars::schema_for!(Project).to_value())
}
