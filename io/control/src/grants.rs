//! What `trimtab-server.yaml` grants to instances; `hook_keys` and `step_grants` say what it grants to hooks
//! and steps. Nothing that it does not name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use trimtab_model::ServiceName;
use trimtab_project::{HookKey, Secret, ServiceSecret};

/// Longest secret, so that one fits into an environment.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Secrets and users that instances may have, and keys that hooks may.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// By name.
    pub secrets: BTreeMap<String, ServiceSecret>,
    /// What requests of rollouts may carry, by name.
    pub hooks: BTreeMap<String, HookKey>,
    /// Users that may be asked for.
    pub users: Vec<String>,
    /// The socket of the engine that runs images; none: images are refused.
    pub docker: Option<PathBuf>,
}

impl Grants {
    /// Values of the variables at `field` that name a secret; read anew at each start, so that a new secret is taken up by a
    /// restart. The reason for people when one is not to be had.
    pub(crate) fn secrets(
        &self,
        service: &ServiceName,
        field: &str,
        wanted: &BTreeMap<String, String>,
        is_step: bool,
    ) -> Result<BTreeMap<String, String>, String> {
        let value = |(variable, name): (&String, &String)| {
            let granted = self
                .secrets
                .get(name)
                .filter(|secret| secret.services.contains(service));
            let Some(secret) = granted else {
                // Whether another service has it is nobody's business.
                return Err(format!(
                    "{field}.{variable}: the server has no secret {name} for {service}; add it to `secrets` in trimtab-server.yaml"
                ));
            };
            if is_step && !secret.steps {
                return Err(format!(
                    "{field}.{variable}: the secret {name} is for instances alone; write 'steps: true' at it in trimtab-server.yaml if steps may have it"
                ));
            }
            let text = read(&secret.place())
                .map_err(|reason| format!("{field}.{variable}: the secret {name} {reason}"))?;
            Ok((variable.clone(), text))
        };
        wanted.iter().map(value).collect()
    }

    /// The user that `field` asks for, if it may have it.
    pub(crate) fn user(&self, field: &str, wanted: Option<&str>) -> Result<Option<String>, String> {
        match wanted {
            Some(user) if !self.users.iter().any(|known| known == user) => Err(format!(
                "{field}: the server does not let anything run as {user}; add it to `users` in trimtab-server.yaml"
            )),
            user => Ok(user.map(str::to_owned)),
        }
    }
}

pub(crate) fn read(place: &Secret) -> Result<String, String> {
    let text = match place {
        Secret::Env(name) => {
            std::env::var(name).map_err(|_| format!("is not set: {name} in the server's environment"))?
        }
        Secret::File(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("cannot be read from {path}: {error}"))?
        }
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() || text.len() > SECRET_BYTES_MAX || text.contains('\0') {
        return Err(format!("is empty, over {SECRET_BYTES_MAX} bytes, or holds NUL"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn an_instance_gets_what_the_server_grants_its_service_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db");
        std::fs::write(&file, "hunter22\n").unwrap();
        let yaml = format!(
            "secrets:\n  DB: {{file: {file:?}, services: [blocks]}}\n  GONE: {{file: /nowhere/x, services: [blocks]}}\nusers: [web]\n"
        );
        let server = trimtab_project::parse_server("trimtab-server.yaml", &yaml).unwrap();
        let grants = Grants {
            secrets: server.secrets,
            users: server.users,
            ..Grants::default()
        };
        let blocks = ServiceName::new("blocks").unwrap();
        let wanted = |name: &str| BTreeMap::from([("KEY".to_owned(), name.to_owned())]);
        assert_eq!(
            grants.secrets(&blocks, "run.env", &wanted("DB"), false).unwrap()["KEY"],
            "hunter22"
        );
        let other = ServiceName::new("other").unwrap();
        let refused = grants
            .secrets(&other, "run.env", &wanted("DB"), false)
            .unwrap_err();
        assert!(refused.contains("no secret DB for other") && !refused.contains("hunter22"));
        assert!(
            grants
                .secrets(&blocks, "run.env", &wanted("NONE"), false)
                .unwrap_err()
                .contains("add it to `secrets`")
        );
        assert!(
            grants
                .secrets(&blocks, "run.env", &wanted("GONE"), false)
                .unwrap_err()
                .contains("cannot be read")
        );

        let user = |user: &str| {
            let text = format!(
                "service: blocks\npipeline: {{artifact: {{paths: [x]}}}}\nrun: {{command: ./x, user: {user}}}\n"
            );
            let project = trimtab_project::parse("trimtab.yaml", &text).unwrap();
            grants.user("run.user", project.run.user.as_deref())
        };
        assert_eq!(user("web").unwrap().as_deref(), Some("web"));
        assert!(
            user("root")
                .unwrap_err()
                .contains("does not let anything run as root")
        );
        assert!(user("'0'").is_err());
    }
}
