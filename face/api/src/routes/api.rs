//! Routes that answer JSON.

use trimtab_model::Role;

use super::{Access, Face, Method, Route, route, schema};
use crate as t;

const fn get(path: &'static str, doc: &'static str) -> Route {
    route(Method::Get, path, Access::Role(Role::Viewer), Face::Api, doc)
}

const fn post(path: &'static str, role: Role, doc: &'static str) -> Route {
    route(Method::Post, path, Access::Role(role), Face::Api, doc).gives(schema::<t::Done>)
}

pub(super) const READS: &[Route] = &[
    route(
        Method::Get,
        "/livez",
        Access::Public("a supervisor asks without a token; it says `ok` and nothing else"),
        Face::Api,
        "Says that the server answers.",
    ),
    get("/api/v1/openapi.json", "This interface as an OpenAPI document."),
    get("/api/v1/whoami", "Who the caller is.").gives(schema::<t::WhoAmI>),
    get("/api/v1/health", "Overall health with its reasons.").gives(schema::<t::Health>),
    get("/api/v1/status", "Everything that is under way, in short.").gives(schema::<t::Status>),
    get("/api/v1/doctor", "Checks the server and what it depends on.").gives(schema::<t::Doctor>),
    get("/api/v1/dashboard", "Every figure and chart of the overview.")
        .takes(schema::<t::DashboardQuery>)
        .gives(schema::<t::Dashboard>),
    get(
        "/api/v1/markers",
        "Deployments, roll-backs and incidents, to mark on charts.",
    )
    .takes(schema::<t::MarkerQuery>)
    .gives(schema::<t::Markers>),
    get("/api/v1/services", "Services with where they run.").gives(schema::<Vec<t::Service>>),
    get("/api/v1/services/{id}", "One service.").gives(schema::<t::Service>),
    get("/api/v1/runs", "Pipeline runs, newest first.")
        .takes(schema::<t::RunQuery>)
        .gives(schema::<Vec<t::RunSummary>>),
    get("/api/v1/runs/{id}", "One run with its stages.").gives(schema::<t::Run>),
    get("/api/v1/runs/{id}/stages/{stage}/log", "Part of a stage's log.")
        .takes(schema::<t::RunLogQuery>)
        .gives(schema::<t::RunLog>),
    get("/api/v1/releases", "Releases, newest first.").gives(schema::<Vec<t::Release>>),
    get("/api/v1/releases/{id}", "One release with its provenance.").gives(schema::<t::Release>),
    get("/api/v1/rollouts", "Rollouts, newest first.")
        .takes(schema::<t::RolloutQuery>)
        .gives(schema::<Vec<t::RolloutSummary>>),
    get(
        "/api/v1/rollouts/{id}",
        "One rollout with both arms' figures and the verdict.",
    )
    .gives(schema::<t::Rollout>),
    get("/api/v1/groups", "Services released together, newest first.").gives(schema::<Vec<t::Group>>),
    get("/api/v1/groups/{id}", "One group of services released together.").gives(schema::<t::Group>),
    get(
        "/api/v1/rollback",
        "Where a way back would lead and how long it would take; changes nothing.",
    )
    .takes(schema::<t::RollBackRequest>)
    .gives(schema::<t::RollBackForecast>),
    get(
        "/api/v1/forecast",
        "What the steps of a service's next rollout are expected to tell, by its latest traffic.",
    )
    .takes(schema::<t::ForecastQuery>)
    .gives(schema::<t::RolloutForecast>),
    get("/api/v1/incidents", "Incidents, newest first.")
        .takes(schema::<t::IncidentQuery>)
        .gives(schema::<Vec<t::IncidentSummary>>),
    get(
        "/api/v1/incidents/{id}",
        "One incident with causes, actions and postmortem.",
    )
    .gives(schema::<t::Incident>),
    get("/api/v1/silences", "Silences in force.").gives(schema::<Vec<t::Silence>>),
    get("/api/v1/approvals", "Gates that wait for a person.").gives(schema::<Vec<t::Approval>>),
    get("/api/v1/notifications", "The outbox, newest first.")
        .takes(schema::<t::NotificationQuery>)
        .gives(schema::<Vec<t::Delivery>>),
    get("/api/v1/timeline", "The timeline, newest first.")
        .takes(schema::<t::TimelineQuery>)
        .gives(schema::<Vec<t::TimelineEntry>>),
    get(
        "/api/v1/merge-requests",
        "Merge requests with their reviews, newest first.",
    )
    .gives(schema::<Vec<t::MergeRequest>>),
    get("/api/v1/logs", "Searches log lines, newest first.")
        .takes(schema::<t::LogQuery>)
        .gives(schema::<t::LogPage>),
    get(
        "/api/v1/logs/tail",
        "Log lines as they come, as server-sent events.",
    )
    .takes(schema::<t::LogQuery>),
    get("/api/v1/spans", "Searches spans, newest first.")
        .takes(schema::<t::SpanQuery>)
        .gives(schema::<t::SpanPage>),
    get("/api/v1/traces/{id}", "One trace with its log lines.").gives(schema::<t::Trace>),
    get("/api/v1/query", "Evaluates PromQL at one time.")
        .takes(schema::<t::InstantQuery>)
        .gives(schema::<t::PrometheusAnswer>),
    route(
        Method::Post,
        "/api/v1/query",
        Access::Role(Role::Viewer),
        Face::Api,
        "Evaluates PromQL at one time (form body).",
    )
    .takes(schema::<t::InstantQuery>)
    .gives(schema::<t::PrometheusAnswer>),
    get("/api/v1/query_range", "Evaluates PromQL over a time.")
        .takes(schema::<t::RangeQuery>)
        .gives(schema::<t::PrometheusAnswer>),
    route(
        Method::Post,
        "/api/v1/query_range",
        Access::Role(Role::Viewer),
        Face::Api,
        "Evaluates PromQL over a time (form body).",
    )
    .takes(schema::<t::RangeQuery>)
    .gives(schema::<t::PrometheusAnswer>),
    get("/api/v1/labels", "Names of all labels.").gives(schema::<t::PrometheusAnswer>),
    get("/api/v1/label/{name}/values", "Values of one label.").gives(schema::<t::PrometheusAnswer>),
    route(
        Method::Get,
        "/api/v1/tokens",
        Access::Role(Role::Admin),
        Face::Api,
        "Tokens, without their secrets.",
    )
    .gives(schema::<Vec<t::Token>>),
    route(
        Method::Get,
        "/live",
        Access::Role(Role::Viewer),
        Face::Other,
        "What has changed, as server-sent events.",
    ),
];

