//! What requests of a rollout may carry: keys and tokens, each bound to the hosts that may see it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use trimtab_model::ServiceName;

use super::Secret;
use super::reading::{NAME_MEND, secret};
use crate::environment::is_variable;
use crate::project::host_and_port;
use crate::read::{Value, join};
use crate::yaml::Kind;

/// Most entries, and most hosts and services of one.
const HOOKS_MAX: usize = 1000;

/// A key that requests are signed with, or a token that they carry. A `trimtab.yaml` comes from a commit: it may
/// name this, and cannot send it anywhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HookKey {
    /// Where it may go: a host, or host:port for a port that is not the scheme's own.
    pub hosts: BTreeSet<String>,
    /// Where the key is that requests are signed with.
    pub signing: Option<Secret>,
    /// Where the token is that requests carry.
    pub bearer: Option<Secret>,
    /// The services that may name it; left out, all of them.
    #[schemars(with = "Option<Vec<String>>")]
    pub services: Option<BTreeSet<ServiceName>>,
}

pub(super) fn hooks(value: Value<'_>) -> Option<BTreeMap<String, HookKey>> {
    const EXAMPLE: &str = "write NAME: {hosts: [ci.example.org], signing: {env: CI_KEY}}, one a line";
    let Kind::Map(entries) = &value.node.kind else {
        return value.wrong("expected keys of hooks", EXAMPLE);
    };
    if entries.len() > HOOKS_MAX {
        return value.wrong("too many keys of hooks", format!("keep at most {HOOKS_MAX}"));
    }
    let mut keys = BTreeMap::new();
    for (name, node) in entries {
        let (path, sink) = (join(&value.path, &name.text), value.sink);
        if !is_variable(&name.text) {
            let mend = "use letters, digits and '_', not beginning with a digit";
            sink.report(name.place, &path, "not a name of a key", mend);
            continue;
        }
        let entry = Value {
            node,
            path: path.clone(),
            sink,
        };
        if let Some(key) = key(entry)
            && keys.insert(name.text.clone(), key).is_some()
        {
            sink.report(name.place, &path, "given twice", "keep one of the two");
        }
    }
    Some(keys)
}

fn key(value: Value<'_>) -> Option<HookKey> {
    let fields = value.fields(&["hosts", "signing", "bearer", "services"])?;
    let hosts = fields.need("hosts", "where it may go: 'hosts: [ci.example.org]'", |v| {
        v.list(HOOKS_MAX, "[ci.example.org, 'localhost:8080']", host)
    });
    let signing = fields.maybe("signing", secret);
    let bearer = fields.maybe("bearer", secret);
    let services = fields.maybe("services", |v| {
        v.list(HOOKS_MAX, "[blocks]", |v| v.parsed::<ServiceName>(NAME_MEND))
    });
    if fields.value("signing").is_some() == fields.value("bearer").is_some() {
        let mend = "write 'signing: {env: NAME}', or 'bearer: {env: NAME}'";
        fields.clash(
            "signing",
            "it must be a signing key or a bearer token, and one of them",
            mend,
        );
        return None;
    }
    Some(HookKey {
        hosts: hosts?.into_iter().collect(),
        signing,
        bearer,
        services: services.map(|services| services.into_iter().collect()),
    })
}

fn host(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    let host = host_and_port(&text, 443);
    if host.is_none() {
        let mend = "write ci.example.org, or ci.example.org:8443";
        sink.report(node.place, &path, format!("{text:?} is not a host"), mend);
    }
    host
}
