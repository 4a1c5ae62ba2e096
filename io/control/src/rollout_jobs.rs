//! The team's jobs on a rollout's way: off-traffic tests, gates between steps, hooks, migrations. Those that are
//! requests go out in `http_hooks`.

use trimtab_model::{Generation, ReleaseId};
use trimtab_project::{Command, Job};
use trimtab_rollout::Hook;
use trimtab_runner::{StepEnd, StepSpec, run_step};

use crate::blueprint;
use crate::fleet::target_url;
use crate::rollout_hands::Work;

/// What a hook is called for programs.
pub(crate) fn name(hook: Hook) -> &'static str {
    match hook {
        Hook::Before => "before",
        Hook::Expand => "expand",
        Hook::Gate { .. } => "gate",
        Hook::Barrier { .. } => "barrier",
        Hook::Contract => "contract",
        Hook::After => "after",
    }
}

impl Work {
    pub(crate) async fn test(&self, release: &ReleaseId) -> Result<(), String> {
        let (_, project) = self.world.release(release).map_err(|error| error.to_string())?;
        match &project.production.test {
            Some(command) => self.job("production test", command, &[]).await,
            None => Ok(()),
        }
    }

    /// Runs a hook; what it told people who passed it, if anything.
    pub(crate) async fn hook(&self, hook: Hook, generation: Generation) -> Result<Option<String>, String> {
        if let Hook::Barrier { step } = hook {
            return self.barrier(step).await.map(|()| None);
        }
        let release = self.world.release(&self.plan.candidate);
        let (_, project) = release.map_err(|error| error.to_string())?;
        match blueprint::hook(&project, &self.plan, hook) {
            Some(Job::Command(command)) => {
                let env = [("TRIMTAB_HOOK", name(hook))];
                self.job(&hook.to_string(), command, &env).await.map(|()| None)
            }
            Some(Job::Http(http)) => self.request(hook, generation, http).await.map(Some),
            None => Ok(None),
        }
    }

    /// Runs a command of the team in the candidate's artifact.
    async fn job(&self, name: &str, command: &Command, env_more: &[(&str, &str)]) -> Result<(), String> {
        let candidate = &self.plan.candidate;
        let (recorded, _) = self.world.release(candidate).map_err(|error| error.to_string())?;
        let granted = self.world.grants.for_step(&self.plan.service, name, command)?;
        let dir = self
            .world
            .fleet
            .unpack_for(&recorded, granted.user.as_deref())
            .await
            .map_err(|error| error.to_string())?;
        let side = self
            .world
            .fleet
            .side(candidate, &self.plan.environment)
            .await
            .map_err(|error| error.to_string())?;
        let mut env = command.env.clone();
        env.extend(granted.env.clone());
        env.extend(target_url(&side).map(|url| ("TARGET_URL".to_owned(), url)));
        let said = [
            ("TRIMTAB_SERVICE", self.plan.service.as_str()),
            ("TRIMTAB_ENVIRONMENT", self.plan.environment.as_str()),
            ("TRIMTAB_RELEASE", candidate.as_str()),
        ];
        for (key, value) in said.iter().chain(env_more) {
            env.insert((*key).to_owned(), (*value).to_owned());
        }
        let spec = StepSpec {
            name: name.to_owned(),
            command: command.run.clone(),
            dir,
            env,
            timeout: command.timeout.0,
            secrets: granted.masked(),
            records: self.world.dir.join("steps"),
            user: granted.user,
        };
        let outcome = run_step(&spec, std::future::pending(), &mut |_| ())
            .await
            .map_err(|error| error.to_string())?;
        match outcome.end {
            StepEnd::Passed => Ok(()),
            end => Err(format!(
                "`{}` {end}\n{}",
                command.run,
                outcome.last_lines.join("\n")
            )),
        }
    }
}
