//! Reads `trimtab-server.yaml`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use trimtab_model::ServiceName;

use super::{Email, Notify, Repository, Retention, Secret, Server, Slack, Sms, Tls, Webhook, instances};
use crate::fields::Fields;
use crate::read::{Sink, Value, document};
use crate::yaml::{Kind, Place};
use crate::{Period, Problem};

/// Most repositories.
const REPOSITORIES_MAX: usize = 1000;
/// Most certificates beside the first.
const CERTIFICATES_MAX: usize = 1000;
/// Most receivers of a channel.
const RECEIVERS_MAX: usize = 100;

const DAY: u64 = 24 * 3600;
pub(super) const NAME_MEND: &str =
    "use 1 to 63 lower-case letters, digits, '-', '_' or '.', beginning with a letter or digit";

/// Parses `trimtab-server.yaml`; `file` is how the file is called in problems. Fails with every problem
/// of the file at once, in its order.
pub fn parse_server(file: &str, text: &str) -> Result<Server, Vec<Problem>> {
    document(file, text, server)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn server(value: Value<'_>) -> Option<Server> {
    let fields = value.fields(&[
        "listen",
        "otlp_grpc",
        "otlp_http",
        "traffic",
        "traffic_tls",
        "tls",
        "certificates",
        "acme",
        "repositories",
        "groups",
        "retention",
        "notify",
        "secrets",
        "hooks",
        "users",
        "docker",
    ])?;
    let server = Server {
        listen: fields.or("listen", Value::address, loopback(7700)),
        otlp_grpc: fields.or("otlp_grpc", Value::address, loopback(4317)),
        otlp_http: fields.or("otlp_http", Value::address, loopback(4318)),
        traffic: fields.or("traffic", Value::address, loopback(7780)),
        traffic_tls: fields.maybe("traffic_tls", Value::address),
        tls: fields.maybe("tls", tls),
        certificates: fields.or(
            "certificates",
            |v| v.list(CERTIFICATES_MAX, "- {cert: FILE, key: FILE}", tls),
            Vec::new(),
        ),
        acme: fields.maybe("acme", super::acme::acme),
        repositories: fields.or("repositories", repositories, Vec::new()),
        groups: fields.or("groups", super::groups::groups, Vec::new()),
        retention: fields.or("retention", retention, RETENTION),
        notify: fields.or("notify", notify, Notify::default()),
        secrets: fields.or("secrets", instances::secrets, Default::default()),
        hooks: fields.or("hooks", super::hooks::hooks, Default::default()),
        users: fields.or("users", instances::users, Vec::new()),
        docker: fields.maybe("docker", instances::docker),
    };
    let brings_one = ["tls", "certificates", "acme"];
    if server.traffic_tls.is_some() && brings_one.iter().all(|name| fields.value(name).is_none()) {
        let mend = "add 'tls: {cert: FILE, key: FILE}', or 'acme: {hosts: [NAME]}'";
        fields.clash("traffic_tls", "TLS without a certificate", mend);
    }
    if server.traffic_tls.is_none() && fields.value("acme").is_some() {
        let mend = "add 'traffic_tls: 0.0.0.0:443'";
        fields.clash("acme", "certificates that nothing presents", mend);
    }
    let mut addresses = vec![
        ("listen", server.listen),
        ("otlp_grpc", server.otlp_grpc),
        ("otlp_http", server.otlp_http),
        ("traffic", server.traffic),
    ];
    addresses.extend(server.traffic_tls.map(|address| ("traffic_tls", address)));
    for (index, (name, address)) in addresses.iter().enumerate() {
        // Port 0 is any free port.
        let earlier = addresses[..index].iter().find(|(_, other)| other == address);
        if let Some((other, _)) = earlier.filter(|_| address.port() != 0) {
            let what = format!("the same address as {other}");
            fields.clash(name, &what, "give each its own port");
        }
    }
    Some(server)
}

fn tls(value: Value<'_>) -> Option<Tls> {
    let fields = value.fields(&["cert", "key"])?;
    let cert = fields.need("cert", "the chain: 'cert: /etc/trimtab/chain.pem'", Value::text);
    let key = fields.need("key", "its key: 'key: /etc/trimtab/key.pem'", Value::text);
    Some(Tls {
        cert: cert?,
        key: key?,
    })
}

fn repositories(value: Value<'_>) -> Option<Vec<Repository>> {
    let mut services = std::collections::BTreeSet::new();
    value.list(
        REPOSITORIES_MAX,
        "- {service: blocks, path: /srv/git/blocks.git}",
        |v| {
            let fields = v.fields(&["service", "path", "branch"])?;
            let service = fields.need("service", "the service's name: 'service: blocks'", |v| {
                v.parsed::<ServiceName>(NAME_MEND)
            });
            let path = fields.need("path", "the git folder: 'path: /srv/git/blocks.git'", Value::text);
            let branch = fields.or("branch", branch, "main".to_owned());
            let service = service?;
            if !services.insert(service.clone()) {
                fields.clash(
                    "service",
                    "two repositories ship this service",
                    "keep one of them",
                );
            }
            Some(Repository {
                service,
                path: path?,
                branch,
            })
        },
    )
}

fn branch(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    if text.starts_with('-') || text.contains("..") || text.contains(odd) {
        let mend = "write its plain name: main";
        sink.report(node.place, &path, format!("{text:?} is not a branch"), mend);
        return None;
    }
    Some(text)
}

pub(super) const RETENTION: Retention = Retention {
    metrics: Period::seconds(30 * DAY),
    logs: Period::seconds(7 * DAY),
    traces: Period::seconds(3 * DAY),
    events: Period::seconds(90 * DAY),
    size_max: None,
};

fn retention(value: Value<'_>) -> Option<Retention> {
    let fields = value.fields(&["metrics", "logs", "traces", "events", "size_max"])?;
    Some(Retention {
        metrics: fields.or("metrics", Value::positive_period, RETENTION.metrics),
        logs: fields.or("logs", Value::positive_period, RETENTION.logs),
        traces: fields.or("traces", Value::positive_period, RETENTION.traces),
        events: fields.or("events", Value::positive_period, RETENTION.events),
        size_max: fields.maybe("size_max", Value::bytes),
    })
}

fn notify(value: Value<'_>) -> Option<Notify> {
    let fields = value.fields(&["slack", "email", "sms", "webhook"])?;
    Some(Notify {
        slack: fields.maybe("slack", |v| {
            let fields = v.fields(&["webhook"])?;
            let webhook = fields.need("webhook", "where its address is: {env: SLACK_WEBHOOK}", secret)?;
            Some(Slack { webhook })
        }),
        email: fields.maybe("email", email),
        sms: fields.maybe("sms", sms),
        webhook: fields.maybe("webhook", |v| {
            let fields = v.fields(&["url", "secret"])?;
            let url = fields.need("url", "where to post: 'url: https://…'", url);
            let secret = fields.need("secret", "where the secret is: {env: WEBHOOK_SECRET}", secret);
            Some(Webhook {
                url: url?,
                secret: secret?,
            })
        }),
    })
}

fn email(value: Value<'_>) -> Option<Email> {
    let fields = value.fields(&["smtp", "from", "to", "username", "password", "starttls"])?;
    let smtp = fields.need("smtp", "the server: 'smtp: mail.example.org:587'", host_and_port);
    let from = fields.need("from", "the sender: 'from: trimtab@example.org'", mailbox);
    let to = fields.need("to", "the receivers: 'to: [team@example.org]'", |v| {
        v.list(RECEIVERS_MAX, "[team@example.org]", mailbox)
    });
    let username = fields.maybe("username", Value::text);
    let password = fields.maybe("password", secret);
    let starttls = fields.or("starttls", Value::boolean, true);
    if password.is_some() && username.is_none() {
        fields.clash(
            "password",
            "a password without a login name",
            "add 'username: NAME'",
        );
    }
    if password.is_some() && !starttls {
        fields.clash(
            "starttls",
            "the password would cross the network in the clear",
            "write true",
        );
    }
    Some(Email {
        smtp: smtp?,
        from: from?,
        to: to?,
        username,
        password,
        starttls,
    })
}

fn sms(value: Value<'_>) -> Option<Sms> {
    let fields = value.fields(&["base_url", "account", "token", "from", "to"])?;
    let base_url = fields.or("base_url", url, "https://api.twilio.com".to_owned());
    let account = fields.need("account", "the account: 'account: AC…'", Value::text);
    let token = fields.need("token", "where its token is: {env: SMS_TOKEN}", secret);
    let from = fields.need("from", "the sender's number: from: '+15550100'", Value::text);
    let to = fields.need("to", "the receivers: to: ['+15550101']", |v| {
        v.list(RECEIVERS_MAX, "['+15550101']", Value::text)
    });
    Some(Sms {
        base_url,
        account: account?,
        token: token?,
        from: from?,
        to: to?,
    })
}

const SECRET_MEND: &str = "write {env: NAME} or {file: PATH}: configuration files hold no secrets";

/// `{env: NAME}` or `{file: path}`.
pub(super) fn secret(value: Value<'_>) -> Option<Secret> {
    if !matches!(value.node.kind, Kind::Map(_)) {
        return value.wrong("expected where the secret is", SECRET_MEND);
    }
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let fields = value.fields(&["env", "file"])?;
    secret_of(&fields, node.place, &path, sink)
}

/// Where a secret is, by the fields `env` and `file`.
pub(super) fn secret_of(fields: &Fields<'_>, place: Place, path: &str, sink: &Sink) -> Option<Secret> {
    match (
        fields.maybe("env", Value::text),
        fields.maybe("file", Value::text),
    ) {
        (Some(name), None) => Some(Secret::Env(name)),
        (None, Some(file)) => Some(Secret::File(file)),
        (Some(_), Some(_)) => {
            sink.report(place, path, "both env and file", "keep one of the two");
            None
        }
        (None, None) => {
            sink.report(place, path, "neither env nor file", SECRET_MEND);
            None
        }
    }
}

fn checked(value: Value<'_>, good: impl Fn(&str) -> bool, what: &str, mend: &str) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    if good(&text) {
        return Some(text);
    }
    sink.report(node.place, &path, format!("{text:?} is not {what}"), mend);
    None
}

fn url(value: Value<'_>) -> Option<String> {
    let good = |text: &str| {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace)
        })
    };
    checked(
        value,
        good,
        "an address of the web",
        "begin it with https:// or http://",
    )
}

fn mailbox(value: Value<'_>) -> Option<String> {
    let good = |text: &str| {
        text.rsplit_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
            && !text.contains(char::is_control)
    };
    checked(value, good, "a mailbox", "write name@example.org")
}

fn host_and_port(value: Value<'_>) -> Option<String> {
    let good = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(char::is_whitespace)
                && port.parse::<u16>().is_ok_and(|p| p > 0)
        })
    };
    checked(value, good, "a host and port", "write mail.example.org:587")
}
