//! Instances for the engine to run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trimtab_docker::DockerRuntime;
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, ServiceName};
use trimtab_runtime::{
    Ask, BackOff, HealthCheck, Image, Instance, InstanceSpec, Kind, Limits, LogLimits, Runtime, probe,
};

use crate::engine::Engine;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Engine {
    pub(crate) async fn runtime(&self, telemetry: Option<std::net::SocketAddr>) -> DockerRuntime {
        DockerRuntime::open(&self.dir.path().join("containers"), &self.socket(), telemetry)
            .await
            .unwrap()
    }

    pub(crate) fn spec(&self, id: &str) -> InstanceSpec {
        InstanceSpec {
            id: InstanceId::new(id).unwrap(),
            release: ReleaseId::new("blocks-r2").unwrap(),
            environment: EnvironmentName::new("production").unwrap(),
            service: ServiceName::new("blocks").unwrap(),
            generation: Generation(1),
            dir: self.dir.path().to_owned(),
            command: Vec::new(),
            env: BTreeMap::from([
                ("NAME".to_owned(), id.to_owned()),
                ("KEY".to_owned(), "hunter22".to_owned()),
            ]),
            secrets: vec!["KEY".to_owned()],
            user: None,
            stop_grace: Duration::from_secs(1),
            health: check(Ask::Http),
            backoff: BackOff::default(),
            logs: LogLimits::default(),
            kind: Kind::Service,
            limits: Limits::default(),
            directory: None,
            liveness: None,
            image: Some(Image {
                reference: self.image.clone(),
                host_network: false,
            }),
        }
    }
}

pub(crate) fn check(ask: Ask) -> HealthCheck {
    HealthCheck {
        ask,
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(10),
        ..HealthCheck::default()
    }
}

pub(crate) async fn get(instance: &Instance, path: &str) -> String {
    let check = HealthCheck {
        path: path.to_owned(),
        ..check(Ask::Http)
    };
    let seen = probe(instance.address, &check).await;
    seen.error.unwrap_or(seen.body)
}

pub(crate) async fn until(
    runtime: &dyn Runtime,
    id: &InstanceId,
    what: &str,
    wanted: impl Fn(&Instance) -> bool,
) -> Instance {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let instance = runtime.get(id).await.unwrap();
        if wanted(&instance) {
            return instance;
        }
        assert!(Instant::now() < deadline, "never {what}: {instance:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
