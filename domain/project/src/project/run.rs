//! How an instance runs: what is started, as whom, within which limits, and how it is asked whether it is well.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::reading::{relative_path, url_path};
use super::{Metrics, Schedule};
use crate::Period;
use crate::fields::Fields;
use crate::read::Value;

/// Most instances of a release.
pub const INSTANCES_MAX: u32 = 100;
/// Least memory that a limit may leave, so that a slip of the unit is told.
const MEMORY_MIN: u64 = 1_000_000;
/// Most processors, in thousandths.
const CPU_MAX: f64 = 1024.0;

/// How an instance runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Run {
    /// What kind of program it is.
    pub kind: RunKind,
    /// The command: words or a list; not a shell line. Runs in the unpacked artifact and gets PORT.
    pub command: Vec<String>,
    /// Runs in a container of this image, named by its digest: `repository@sha256:…`.
    pub image: Option<String>,
    /// How its container is reached and reaches others.
    pub network: Network,
    /// How many instances each release has.
    pub instances: u32,
    /// Variables added to its environment: a value, or `{secret: NAME}` for one of the server's secrets.
    #[schemars(with = "BTreeMap<String, Variable>")]
    pub env: BTreeMap<String, String>,
    /// Variables that are secrets of the server, by the secret's name.
    #[schemars(skip)]
    pub secrets: BTreeMap<String, String>,
    /// The user it runs as: `name`, `uid` or `uid:gid`. The server must allow it.
    pub user: Option<String>,
    /// The folder it runs in, within the artifact.
    pub directory: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// How it is asked whether it may get traffic.
    pub health: Health,
    /// How it is asked whether it must be restarted; left out, it is not.
    pub liveness: Option<Liveness>,
    /// Where its Prometheus metrics are, if it has any.
    pub metrics: Option<Metrics>,
    /// From the request to stop until it is killed.
    pub stop_grace: Period,
    /// When a cron job runs: five fields, UTC.
    #[schemars(with = "Option<String>")]
    pub schedule: Option<Schedule>,
    /// What happens when a cron job's last run is still under way.
    pub overlap: Overlap,
    /// When a run of a cron job is killed.
    pub time_limit: Period,
}

/// What kind of program it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Answers requests.
    #[default]
    Service,
    /// Works without requests: judged by its exits, logs and metrics.
    Worker,
    /// Runs at times and ends: judged by its exit codes.
    Cron,
}

/// How a container is reached and reaches others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A network of Trimtab's own; its port is open on loopback alone.
    #[default]
    Bridge,
    /// The machine's own network, as a process would have it.
    Host,
}

/// What happens when a cron job's last run is still under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The new run is left out, and counted.
    #[default]
    Skip,
    /// The old run is stopped first.
    Replace,
}

/// A variable that is one of the server's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is only what the schema says of a variable")]
pub(super) enum Variable {
    /// As it stands here.
    Plain(String),
    /// One of the server's secrets.
    Secret {
        /// Its name in `trimtab-server.yaml`.
        secret: String,
    },
}

/// What an instance may use; what is left out has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Limits {
    /// Memory in bytes; an instance over it is killed and started again.
    #[schemars(with = "Option<String>")]
    pub memory: Option<u64>,
    /// Processors, in thousandths; written `0.5` or `2`.
    #[schemars(with = "Option<f64>")]
    pub cpu: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u32>,
}

/// How an instance is asked whether it may get traffic: by `path`, `tcp`, `command` or `grpc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Health {
    /// The path that answers 2xx when it is well.
    pub path: Option<String>,
    /// True: it is well when it takes a connection.
    pub tcp: bool,
    /// A command, run as the instance is: it is well when this ends with 0.
    pub command: Option<Vec<String>>,
    /// Asks `grpc.health.v1` of this service; `''` is the whole server.
    pub grpc: Option<String>,
    /// Between probes.
    pub interval: Period,
    /// When a probe counts as failed.
    pub timeout: Period,
    /// Good probes in a row until it counts as healthy.
    pub healthy_after: u32,
    /// Bad probes in a row until it counts as unhealthy.
    pub unhealthy_after: u32,
    /// How long a start may take until healthy.
    pub start_timeout: Period,
}

/// How an instance is asked whether it must be restarted: by `path`, `tcp`, `command` or `grpc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Liveness {
    /// The path that answers 2xx when it lives.
    pub path: Option<String>,
    /// True: it lives when it takes a connection.
    pub tcp: bool,
    /// A command, run as the instance is: it lives when this ends with 0.
    pub command: Option<Vec<String>>,
    /// Asks `grpc.health.v1` of this service; `''` is the whole server.
    pub grpc: Option<String>,
    /// Between probes.
    pub interval: Period,
    /// When a probe counts as failed.
    pub timeout: Period,
    /// Bad probes in a row after which it is restarted.
    pub failures: u32,
    /// How long after its start it is first asked.
    pub delay: Period,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// `GET` this path.
    Path(String),
    /// A connection.
    Tcp,
    /// The end of a command.
    Command(Vec<String>),
    /// `grpc.health.v1` of this service.
    Grpc(String),
    /// Nothing: that its process runs is enough.
    Running,
}

