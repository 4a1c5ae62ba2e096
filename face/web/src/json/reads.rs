//! What is read.

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;
use trimtab_api as api;

use crate::auth::Caller;
use crate::failure::Failed;
use crate::state::App;

type Answer<T> = Result<Json<T>, Failed>;

/// Most rows that one answer holds.
const ROWS_MAX: usize = 5_000;

/// A limit as asked for, within what is given out.
fn limit(asked: Option<usize>, usual: usize) -> Option<usize> {
    Some(asked.unwrap_or(usual).clamp(1, ROWS_MAX))
}

pub(crate) async fn livez() -> &'static str {
    "ok"
}

pub(crate) async fn openapi() -> Json<Value> {
    Json(api::openapi())
}

pub(crate) async fn whoami(Extension(caller): Extension<Caller>) -> Json<api::WhoAmI> {
    Json(api::WhoAmI {
        principal: caller.principal,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

macro_rules! plain_reads {
    ($($name:ident -> $answer:ty;)*) => {
        $(pub(crate) async fn $name(State(app): State<App>) -> Answer<$answer> {
            Ok(Json(app.backend.$name().await?))
        })*
    };
}

plain_reads! {
    health -> api::Health;
    status -> api::Status;
    doctor -> api::Doctor;
    services -> Vec<api::Service>;
    silences -> Vec<api::Silence>;
    approvals -> Vec<api::Approval>;
    merge_requests -> Vec<api::MergeRequest>;
    tokens -> Vec<api::Token>;
}

macro_rules! reads_by_id {
    ($($name:ident -> $answer:ty;)*) => {
        $(pub(crate) async fn $name(State(app): State<App>, Path(id): Path<String>) -> Answer<$answer> {
            Ok(Json(app.backend.$name(&id).await?))
        })*
    };
}

reads_by_id! {
    run -> api::Run;
    release -> api::Release;
    rollout -> api::Rollout;
    group -> api::Group;
    incident -> api::Incident;
    trace -> api::Trace;
}

macro_rules! reads_by_query {
    ($($name:ident: $query:ident, $usual:literal -> $answer:ty;)*) => {
        $(pub(crate) async fn $name(State(app): State<App>, Query(mut query): Query<api::$query>) -> Answer<$answer> {
            query.limit = limit(query.limit, $usual);
            Ok(Json(app.backend.$name(query).await?))
        })*
    };
}

reads_by_query! {
    runs: RunQuery, 50 -> Vec<api::RunSummary>;
    rollouts: RolloutQuery, 50 -> Vec<api::RolloutSummary>;
    incidents: IncidentQuery, 50 -> Vec<api::IncidentSummary>;
    notifications: NotificationQuery, 100 -> Vec<api::Delivery>;
    timeline: TimelineQuery, 100 -> Vec<api::TimelineEntry>;
    logs: LogQuery, 200 -> api::LogPage;
    spans: SpanQuery, 100 -> api::SpanPage;
}

pub(crate) async fn groups(State(app): State<App>) -> Answer<Vec<api::Group>> {
    Ok(Json(app.backend.groups().await?))
}

pub(crate) async fn roll_back_forecast(
    State(app): State<App>,
    Query(query): Query<api::RollBackRequest>,
) -> Answer<api::RollBackForecast> {
    Ok(Json(app.backend.roll_back_forecast(query).await?))
}

pub(crate) async fn forecast(
    State(app): State<App>,
    Query(query): Query<api::ForecastQuery>,
) -> Answer<api::RolloutForecast> {
    Ok(Json(app.backend.forecast(query).await?))
}

pub(crate) async fn dashboard(
    State(app): State<App>,
    Query(query): Query<api::DashboardQuery>,
) -> Answer<api::Dashboard> {
    let dashboard = app.dashboards.get(app.backend.as_ref(), query).await?;
    Ok(Json(dashboard.as_ref().clone()))
}

pub(crate) async fn markers(
    State(app): State<App>,
    Query(query): Query<api::MarkerQuery>,
) -> Answer<api::Markers> {
    Ok(Json(app.backend.markers(query).await?))
}

pub(crate) async fn service(State(app): State<App>, Path(id): Path<String>) -> Answer<api::Service> {
    let services = app.backend.services().await?;
    let found = services.into_iter().find(|service| service.name == id);
    Ok(Json(found.ok_or_else(|| api::Fault::not_found("service", &id))?))
}

pub(crate) async fn run_log(
    State(app): State<App>,
    Path((id, stage)): Path<(String, String)>,
    Query(mut query): Query<api::RunLogQuery>,
) -> Answer<api::RunLog> {
    query.limit = limit(query.limit, 2_000);
    Ok(Json(app.backend.run_log(&id, &stage, query).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OfService {
    service: Option<String>,
}

pub(crate) async fn releases(
    State(app): State<App>,
    Query(of): Query<OfService>,
) -> Answer<Vec<api::Release>> {
    Ok(Json(app.backend.releases(of.service.as_deref()).await?))
}
