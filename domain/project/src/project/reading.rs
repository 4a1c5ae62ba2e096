//! Reads `trimtab.yaml`.

use trimtab_model::{Role, ServiceName};

use super::production::production;
use super::run::{run, user};
use super::{
    Actions, Application, Approval, Artifact, BusinessMetric, Command, Objectives, Pipeline, Production,
    Project, Staging,
};
use crate::read::{Sink, Value, document};
use crate::yaml::Kind;
use crate::{Percent, Period, Problem};

/// Most figures of the team's own (D.B1 to D.B5).
const BUSINESS_MAX: usize = 5;
/// Most paths in an artifact.
const PATHS_MAX: usize = 100;

const NAME_MEND: &str =
    "use 1 to 63 lower-case letters, digits, '-', '_' or '.', beginning with a letter or digit";
const JOB_TIMEOUT: Period = Period::seconds(600);

/// Parses `trimtab.yaml`; `file` is how the file is called in problems. Fails with every problem of the
/// file at once, in its order.
pub fn parse(file: &str, text: &str) -> Result<Project, Vec<Problem>> {
    document(file, text, project)
}

fn project(value: Value<'_>) -> Option<Project> {
    let sink: &Sink = value.sink;
    let node = value.node;
    let fields = value.fields(&[
        "service",
        "pipeline",
        "run",
        "staging",
        "production",
        "objectives",
        "business",
        "application",
        "actions",
    ])?;
    let service = fields.need("service", "the service's name: 'service: blocks'", |v| {
        v.parsed::<ServiceName>(NAME_MEND)
    });
    let pipeline = fields.need(
        "pipeline",
        "what builds it, with 'artifact: {paths: [...]}'",
        pipeline,
    );
    let run = fields.need("run", "how it runs: 'run: {command: ./server}'", run);
    let staging = fields.maybe("staging", staging);
    let default = |read: fn(Value<'_>) -> Option<Production>| {
        let empty = crate::yaml::Node {
            place: node.place,
            kind: Kind::Nothing,
        };
        read(Value {
            node: &empty,
            path: "production".to_owned(),
            sink,
        })
    };
    let production = match fields.value("production") {
        Some(value) => production(value),
        None => default(production),
    };
    let objectives = fields.or("objectives", objectives, OBJECTIVES);
    let business = fields.or("business", business, Vec::new());
    let application = fields.or("application", application, Application::default());
    let actions = fields.or("actions", actions, ACTIONS);
    Some(Project {
        service: service?,
        pipeline: pipeline?,
        run: run?,
        staging,
        production: production?,
        objectives,
        business,
        application,
        actions,
    })
}

fn pipeline(value: Value<'_>) -> Option<Pipeline> {
    let fields = value.fields(&["install", "build", "unit", "integration", "e2e", "artifact"])?;
    let [install, build, unit, integration, e2e] =
        ["install", "build", "unit", "integration", "e2e"].map(|name| fields.maybe(name, command));
    let artifact = fields.need(
        "artifact",
        "what is packed: 'artifact: {paths: [target/release/app]}'",
        |v| {
            let fields = v.fields(&["paths"])?;
            let paths = fields.need("paths", "a list: [target/release/app, assets]", |v| {
                v.list(PATHS_MAX, "[target/release/app, assets]", relative_path)
            })?;
            if paths.is_empty() {
                fields.clash("paths", "nothing is packed", "name at least one file or folder");
            }
            Some(Artifact { paths })
        },
    );
    Some(Pipeline {
        install,
        build,
        unit,
        integration,
        e2e,
        artifact: artifact?,
    })
}

pub(super) fn relative_path(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    if text.starts_with('/') || text.starts_with('~') || text.split(['/', '\\']).any(|part| part == "..") {
        let mend = "write a path inside the checkout, without '..'";
        sink.report(node.place, &path, format!("{text:?} leaves the checkout"), mend);
        return None;
    }
    Some(text)
}

/// A shell line, or `{run, timeout, env, user}`.
pub(super) fn command(value: Value<'_>) -> Option<Command> {
    match &value.node.kind {
        Kind::Map(_) => {
            let fields = value.fields(&["run", "timeout", "env", "user"])?;
            let run = fields.need("run", "the shell line: 'run: cargo build'", Value::text);
            let timeout = fields.or("timeout", Value::positive_period, JOB_TIMEOUT);
            let (env, secrets) = fields.or("env", Value::environment, Default::default());
            let user = fields.maybe("user", user);
            Some(Command {
                run: run?,
                timeout,
                env,
                secrets,
                user,
            })
        }
        Kind::Scalar { .. } => Some(Command {
            run: value.text()?,
            timeout: JOB_TIMEOUT,
            env: Default::default(),
            secrets: Default::default(),
            user: None,
        }),
        Kind::Nothing | Kind::List(_) => value.wrong(
            "expected a command",
            "write a shell line, or {run: LINE, timeout: 5m, env: {KEY: value}}",
        ),
    }
}