fn ask(
    path: Option<&String>,
    tcp: bool,
    command: Option<&Vec<String>>,
    grpc: Option<&String>,
) -> Option<Ask> {
    let tcp = tcp.then_some(Ask::Tcp);
    (path.map(|path| Ask::Path(path.clone())))
        .or(tcp)
        .or(command.map(|words| Ask::Command(words.clone())))
        .or(grpc.map(|service| Ask::Grpc(service.clone())))
}

impl Liveness {
    /// What is asked.
    pub fn ask(&self) -> Ask {
        let named = ask(
            self.path.as_ref(),
            self.tcp,
            self.command.as_ref(),
            self.grpc.as_ref(),
        );
        named.unwrap_or(Ask::Running)
    }
}

impl Run {
    /// What is asked to see whether an instance is well: `/health` of a service and nothing of a worker when
    /// nothing is named.
    pub fn asked(&self) -> Ask {
        let health = &self.health;
        ask(
            health.path.as_ref(),
            health.tcp,
            health.command.as_ref(),
            health.grpc.as_ref(),
        )
        .unwrap_or_else(|| match self.kind {
            RunKind::Service => Ask::Path("/health".to_owned()),
            RunKind::Worker | RunKind::Cron => Ask::Running,
        })
    }
}

pub(super) fn run(value: Value<'_>) -> Option<Run> {
    let fields = value.fields(&[
        "kind",
        "command",
        "image",
        "network",
        "instances",
        "env",
        "user",
        "directory",
        "limits",
        "health",
        "liveness",
        "metrics",
        "stop_grace",
        "schedule",
        "overlap",
        "time_limit",
    ])?;
    let kinds = [
        ("service", RunKind::Service),
        ("worker", RunKind::Worker),
        ("cron", RunKind::Cron),
    ];
    let networks = [("bridge", Network::Bridge), ("host", Network::Host)];
    let overlaps = [("skip", Overlap::Skip), ("replace", Overlap::Replace)];
    let image = fields.maybe("image", image);
    // An image brings its own command.
    let command = match fields.value("image") {
        Some(_) => Some(fields.or("command", Value::words, Vec::new())),
        None => fields.need(
            "command",
            "what starts an instance: 'command: ./server'",
            Value::words,
        ),
    };
    let (env, secrets) = fields.or("env", Value::environment, Default::default());
    let metrics = fields.maybe("metrics", |v| {
        let fields = v.fields(&["path", "interval"])?;
        Some(Metrics {
            path: fields.or("path", url_path, "/metrics".to_owned()),
            interval: fields.or("interval", Value::positive_period, Period::seconds(1)),
        })
    });
    let given = command.is_some();
    let run = Run {
        kind: fields.or("kind", |v| v.one_of(&kinds), RunKind::default()),
        command: command.unwrap_or_default(),
        image,
        network: fields.or("network", |v| v.one_of(&networks), Network::default()),
        instances: fields.or("instances", |v| v.integer(1, u64::from(INSTANCES_MAX)), 1) as u32,
        env,
        secrets,
        user: fields.maybe("user", user),
        directory: fields.maybe("directory", relative_path),
        limits: fields.or("limits", limits, Limits::default()),
        health: fields.maybe("health", health).unwrap_or_else(usual_health),
        liveness: fields.maybe("liveness", liveness),
        metrics,
        stop_grace: fields.or("stop_grace", Value::period, Period::seconds(5)),
        schedule: fields.maybe("schedule", |v| v.parsed::<Schedule>(Schedule::MEND)),
        overlap: fields.or("overlap", |v| v.one_of(&overlaps), Overlap::default()),
        time_limit: fields.or("time_limit", Value::positive_period, Period::seconds(3600)),
    };
    together(&fields, &run);
    given.then_some(run)
}

/// Fields that need or forbid each other.
fn together(fields: &Fields<'_>, run: &Run) {
    match (run.kind, fields.value("schedule").is_some()) {
        (RunKind::Cron, false) => {
            fields.clash(
                "kind",
                "a cron job without a schedule",
                "add for example schedule: '*/5 * * * *'",
            );
        }
        (RunKind::Service | RunKind::Worker, true) => {
            fields.clash(
                "schedule",
                "only cron jobs have a schedule",
                "add 'kind: cron', or remove it",
            );
        }
        (RunKind::Cron, true) | (RunKind::Service | RunKind::Worker, false) => {}
    }
    if run.kind == RunKind::Cron && fields.value("liveness").is_some() {
        fields.clash(
            "liveness",
            "a cron job ends by itself",
            "use 'time_limit' instead",
        );
    }
    if fields.value("network").is_some() && fields.value("image").is_none() {
        fields.clash(
            "network",
            "only a container has a network of its own",
            "add 'image', or remove it",
        );
    }
}

