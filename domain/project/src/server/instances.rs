//! What the server grants to instances and steps: secrets, users, an engine for images.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use trimtab_model::ServiceName;

use super::Secret;
use super::reading::{NAME_MEND, secret_of};
use crate::environment::is_variable;
use crate::read::{Value, join};
use crate::yaml::Kind;

/// Most secrets, and most services that one is given to.
const SECRETS_MAX: usize = 1000;
/// Most users.
const USERS_MAX: usize = 100;

/// A secret, and who may have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServiceSecret {
    /// In this environment variable of the server.
    pub env: Option<String>,
    /// In this file; its last line break does not count.
    pub file: Option<String>,
    /// The services that may ask for it.
    #[schemars(with = "Vec<String>")]
    pub services: BTreeSet<ServiceName>,
    /// Whether their pipelines' steps and their rollouts' jobs may, and not their instances alone: a step is what a
    /// commit says, before anybody has read it.
    pub steps: bool,
}

/// An engine with Docker's API, also Podman's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Docker {
    /// Its socket.
    pub socket: String,
}

pub(super) fn secrets(value: Value<'_>) -> Option<BTreeMap<String, ServiceSecret>> {
    let Kind::Map(entries) = &value.node.kind else {
        return value.wrong(
            "expected secrets",
            "write NAME: {file: PATH, services: [blocks]}, one a line",
        );
    };
    if entries.len() > SECRETS_MAX {
        return value.wrong("too many secrets", format!("keep at most {SECRETS_MAX}"));
    }
    let mut secrets = BTreeMap::new();
    for (key, node) in entries {
        let (path, sink) = (join(&value.path, &key.text), value.sink);
        if !is_variable(&key.text) {
            let mend = "use letters, digits and '_', not beginning with a digit";
            sink.report(key.place, &path, "not a name of a secret", mend);
            continue;
        }
        if let Some(secret) = secret(Value {
            node,
            path: path.clone(),
            sink,
        }) && secrets.insert(key.text.clone(), secret).is_some()
        {
            sink.report(key.place, &path, "given twice", "keep one of the two");
        }
    }
    Some(secrets)
}

fn secret(value: Value<'_>) -> Option<ServiceSecret> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let fields = value.fields(&["env", "file", "services", "steps"])?;
    let place = secret_of(&fields, node.place, &path, sink);
    let services = fields.need("services", "who may have it: 'services: [blocks]'", |v| {
        v.list(SECRETS_MAX, "[blocks]", |v| v.parsed::<ServiceName>(NAME_MEND))
    });
    let steps = fields.or("steps", Value::boolean, false);
    let (env, file) = match place? {
        Secret::Env(name) => (Some(name), None),
        Secret::File(file) => (None, Some(file)),
    };
    Some(ServiceSecret {
        env,
        file,
        services: services?.into_iter().collect(),
        steps,
    })
}

impl ServiceSecret {
    /// Where it is.
    pub fn place(&self) -> Secret {
        match (&self.env, &self.file) {
            (Some(name), _) => Secret::Env(name.clone()),
            (None, file) => Secret::File(file.clone().unwrap_or_default()),
        }
    }
}

pub(super) fn users(value: Value<'_>) -> Option<Vec<String>> {
    value.list(USERS_MAX, "[blocks, '1001:1001']", |v| {
        let (node, path, sink) = (v.node, v.path.clone(), v.sink);
        let text = v.text()?;
        let is_root = text == "root" || text.split(':').next() == Some("0");
        if is_root {
            let what = "instances never run as root by their own wish";
            sink.report(node.place, &path, what, "name another user");
            return None;
        }
        Some(text)
    })
}

pub(super) fn docker(value: Value<'_>) -> Option<Docker> {
    let fields = value.fields(&["socket"])?;
    Some(Docker {
        socket: fields.or("socket", Value::text, "/var/run/docker.sock".to_owned()),
    })
}