pub(super) fn url_path(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    if !text.starts_with('/') || text.contains(char::is_whitespace) {
        let what = format!("{text:?} is not a path of a URL");
        sink.report(node.place, &path, what, "begin it with '/', without spaces");
        return None;
    }
    Some(text)
}

fn staging(value: Value<'_>) -> Option<Staging> {
    let fields = value.fields(&["smoke", "integration", "performance", "approval"])?;
    let [smoke, integration, performance] =
        ["smoke", "integration", "performance"].map(|name| fields.maybe(name, command));
    let approval = fields.maybe("approval", |v| {
        let fields = v.fields(&["role", "timeout"])?;
        let roles = Role::ALL.map(|role| (role.as_str(), role));
        let approval = Approval {
            role: fields.or("role", |v| v.one_of(&roles), Role::Approver),
            timeout: fields.or("timeout", Value::positive_period, Period::seconds(24 * 3600)),
        };
        if approval.role < Role::Approver {
            let mend = "write approver, operator or admin";
            fields.clash("role", "this role may not approve", mend);
        }
        Some(approval)
    });
    Some(Staging {
        smoke,
        integration,
        performance,
        approval,
    })
}

const OBJECTIVES: Objectives = Objectives {
    availability: Percent::tenths(995),
    latency: Period::millis(300),
    latency_share: Percent::constant(95),
    apdex: Period::millis(250),
    window: Period::seconds(30 * 24 * 3600),
};

fn objectives(value: Value<'_>) -> Option<Objectives> {
    let fields = value.fields(&["availability", "latency", "latency_share", "apdex", "window"])?;
    let objectives = Objectives {
        availability: fields.or("availability", Value::percent, OBJECTIVES.availability),
        latency: fields.or("latency", Value::positive_period, OBJECTIVES.latency),
        latency_share: fields.or("latency_share", Value::percent, OBJECTIVES.latency_share),
        apdex: fields.or("apdex", Value::positive_period, OBJECTIVES.apdex),
        window: fields.or("window", Value::positive_period, OBJECTIVES.window),
    };
    for (name, share) in [
        ("availability", objectives.availability),
        ("latency_share", objectives.latency_share),
    ] {
        if share.percent() >= 100.0 {
            let what = "100% leaves no error budget: any failure would be critical";
            fields.clash(name, what, "write for example 99.9%");
        }
    }
    Some(objectives)
}

fn business(value: Value<'_>) -> Option<Vec<BusinessMetric>> {
    let mut names = std::collections::BTreeSet::new();
    value.list(
        BUSINESS_MAX,
        "- {name: orders, title: Orders, query: 'sum(orders_total)'}",
        |v| {
            let fields = v.fields(&["name", "title", "unit", "query"])?;
            let name = fields.need("name", "a name: 'name: orders'", |v| {
                v.parsed::<MetricName>("use lower-case letters, digits and '_', beginning with a letter")
            });
            let query = fields.need(
                "query",
                "PromQL in quotes: query: 'sum(orders_total)'",
                Value::text,
            );
            let (name, query) = (name?.0, query?);
            if !names.insert(name.clone()) {
                fields.clash(
                    "name",
                    "two figures have this name",
                    "give each a name of its own",
                );
            }
            Some(BusinessMetric {
                title: fields.or("title", Value::text, name.clone()),
                unit: fields.or("unit", Value::text, String::new()),
                name,
                query,
            })
        },
    )
}

pub(super) struct MetricName(pub(super) String);

impl std::str::FromStr for MetricName {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let good = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.len() <= 63
            && text.chars().all(allowed);
        good.then(|| MetricName(text.to_owned())).ok_or(())
    }
}

fn application(value: Value<'_>) -> Option<Application> {
    let fields = value.fields(&["active_users", "database_queries"])?;
    Some(Application {
        active_users: fields.maybe("active_users", Value::text),
        database_queries: fields.maybe("database_queries", Value::text),
    })
}

const ACTIONS: Actions = Actions {
    automatic: true,
    dry_run: false,
    per_hour_max: 6,
    cooldown: Period::seconds(30),
};

fn actions(value: Value<'_>) -> Option<Actions> {
    let fields = value.fields(&["automatic", "dry_run", "per_hour_max", "cooldown"])?;
    Some(Actions {
        automatic: fields.or("automatic", Value::boolean, ACTIONS.automatic),
        dry_run: fields.or("dry_run", Value::boolean, ACTIONS.dry_run),
        per_hour_max: fields.or("per_hour_max", |v| v.integer(0, 1000), 6) as u32,
        cooldown: fields.or("cooldown", Value::period, ACTIONS.cooldown),
    })
}
