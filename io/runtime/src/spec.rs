//! What an instance is asked to be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trimtab_child::Masker;
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, ServiceName};

/// One instance as the control loop wants it. Two specs that differ only in `generation` describe the
/// same process: ensuring the second leaves it running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Its id; also the name of its folder.
    pub id: InstanceId,
    /// The release it runs.
    pub release: ReleaseId,
    /// Where it runs.
    pub environment: EnvironmentName,
    /// The service it is a copy of.
    pub service: ServiceName,
    /// The decision this spec comes from; a runtime refuses one older than the newest it has seen.
    pub generation: Generation,
    /// The unpacked artifact: working folder and `HOME` of the process. Absolute.
    pub dir: PathBuf,
    /// Program and arguments. A program with a `/` is relative to `dir`, others are looked up in `PATH`.
    pub command: Vec<String>,
    /// Environment beside `PATH`, `HOME`, `LANG` and `PORT`; nothing else is inherited. May override the first three.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Which of these variables are secrets: masked wherever its output is kept.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// User to run as, `name`, `uid` or `uid:gid`; needs root. None: the user of the control process.
    #[serde(default)]
    pub user: Option<String>,
    /// How long the process may take to end after SIGTERM before it is killed.
    pub stop_grace: Duration,
    /// How its health is asked.
    #[serde(default)]
    pub health: HealthCheck,
    /// How it is restarted when it ends by itself.
    #[serde(default)]
    pub backoff: BackOff,
    /// How much of its output is kept.
    #[serde(default)]
    pub logs: LogLimits,
    /// What its end means, and whether it listens.
    #[serde(default)]
    pub kind: Kind,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// The folder it runs in, within `dir`.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// How it is asked whether it must be restarted.
    #[serde(default)]
    pub liveness: Option<Liveness>,
    /// The image it is a container of; none: a process.
    #[serde(default)]
    pub image: Option<Image>,
}

impl InstanceSpec {
    /// The folder it runs in.
    pub fn working_folder(&self) -> PathBuf {
        match &self.directory {
            Some(directory) => self.dir.join(directory),
            None => self.dir.clone(),
        }
    }

    /// Where its programs are looked up; `usual` is the control process's.
    pub(crate) fn search_path(&self, usual: &str) -> String {
        self.env.get("PATH").cloned().unwrap_or_else(|| usual.to_owned())
    }

    /// Takes its secrets out of what is kept of its words.
    pub fn masker(&self) -> Masker {
        let secrets = self.secrets.iter().filter_map(|name| self.env.get(name));
        Masker::new(&secrets.cloned().collect::<Vec<_>>())
    }

    /// Gives a command the environment of the instance, and nothing else.
    pub(crate) fn fill_environment(&self, command: &mut Command, usual_path: &str, port: u16) {
        command
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.dir)
            .env("PATH", self.search_path(usual_path))
            .envs(&self.env)
            .env("PORT", port.to_string());
    }
}

/// What an instance's end means, and whether it listens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Listens on its port and isn't meant to end.
    #[default]
    Service,
    /// Listens nowhere and isn't meant to end.
    Worker,
    /// Listens nowhere, and is started once: it is over when it ends.
    Once,
}

/// What an instance may use; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Processors, in thousandths.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u32>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// The image of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// By its digest: `repository@sha256:…`.
    pub reference: String,
    /// Whether it shares the machine's network instead of having one of its own.
    #[serde(default)]
    pub host_network: bool,
}

/// How an instance is asked whether it must be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// What is asked, how often and how patiently; `unhealthy_after` bad probes in a row restart it.
    pub check: HealthCheck,
    /// How long after its start it is first asked.
    pub delay: Duration,
}

/// What a probe asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// `GET path` over HTTP/1.1; 200 to 399 is healthy.
    #[default]
    Http,
    /// A connection.
    Tcp,
    /// The end of a command, run as the instance is; 0 is healthy.
    Command(Vec<String>),
    /// `grpc.health.v1` of this service; an empty name is the whole server's.
    Grpc(String),
    /// Nothing: it is healthy while it runs.
    Running,
}

/// How to ask an instance whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// What is asked.
    pub ask: Ask,
    /// Path and query, beginning with `/`, when HTTP is asked.
    pub path: String,
    /// Pause between two probes.
    pub interval: Duration,
    /// Longest that one probe may take.
    pub timeout: Duration,
    /// Good probes in a row that make an instance healthy.
    pub healthy_after: u32,
    /// Bad probes in a row that make it unhealthy.
    pub unhealthy_after: u32,
    /// Longest that a new instance may take to become healthy.
    pub start_timeout: Duration,
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            ask: Ask::Http,
            path: "/health".to_owned(),
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
            start_timeout: Duration::from_secs(20),
        }
    }
}

/// Exponential back-off between restarts: `initial`, twice that, and so on up to `longest`. A process that ran
/// for `steady_after` starts again from `initial` with its count at zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackOff {
    /// First pause.
    pub initial: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Restarts in a row after which the shim gives up and the instance is `Exited`.
    pub restarts_max: u32,
    /// Time of running after which earlier restarts are forgotten.
    pub steady_after: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        BackOff {
            initial: Duration::from_millis(200),
            longest: Duration::from_secs(30),
            restarts_max: 10,
            steady_after: Duration::from_secs(60),
        }
    }
}

/// How much of an instance's output stays on disk: about `segment_bytes_max * segments_max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogLimits {
    /// Size at which a new file is begun.
    pub segment_bytes_max: u64,
    /// Files kept; the oldest are deleted.
    pub segments_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            segment_bytes_max: 8 * 1024 * 1024,
            segments_max: 8,
        }
    }
}
