//! What an instance is asked to be, from the release's `trimtab.yaml` and what the server grants.

use trimtab_model::{EnvironmentName, Generation, InstanceId};
use trimtab_project::{Network, Project, RunKind};
use trimtab_runtime::{BackOff, Image, InstanceSpec, Kind, Limits, LogLimits};

use super::{Fleet, FleetError};
use crate::blueprint;
use crate::releases::Recorded;

impl Fleet {
    /// An instance as the runtime is asked for it.
    pub(super) fn spec(
        &self,
        id: &InstanceId,
        recorded: &Recorded,
        environment: &EnvironmentName,
        project: &Project,
        dir: &std::path::Path,
        generation: Generation,
    ) -> Result<InstanceSpec, FleetError> {
        let release = &recorded.release;
        let run = &project.run;
        let refused = |reason| FleetError::Refused {
            release: release.id.clone(),
            reason,
        };
        let mut env = run.env.clone();
        env.extend(
            self.grants
                .secrets(&release.service, "run.env", &run.secrets, false)
                .map_err(refused)?,
        );
        let data = self
            .dir
            .parent()
            .unwrap_or(&self.dir)
            .join("volumes")
            .join(release.service.as_str());
        for (name, value) in [
            ("TRIMTAB_SERVICE", release.service.to_string()),
            ("TRIMTAB_RELEASE", release.id.to_string()),
            ("TRIMTAB_ENVIRONMENT", environment.to_string()),
            ("TRIMTAB_INSTANCE", id.to_string()),
            // One folder per environment that outlives releases: blue and green share their users' data.
            (
                "TRIMTAB_DATA",
                data.join(environment.as_str()).display().to_string(),
            ),
            ("OTEL_SERVICE_NAME", release.service.to_string()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.telemetry.otlp_http.clone()),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                format!("authorization=Bearer%20{}", self.tokens.token(id)),
            ),
            // What OpenFeature's providers read: the same token says whose flags are meant.
            ("OFREP_ENDPOINT", self.telemetry.ofrep.clone()),
            (
                "OFREP_HEADERS",
                format!("Authorization=Bearer%20{}", self.tokens.token(id)),
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                format!(
                    "service.version={},deployment.environment.name={environment}",
                    release.id
                ),
            ),
        ] {
            env.entry(name.to_owned()).or_insert(value);
        }
        Ok(InstanceSpec {
            id: id.clone(),
            release: release.id.clone(),
            environment: environment.clone(),
            service: release.service.clone(),
            generation,
            dir: dir.to_owned(),
            command: run.command.clone(),
            env,
            secrets: run.secrets.keys().cloned().collect(),
            user: self
                .grants
                .user("run.user", run.user.as_deref())
                .map_err(refused)?,
            stop_grace: run.stop_grace.0,
            health: blueprint::health_check(project),
            backoff: BackOff::default(),
            logs: LogLimits::default(),
            kind: match run.kind {
                RunKind::Service => Kind::Service,
                RunKind::Worker => Kind::Worker,
                RunKind::Cron => Kind::Once,
            },
            limits: Limits {
                memory: run.limits.memory,
                cpu_millis: run.limits.cpu,
                processes: run.limits.processes,
            },
            directory: run.directory.as_ref().map(Into::into),
            liveness: blueprint::liveness(project),
            image: run.image.as_ref().map(|reference| Image {
                reference: reference.clone(),
                host_network: run.network == Network::Host,
            }),
        })
    }
}