pub(super) const COMMANDS: &[Route] = &[
    post(
        "/api/v1/deploy",
        Role::Developer,
        "Starts a pipeline run of a commit.",
    )
    .takes(schema::<t::DeployRequest>),
    post(
        "/api/v1/runs/{id}/approve",
        Role::Approver,
        "Answers a run's gate with yes.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/runs/{id}/reject",
        Role::Approver,
        "Answers a run's gate with no.",
    )
    .takes(schema::<t::Comment>),
    post("/api/v1/runs/{id}/cancel", Role::Developer, "Stops a run.").takes(schema::<t::Comment>),
    post(
        "/api/v1/rollouts/{id}/promote",
        Role::Operator,
        "Gives the candidate all traffic now.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/rollouts/{id}/abort",
        Role::Operator,
        "Ends a rollout and goes back.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/rollouts/{id}/pause",
        Role::Operator,
        "Holds a rollout where it stands.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/rollouts/{id}/resume",
        Role::Operator,
        "Goes on with a paused rollout.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/rollouts/{id}/approve",
        Role::Approver,
        "Says yes to what a rollout's step waits for.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/rollouts/{id}/retry",
        Role::Operator,
        "Tries again now what waits to be tried again, or begins anew what ended without being deployed.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/rollouts/{id}/restart",
        Role::Operator,
        "Takes traffic off the candidate and begins the whole way anew.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/groups",
        Role::Operator,
        "Releases several services together: a barrier per step, one alpha, all back if one is.",
    )
    .takes(schema::<t::GroupRequest>),
    post(
        "/api/v1/groups/{id}/abort",
        Role::Operator,
        "Takes a whole group back, in reverse order.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/services/{id}/entrance",
        Role::Operator,
        "Holds, closes or opens what users reach a service by.",
    )
    .takes(schema::<t::EntranceRequest>),
    post(
        "/api/v1/services/{id}/scale",
        Role::Operator,
        "Runs so many instances of a service from now on.",
    )
    .takes(schema::<t::ScaleRequest>),
    post(
        "/api/v1/rollback",
        Role::Operator,
        "Goes back to a release, or undoes a rollout.",
    )
    .takes(schema::<t::RollBackRequest>),
    post(
        "/api/v1/incidents/{id}/acknowledge",
        Role::Developer,
        "Says that a person has seen it.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/incidents/{id}/take-over",
        Role::Operator,
        "Stops automatic actions: a person has it.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/incidents/{id}/fix-applied",
        Role::Developer,
        "Says that a fix is in, and has the metrics verified.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/incidents/{id}/resolve",
        Role::Operator,
        "Says that it is over.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/incidents/{id}/silence",
        Role::Operator,
        "Stops notifications about it for a while.",
    )
    .takes(schema::<t::SilenceRequest>),
    route(
        Method::Delete,
        "/api/v1/silences/{id}",
        Access::Role(Role::Operator),
        Face::Api,
        "Ends a silence before its time.",
    )
    .gives(schema::<t::Done>),
    post(
        "/api/v1/releases/{id}/lift-quarantine",
        Role::Operator,
        "Lets a release that was rolled back be deployed again.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/proxy/upgrade",
        Role::Operator,
        "Lets the proxy's work go over to a worker of the program that is installed now; no request fails.",
    )
    .takes(schema::<t::Comment>),
    post(
        "/api/v1/notifications/{id}/retry",
        Role::Operator,
        "Tries a dead letter once more.",
    ),
    route(
        Method::Post,
        "/api/v1/tokens",
        Access::Role(Role::Admin),
        Face::Api,
        "Makes a token and shows its secret once.",
    )
    .takes(schema::<t::NewToken>)
    .gives(schema::<t::TokenCreated>),
    route(
        Method::Delete,
        "/api/v1/tokens/{id}",
        Access::Role(Role::Admin),
        Face::Api,
        "Ends a token now.",
    )
    .gives(schema::<t::Done>),
    post(
        "/api/v1/hooks/git",
        Role::Developer,
        "Tells of a push, a merge request or a review.",
    )
    .takes(schema::<t::GitHook>),
    post(
        "/api/v1/feedback",
        Role::Developer,
        "Records a user's score of 1 to 5.",
    )
    .takes(schema::<t::NewFeedback>),
];
