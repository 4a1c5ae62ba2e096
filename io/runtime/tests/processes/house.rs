//! A folder with a runtime in it, and how tests wait for what happens there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, ServiceName};
use trimtab_runtime::{
    BackOff, HealthCheck, Instance, InstanceSpec, InstanceState, Kind, Limits, LogLimits, ProcessRuntime,
    Runtime, ShimProgram, probe,
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_runtime-test-program");
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime in a folder of its own that leaves nothing running.
pub(crate) struct House {
    pub(crate) dir: TempDir,
    pub(crate) runtime: ProcessRuntime,
    pub(crate) id: InstanceId,
}

impl House {
    pub(crate) fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        let runtime = House::open(&dir);
        House {
            dir,
            runtime,
            id: InstanceId::new("blocks-r2-production-1").unwrap(),
        }
    }

    pub(crate) fn open(dir: &TempDir) -> ProcessRuntime {
        let shim = ShimProgram {
            program: PathBuf::from(PROGRAM),
            args: vec!["shim".to_owned()],
        };
        ProcessRuntime::new(dir.path().join("instances"), shim).unwrap()
    }

    pub(crate) fn spec(&self, command: &[&str]) -> InstanceSpec {
        InstanceSpec {
            id: self.id.clone(),
            release: ReleaseId::new("blocks-r2").unwrap(),
            environment: EnvironmentName::new("production").unwrap(),
            service: ServiceName::new("blocks").unwrap(),
            generation: Generation(1),
            dir: self.dir.path().join("work"),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            env: BTreeMap::new(),
            secrets: Vec::new(),
            user: None,
            stop_grace: Duration::from_secs(5),
            health: HealthCheck {
                interval: Duration::from_millis(20),
                ..HealthCheck::default()
            },
            backoff: BackOff {
                initial: Duration::from_millis(20),
                ..BackOff::default()
            },
            logs: LogLimits::default(),
            kind: Kind::Service,
            limits: Limits::default(),
            directory: None,
            liveness: None,
            image: None,
        }
    }

    pub(crate) fn shell(&self, script: &str) -> InstanceSpec {
        self.spec(&["sh", "-c", script])
    }

    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Instance) -> bool) -> Instance {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let instance = self.runtime.get(&self.id).await.unwrap();
            if wanted(&instance) {
                return instance;
            }
            assert!(
                Instant::now() < deadline,
                "never {what}: {instance:?}\n{:?}",
                self.lines().await
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn running(&self) -> Instance {
        self.until("running", |instance| instance.state == InstanceState::Running)
            .await
    }

    pub(crate) async fn lines(&self) -> Vec<String> {
        let lines = self.runtime.last_lines(&self.id, 100).await.unwrap();
        lines.into_iter().map(|line| line.text).collect()
    }

    pub(crate) async fn until_line(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.lines().await.iter().any(|line| line.contains(wanted)) {
            assert!(
                Instant::now() < deadline,
                "no line {wanted:?} in {:?}",
                self.lines().await
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn get(&self, instance: &Instance, path: &str) -> String {
        let check = HealthCheck {
            path: path.to_owned(),
            ..HealthCheck::default()
        };
        probe(instance.address, &check).await.body
    }

    pub(crate) fn shim_state(&self) -> serde_json::Value {
        let folder = self.dir.path().join("instances").join(self.id.as_str());
        serde_json::from_slice(&std::fs::read(folder.join("state.json")).unwrap()).unwrap()
    }

    pub(crate) fn shim_pid(&self) -> u32 {
        u32::try_from(self.shim_state()["shim"]["pid"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Also when a test fails: kill the shims, then what they leave behind.
        for entry in std::fs::read_dir(self.dir.path().join("instances"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let state = std::fs::read(entry.path().join("state.json")).unwrap_or_default();
            let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
            if let Some(pid) = state["shim"]["pid"].as_u64() {
                kill(pid as u32, Signal::KILL);
            }
        }
        // The lock falls open when the shim is gone.
        std::thread::sleep(Duration::from_millis(20));
        House::open(&self.dir);
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
}

pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

pub(crate) async fn until_gone(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
