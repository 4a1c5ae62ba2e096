//! Processes and containers as one runtime: an instance with an image is a container, others are processes.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use trimtab_docker::DockerRuntime;
use trimtab_model::{Generation, InstanceId};
use trimtab_runtime::{
    HealthCheck, Instance, InstanceSpec, LogLine, LogStream, ProbeResult, ProcessRuntime, Runtime,
    RuntimeError, Usage,
};

/// The runtimes of this machine.
pub(crate) struct Runtimes {
    processes: ProcessRuntime,
    containers: Option<DockerRuntime>,
}

impl Runtimes {
    /// Opens both; containers only when the server's file names an engine.
    pub(crate) async fn open(
        processes: ProcessRuntime,
        dir: &Path,
        socket: Option<&Path>,
        telemetry: std::net::SocketAddr,
    ) -> Result<Self, RuntimeError> {
        let containers = match socket {
            Some(socket) => Some(DockerRuntime::open(dir, socket, Some(telemetry)).await?),
            None => None,
        };
        Ok(Runtimes {
            processes,
            containers,
        })
    }

    /// Stops everything, for a control process that leaves nothing behind.
    pub(crate) async fn stop_all(&self, grace: Duration) -> Result<(), RuntimeError> {
        let processes = self.processes.stop_all(grace).await;
        match &self.containers {
            Some(containers) => processes.and(containers.stop_all(grace).await),
            None => processes,
        }
    }

    fn of(&self, id: &InstanceId) -> &dyn Runtime {
        match &self.containers {
            Some(containers) if containers.knows(id) => containers,
            _ => &self.processes,
        }
    }
}

#[async_trait]
impl Runtime for Runtimes {
    async fn ensure(&self, spec: InstanceSpec) -> Result<Instance, RuntimeError> {
        match (&spec.image, &self.containers) {
            (None, _) => self.processes.ensure(spec).await,
            (Some(_), Some(containers)) => containers.ensure(spec).await,
            (Some(image), None) => Err(RuntimeError::BadSpec {
                reason: format!(
                    "this server runs no images, and run.image is {}; add `docker: {{socket: …}}` to trimtab-server.yaml",
                    image.reference
                ),
                instance: spec.id,
            }),
        }
    }

    async fn stop(
        &self,
        id: &InstanceId,
        grace: Duration,
        generation: Generation,
    ) -> Result<Instance, RuntimeError> {
        self.of(id).stop(id, grace, generation).await
    }

    async fn restart(&self, id: &InstanceId, generation: Generation) -> Result<Instance, RuntimeError> {
        self.of(id).restart(id, generation).await
    }

    async fn recover(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        self.of(id).recover(id).await
    }

    async fn list(&self) -> Result<Vec<Instance>, RuntimeError> {
        let mut instances = self.processes.list().await?;
        if let Some(containers) = &self.containers {
            instances.extend(containers.list().await?);
        }
        Ok(instances)
    }

    async fn get(&self, id: &InstanceId) -> Result<Instance, RuntimeError> {
        self.of(id).get(id).await
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        self.of(id).remove(id).await
    }

    async fn logs(&self, id: &InstanceId, from: u64) -> Result<LogStream, RuntimeError> {
        self.of(id).logs(id, from).await
    }

    async fn last_lines(&self, id: &InstanceId, count: usize) -> Result<Vec<LogLine>, RuntimeError> {
        self.of(id).last_lines(id, count).await
    }

    async fn usage(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        self.of(id).usage(id).await
    }

    async fn probe(&self, id: &InstanceId, check: &HealthCheck) -> ProbeResult {
        self.of(id).probe(id, check).await
    }
}
