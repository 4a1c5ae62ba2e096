//! What `trimtab-server.yaml` grants to steps of a pipeline and to jobs of a rollout.

use std::collections::BTreeMap;

use trimtab_model::ServiceName;
use trimtab_project::{Command, Project};

use crate::grants::Grants;

/// Shorter secrets cannot be masked: they would hit ordinary text.
const SECRET_BYTES_MIN: usize = 4;

/// What a step gets beside what its file says in plain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StepGrant {
    /// Variables that are secrets.
    pub(crate) env: BTreeMap<String, String>,
    /// The user it runs as.
    pub(crate) user: Option<String>,
}

impl StepGrant {
    /// What must never appear in its output.
    pub(crate) fn masked(&self) -> Vec<String> {
        self.env.values().cloned().collect()
    }
}

impl Grants {
    /// What a command at `field` gets, read anew each time; the reason for people when it may not have it.
    pub(crate) fn for_step(
        &self,
        service: &ServiceName,
        field: &str,
        command: &Command,
    ) -> Result<StepGrant, String> {
        let env = self.secrets(service, &format!("{field}.env"), &command.secrets, true)?;
        let short = env.iter().find(|(_, secret)| secret.len() < SECRET_BYTES_MIN);
        if let Some((variable, _)) = short {
            return Err(format!(
                "{field}.env.{variable}: the secret has fewer than {SECRET_BYTES_MIN} bytes and could not be masked; give \
                 it a longer one"
            ));
        }
        let user = self.user(&format!("{field}.user"), command.user.as_deref())?;
        Ok(StepGrant { env, user })
    }

    /// Everything that would keep the commands of a project from starting.
    pub(crate) fn problems_of_steps(&self, project: &Project) -> Vec<String> {
        let commands = project.commands();
        let refused = |(field, command): &(String, &Command)| {
            let refused = self.for_step(&project.service, field, command).err()?;
            Some(format!("trimtab.yaml: {refused}"))
        };
        commands.iter().filter_map(refused).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_step_gets_what_is_granted_to_steps_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (long, short) = (dir.path().join("long"), dir.path().join("short"));
        std::fs::write(&long, "hunter22\n").unwrap();
        std::fs::write(&short, "abc").unwrap();
        let server = format!(
            "secrets:
  REGISTRY: {{file: {long:?}, services: [notes], steps: true}}
  DB: {{file: {long:?}, services: [notes]}}
  SHORT: {{file: {short:?}, services: [notes], steps: true}}
users: [builder]
"
        );
        let server = trimtab_project::parse_server("trimtab-server.yaml", &server).unwrap();
        let grants = Grants {
            secrets: server.secrets,
            users: server.users,
            ..Grants::default()
        };
        let told = |service: &str, unit: &str| {
            let text = format!(
                "service: {service}\npipeline: {{unit: {{run: x, {unit}}}, artifact: {{paths: [x]}}}}\nrun: {{command: ./x}}\n"
            );
            let project = trimtab_project::parse("trimtab.yaml", &text).unwrap();
            let told = grants.problems_of_steps(&project).join("\n");
            assert!(!told.contains("hunter22"), "{told}");
            let unit = project.pipeline.unit.unwrap();
            (told, grants.for_step(&project.service, "pipeline.unit", &unit))
        };
        let (none, granted) = told("notes", "env: {A: b, TOKEN: {secret: REGISTRY}}, user: builder");
        let granted = granted.unwrap();
        assert_eq!((none.as_str(), granted.user.as_deref()), ("", Some("builder")));
        assert_eq!(
            granted.env,
            BTreeMap::from([("TOKEN".to_owned(), "hunter22".to_owned())])
        );
        assert_eq!(granted.masked(), ["hunter22"]);
        let bad = [
            (
                "notes",
                "env: {T: {secret: DB}}",
                "pipeline.unit.env.T: the secret DB is for instances alone; write 'steps: true'",
            ),
            (
                "notes",
                "env: {T: {secret: SHORT}}",
                "pipeline.unit.env.T: the secret has fewer than 4 bytes",
            ),
            (
                "shop",
                "env: {T: {secret: REGISTRY}}",
                "the server has no secret REGISTRY for shop",
            ),
            (
                "notes",
                "user: root",
                "pipeline.unit.user: the server does not let anything run as root",
            ),
        ];
        for (service, unit, wanted) in bad {
            let (told, granted) = told(service, unit);
            assert!(
                told.starts_with("trimtab.yaml: pipeline.unit.") && told.contains(wanted),
                "{told}"
            );
            assert!(granted.is_err());
        }
    }
}
