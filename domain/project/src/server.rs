//! `trimtab-server.yaml`: where the server listens, what it ships and whom it tells.

mod acme;
mod groups;
mod hooks;
mod instances;
mod reading;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Serialize;
use trimtab_model::ServiceName;

pub use acme::Acme;
pub use groups::Group;
pub use hooks::HookKey;
pub use instances::{Docker, ServiceSecret};
pub use reading::parse_server;

use crate::Period;

/// Where the server listens, what it ships and whom it tells: the whole of `trimtab-server.yaml`. Every
/// field has a default; an empty file is a good one.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Server {
    /// Pages and API.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// OTLP over gRPC.
    #[schemars(with = "String")]
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP.
    #[schemars(with = "String")]
    pub otlp_http: SocketAddr,
    /// Users' traffic.
    #[schemars(with = "String")]
    pub traffic: SocketAddr,
    /// Users' traffic over TLS; needs `tls` or `acme`.
    #[schemars(with = "Option<String>")]
    pub traffic_tls: Option<SocketAddr>,
    /// The certificate for it.
    pub tls: Option<Tls>,
    /// More of them, each for the hosts that it names.
    pub certificates: Vec<Tls>,
    /// Certificates that come by themselves.
    pub acme: Option<Acme>,
    /// What is shipped.
    pub repositories: Vec<Repository>,
    /// What is released together.
    pub groups: Vec<Group>,
    /// How long telemetry is kept.
    pub retention: Retention,
    /// Whom to tell, and how.
    pub notify: Notify,
    /// What instances, and steps where it says so, may be given as `{secret: NAME}` in their environment.
    pub secrets: BTreeMap<String, ServiceSecret>,
    /// What requests of rollouts may be signed with, or carry, and where.
    pub hooks: BTreeMap<String, HookKey>,
    /// Users that a `trimtab.yaml` may ask for in `user`: names, uids, or uid:gid. Nobody unless named here.
    pub users: Vec<String>,
    /// The engine that runs images; left out, images are refused.
    pub docker: Option<Docker>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tls {
    /// The chain, a PEM file.
    pub cert: String,
    /// Its key, a PEM file.
    pub key: String,
}

/// A repository that services are shipped from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Repository {
    /// The service.
    #[schemars(with = "String")]
    pub service: ServiceName,
    /// The git folder on this machine.
    pub path: String,
    /// The branch whose commits are shipped.
    pub branch: String,
}

/// How long telemetry is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Retention {
    /// Metrics.
    pub metrics: Period,
    /// Logs.
    pub logs: Period,
    /// Traces.
    pub traces: Period,
    /// Events.
    pub events: Period,
    /// The most bytes that all of them may take on disk; the oldest go first. Left out, there is no limit.
    #[schemars(with = "Option<String>")]
    pub size_max: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        reading::RETENTION
    }
}

/// Whom to tell, and how; a channel left out is not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Notify {
    /// A Slack channel.
    pub slack: Option<Slack>,
    /// Mailboxes.
    pub email: Option<Email>,
    /// Phones.
    pub sms: Option<Sms>,
    /// A program of your own.
    pub webhook: Option<Webhook>,
}

/// A Slack channel, by an incoming webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Slack {
    /// The webhook's address.
    pub webhook: Secret,
}

/// Mailboxes, by SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Email {
    /// The server as host:port.
    pub smtp: String,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
    /// The login name, if the server wants one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Whether the connection must become TLS.
    pub starttls: bool,
}

/// Phones, by a Twilio-compatible API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sms {
    /// Where the API is.
    pub base_url: String,
    /// The account.
    pub account: String,
    /// Its token.
    pub token: Secret,
    /// The sender's number.
    pub from: String,
    /// The receivers' numbers.
    pub to: Vec<String>,
}

/// A program of your own, by signed posts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Webhook {
    /// Where to post.
    pub url: String,
    /// What the signature is made with.
    pub secret: Secret,
}

/// Where a secret is; never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// In this environment variable of the server.
    Env(String),
    /// In this file; its last line break does not count.
    File(String),
}

/// The JSON Schema of `trimtab-server.yaml`, for editors.
pub fn server_json_schema() -> serde_json::Value {
    crate::schema::strict_schema(schemars::schema_for!(Server).to_value())
}
