//! The project file `trimtab.yaml` and the server's `trimtab-server.yaml`: parsed once, at the edge,
//! into plain structs. Every error is reported at once, each with its place, what is wrong and the mend.

mod environment;
mod fields;
mod problem;
mod project;
mod read;
mod schema;
mod server;
mod spelling;
mod units;
mod yaml;

#[cfg(test)]
mod tests;

pub use problem::{PROBLEMS_MAX, Problem};
pub use project::{
    Absences, Absent, Actions, Application, Approval, Artifact, Ask, BusinessMetric, Command, Direction,
    Ejection, Expect, FlagRollout, Freeze, HOOK_PAUSE_MAX, Health, Hooks, HttpHook, INSTANCES_MAX,
    Inconclusive, Job, Limits, Liveness, Method, MetricSettings, Metrics, Network, Objectives, Overlap,
    Pipeline, Portion, Production, Project, Protocol, RateLimit, Regressed, Rolling, Route, Run, RunKind,
    Schedule, Staging, Step, StrategyName, Tester, Tolerance, VerdictMetric, VerdictSettings, Weekday,
    json_schema, parse,
};
pub use server::{
    Acme, Docker, Email, Group, HookKey, Notify, Repository, Retention, Secret, Server, ServiceSecret, Slack,
    Sms, Tls, Webhook, parse_server, server_json_schema,
};
pub use units::{Percent, Period};
pub use yaml::{DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};
