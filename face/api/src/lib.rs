//! Wire types of the HTTP API: what the server answers and what its clients send.
//!
//! Nothing here does I/O. Times are RFC 3339 text ([`Moment`]), ids are text, and unknown fields
//! are ignored by both sides, so that an older command line talks to a newer server. A figure that
//! is not known is `null`, never 0.

mod approval;
mod command;
mod dashboard;
mod doctor;
mod entrance;
mod fault;
mod feedback;
mod flags;
mod forecast;
mod forge;
mod group;
mod health;
mod incident;
mod live;
mod logs;
mod metrics;
mod moment;
mod notification;
mod openapi;
mod release;
mod rollback;
mod rollout;
pub mod routes;
mod run;
mod scale;
mod service;
mod timeline;
mod token;
mod traces;

pub use approval::Approval;
pub use command::{Command, Comment, DeployRequest, Done, SilenceRequest};
pub use dashboard::{
    Chart, ChartSeries, Dashboard, DashboardQuery, Figure, FigureGroup, FigureState, Marker, MarkerQuery,
    Markers,
};
pub use doctor::{Check, CheckState, Doctor};
pub use entrance::{EntranceMode, EntranceRequest, EntranceState};
pub use fault::{Fault, FaultCode};
pub use feedback::NewFeedback;
pub use flags::{
    FlagDetail, FlagKind, FlagSetDetail, FlagSetSummary, FlagShare, FlagUsers, FlagVerdict, FlagsChange,
    FlagsEntry, FlagsPast, FlagsUndo, OneFlag, StaleFlag, StaleQuery,
};
pub use forecast::{ForecastQuery, RolloutForecast, StepForecast};
pub use forge::{GitHook, GitHookKind, MergeRequest, MergeRequestState, Review, ReviewVerdict};
pub use group::{Group, GroupMember, GroupRequest, GroupWish};
pub use health::{ErrorBudget, Health, HealthReason, HealthStatus, Status};
pub use incident::{
    Cause, Impact, Incident, IncidentClass, IncidentQuery, IncidentState, IncidentSummary, LearningChange,
    Proposal, Silence, SilenceOf, TakenAction,
};
pub use live::{Change, Topic};
pub use logs::{LogLine, LogPage, LogQuery};
pub use metrics::{
    InstantQuery, MatrixSeries, PrometheusAnswer, QueryData, QueryResult, RangeQuery, VectorSample,
};
pub use moment::{Moment, MomentError};
pub use notification::{Delivery, DeliveryState, NotificationQuery};
pub use openapi::openapi;
pub use release::{Provenance, Release, ReleaseState, StepResult};
pub use rollback::{RollBackForecast, RollBackRequest};
pub use rollout::{
    Allowed, ArmFigures, Evidence, Forecast, Rollout, RolloutFlag, RolloutQuery, RolloutState,
    RolloutSummary, Strategy, Verdict, VerdictDecision, WeightStep,
};
pub use run::{
    Attempt, LogText, Run, RunLog, RunLogQuery, RunQuery, RunState, RunSummary, Stage, StageState,
};
pub use scale::{ScaleRequest, ScaleState};
pub use service::{Environment, Instance, InstanceState, Service};
pub use timeline::{TimelineEntry, TimelineKind, TimelineQuery};
pub use token::{NewToken, Principal, Token, TokenCreated, WhoAmI};
pub use traces::{SpanDetail, SpanPage, SpanQuery, SpanStatus, SpanSummary, Trace};
