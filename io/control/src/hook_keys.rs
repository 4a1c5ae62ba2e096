//! What a rollout's requests may carry, and where to. A `trimtab.yaml` comes from a commit: it names a key of
//! `trimtab-server.yaml`, which says to which hosts that may go.

use trimtab_model::ServiceName;
use trimtab_outgoing::Secret;
use trimtab_project::{HookKey, HttpHook, Job, Project};

use crate::grants::{Grants, read};

/// What a request is signed with and what it carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// The key that it is signed with.
    pub(crate) signing: Option<Secret>,
    /// The token that it carries.
    pub(crate) bearer: Option<Secret>,
}

/// Why a request may not be sent: the field at fault, what is wrong with it, and the mend.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    field: &'static str,
    reason: String,
}

impl Grants {
    /// Everything that would keep the hooks of a project from being sent, each with its place.
    pub(crate) fn problems_of_hooks(&self, project: &Project) -> Vec<String> {
        let jobs = project.production.jobs();
        let refused = |(path, job): &(String, &Job)| {
            let Job::Http(hook) = job else {
                return None;
            };
            let refusal = self.look_up(&project.service, hook).err()?;
            let (line, column) = hook.at;
            Some(format!(
                "trimtab.yaml:{line}:{column}: {path}.{}: {}",
                refusal.field, refusal.reason
            ))
        };
        jobs.iter().filter_map(refused).collect()
    }

    /// What a hook carries, read anew each time; the reason for people when it may not be sent.
    pub(crate) fn carried(&self, service: &ServiceName, hook: &HttpHook) -> Result<Carried, String> {
        self.look_up(service, hook)
            .map_err(|refusal| format!("{}: {}", refusal.field, refusal.reason))
    }

    fn look_up(&self, service: &ServiceName, hook: &HttpHook) -> Result<Carried, Refusal> {
        let address = trimtab_outgoing::check(&hook.http).map_err(|reason| Refusal {
            field: "http",
            reason: format!("{reason}; let it name the receiver itself"),
        })?;
        // The file's reader and the client must mean the same host by the same text.
        let host = address.host_str().unwrap_or_default();
        let host = match address.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        if host != hook.host {
            return Err(Refusal {
                field: "http",
                reason: format!("it is read as {} and as {host}; write it plainly", hook.host),
            });
        }
        let secret = |field: &'static str, name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => self
                .key(service, &host, field, name)
                .map(Some)
                .map_err(|reason| Refusal { field, reason }),
        };
        Ok(Carried {
            signing: secret("secret", &hook.secret)?,
            bearer: secret("bearer", &hook.bearer)?,
        })
    }

    fn key(&self, service: &ServiceName, host: &str, field: &str, name: &str) -> Result<Secret, String> {
        let may_have = |key: &&HookKey| key.services.as_ref().is_none_or(|all| all.contains(service));
        let Some(key) = self.hooks.get(name).filter(may_have) else {
            // Whether another service has it is nobody's business.
            return Err(format!(
                "the server has no key {name} for hooks of {service}; add it to `hooks` in trimtab-server.yaml"
            ));
        };
        let place = match field {
            "secret" => key.signing.as_ref(),
            _ => key.bearer.as_ref(),
        };
        let Some(place) = place else {
            let (is, other) = match field {
                "secret" => ("a bearer token", "bearer"),
                _ => ("a key to sign with", "secret"),
            };
            return Err(format!("{name} is {is}; write '{other}: {name}'"));
        };
        if !key.hosts.contains(host) {
            return Err(format!(
                "{name} may not be sent to {host}; add that to its `hosts` in trimtab-server.yaml if it may"
            ));
        }
        match read(place) {
            Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) || field == "secret" => {
                Ok(Secret::new(text))
            }
            Ok(_) => Err(format!("{name} holds characters that no token may hold")),
            Err(reason) => Err(format!("the key {name} {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn grants(dir: &std::path::Path) -> Grants {
        std::fs::write(dir.join("key"), "hunter22\n").unwrap();
        let file = dir.join("key").display().to_string();
        let text = format!(
            "hooks:
  CI: {{hosts: [ci.example.org, '[::1]:8443'], signing: {{file: '{file}'}}}}
  TOKEN: {{hosts: [ci.example.org], bearer: {{file: '{file}'}}, services: [notes]}}
  GONE: {{hosts: [ci.example.org], signing: {{file: /nowhere/key}}}}
"
        );
        Grants {
            hooks: trimtab_project::parse_server("trimtab-server.yaml", &text)
                .unwrap()
                .hooks,
            ..Grants::default()
        }
    }

    fn project(service: &str, hook: &str) -> Project {
        let text = format!(
            "service: {service}\npipeline: {{artifact: {{paths: [x]}}}}\nrun: {{command: ./x}}\nproduction:\n  hooks: {{before: {hook}}}\n"
        );
        trimtab_project::parse("trimtab.yaml", &text).unwrap()
    }

    #[test]
    fn what_a_hook_names_goes_to_its_hosts_alone() {
        let dir = tempfile::tempdir().unwrap();
        let grants = grants(dir.path());
        let told = |service: &str, hook: &str| grants.problems_of_hooks(&project(service, hook)).join("\n");
        for good in [
            "./announce.sh",
            "{http: https://other.example.org/}",
            "{http: https://ci.example.org/x, secret: CI, bearer: TOKEN}",
            "{http: https://CI.example.org:443/x, secret: CI}",
            "{http: 'https://[0:0::1]:8443/x', secret: CI}",
        ] {
            assert_eq!(told("notes", good), "", "{good}");
        }
        let bad = [
            (
                "{http: https://ci.example.org/, secret: NONE}",
                "before.secret: the server has no key NONE for hooks of notes; add it",
            ),
            (
                "{http: https://evil.example.org/, secret: CI}",
                "before.secret: CI may not be sent to evil.example.org; add that",
            ),
            (
                "{http: https://ci.example.org:444/, bearer: TOKEN}",
                "before.bearer: TOKEN may not be sent to ci.example.org:444",
            ),
            (
                "{http: https://ci.example.org.evil.example/, secret: CI}",
                "may not be sent to ci.example.org.evil.example",
            ),
            (
                "{http: https://ci.example.org/, secret: TOKEN}",
                "TOKEN is a bearer token; write 'bearer: TOKEN'",
            ),
            (
                "{http: https://ci.example.org/, bearer: CI}",
                "CI is a key to sign with; write 'secret: CI'",
            ),
            (
                "{http: https://ci.example.org/, secret: GONE}",
                "the key GONE cannot be read from /nowhere/key",
            ),
            (
                "{http: http://169.254.169.254/latest}",
                "before.http: 169.254.169.254 is 169.254.169.254, a link-local",
            ),
        ];
        for (hook, wanted) in bad {
            let told = told("notes", hook);
            assert!(told.starts_with("trimtab.yaml:5:19: production.hooks."), "{told}");
            assert!(told.contains(wanted) && !told.contains("hunter22"), "{told}");
        }
        let other = told("shop", "{http: https://ci.example.org/, bearer: TOKEN}");
        assert!(other.contains("no key TOKEN for hooks of shop"), "{other}");
    }
}