/// An image by its digest: a tag may be another image tomorrow.
fn image(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    let good = text.split_once("@sha256:").is_some_and(|(name, digest)| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
        !name.is_empty()
            && name.len() <= 255
            && name.chars().all(allowed)
            && digest.len() == 64
            && digest
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    });
    if !good {
        let mend =
            "write repository@sha256:… with 64 hexadecimal digits; `docker images --digests` shows them";
        sink.report(
            node.place,
            &path,
            format!("{text:?} does not name an image by its digest"),
            mend,
        );
        return None;
    }
    Some(text)
}

pub(super) fn user(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if text.len() > 64 || !text.chars().all(allowed) {
        sink.report(
            node.place,
            &path,
            format!("{text:?} is not a user"),
            "write a name, a uid, or uid:gid",
        );
        return None;
    }
    Some(text)
}

fn limits(value: Value<'_>) -> Option<Limits> {
    let fields = value.fields(&["memory", "cpu", "processes"])?;
    let limits = Limits {
        memory: fields.maybe("memory", Value::bytes),
        cpu: fields.maybe("cpu", |v| {
            let (node, path, sink) = (v.node, v.path.clone(), v.sink);
            let text = v.text()?;
            let cores = text
                .parse::<f64>()
                .ok()
                .filter(|cores| (0.01..=CPU_MAX).contains(cores));
            if cores.is_none() {
                let what = format!("{text:?} is not a number of processors");
                sink.report(node.place, &path, what, "write a number from 0.01 to 1024: 0.5");
            }
            cores.map(|cores| (cores * 1000.0).round() as u32)
        }),
        processes: fields
            .maybe("processes", |v| v.integer(1, 1_000_000))
            .map(|n| n as u32),
    };
    if limits.memory.is_some_and(|memory| memory < MEMORY_MIN) {
        fields.clash(
            "memory",
            "nothing runs in so little memory",
            "write for example 512MB",
        );
    }
    Some(limits)
}

fn usual_health() -> Health {
    Health {
        path: None,
        tcp: false,
        command: None,
        grpc: None,
        interval: Period::millis(500),
        timeout: Period::seconds(1),
        healthy_after: 2,
        unhealthy_after: 3,
        start_timeout: Period::seconds(20),
    }
}

fn health(value: Value<'_>) -> Option<Health> {
    let fields = value.fields(&[
        "path",
        "tcp",
        "command",
        "grpc",
        "interval",
        "timeout",
        "healthy_after",
        "unhealthy_after",
        "start_timeout",
    ])?;
    one_way(&fields);
    let usual = usual_health();
    let health = Health {
        path: fields.maybe("path", url_path),
        tcp: fields.or("tcp", Value::boolean, false),
        command: fields.maybe("command", Value::words),
        grpc: fields.maybe("grpc", Value::maybe_empty),
        interval: fields.or("interval", Value::positive_period, usual.interval),
        timeout: fields.or("timeout", Value::positive_period, usual.timeout),
        healthy_after: fields.or("healthy_after", |v| v.integer(1, 100), 2) as u32,
        unhealthy_after: fields.or("unhealthy_after", |v| v.integer(1, 100), 3) as u32,
        start_timeout: fields.or("start_timeout", Value::positive_period, usual.start_timeout),
    };
    if health.start_timeout < health.interval {
        fields.clash(
            "start_timeout",
            "shorter than the interval between probes",
            "give a start several probes' time",
        );
    }
    Some(health)
}

fn liveness(value: Value<'_>) -> Option<Liveness> {
    let fields = value.fields(&[
        "path", "tcp", "command", "grpc", "interval", "timeout", "failures", "delay",
    ])?;
    if !one_way(&fields) {
        fields.clash(
            "path",
            "nothing is asked",
            "add 'path: /alive', 'tcp: true', 'command' or 'grpc'",
        );
    }
    Some(Liveness {
        path: fields.maybe("path", url_path),
        tcp: fields.or("tcp", Value::boolean, false),
        command: fields.maybe("command", Value::words),
        grpc: fields.maybe("grpc", Value::maybe_empty),
        interval: fields.or("interval", Value::positive_period, Period::seconds(5)),
        timeout: fields.or("timeout", Value::positive_period, Period::seconds(1)),
        failures: fields.or("failures", |v| v.integer(1, 100), 3) as u32,
        delay: fields.or("delay", Value::period, Period::seconds(10)),
    })
}

/// Whether a way of asking is named; more than one is a mistake.
fn one_way(fields: &Fields<'_>) -> bool {
    let named: Vec<&str> = ["path", "tcp", "command", "grpc"]
        .into_iter()
        .filter(|name| fields.value(name).is_some())
        .collect();
    if let [_, second, ..] = named.as_slice() {
        fields.clash(
            second,
            "more than one way to ask",
            "keep one of path, tcp, command and grpc",
        );
    }
    !named.is_empty()
}
