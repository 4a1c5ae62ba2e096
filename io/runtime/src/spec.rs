//! What an instance is asked to be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
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
}

/// How to ask an instance whether it is well: `GET path` over HTTP/1.1; 200 to 399 is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// Path and query, beginning with `/`.
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
