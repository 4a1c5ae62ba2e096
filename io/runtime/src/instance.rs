//! What is known of an instance.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::Stream;
use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, ServiceName, Timestamp};

use crate::RuntimeError;

/// One instance as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The release it runs.
    pub release: ReleaseId,
    /// Where it runs.
    pub environment: EnvironmentName,
    /// The service it is a copy of.
    pub service: ServiceName,
    /// The newest decision it was told of.
    pub generation: Generation,
    /// Where it listens, or will.
    pub address: SocketAddr,
    /// The process that leads its group, while there is one.
    pub pid: Option<u32>,
    /// What it is doing.
    pub state: InstanceState,
    /// Starts after the first one, by itself or by command, since it was last ensured.
    pub restarts: u32,
    /// When the present or last process was started.
    pub started_at: Option<Timestamp>,
    /// How the last process ended.
    pub last_exit: Option<Exit>,
    /// Lines of output lost because the disk was full.
    pub lines_dropped: u64,
    /// Lines cut because they were longer than [`crate::LINE_BYTES_MAX`].
    pub lines_cut: u64,
    /// What kept it from starting, for people.
    pub problem: Option<String>,
    /// How its limits are kept, and which cannot be; none when it has none.
    #[serde(default)]
    pub limits: Option<String>,
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// The process runs and doesn't listen on its port yet.
    Starting,
    /// The process listens on its port.
    Running,
    /// The process ended and will be started again after a pause.
    BackOff,
    /// The process was asked to end and hasn't yet.
    Stopping,
    /// The process ended more often than its back-off allows, or cannot be started.
    Exited,
    /// Stopped by command.
    Stopped,
    /// Its shim is gone (killed, or the machine was restarted): ensure it again.
    Lost,
    /// What keeps it does not answer: it may run as before, or not.
    Unknown,
}

impl InstanceState {
    /// The state's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            InstanceState::Starting => "starting",
            InstanceState::Running => "running",
            InstanceState::BackOff => "back-off",
            InstanceState::Stopping => "stopping",
            InstanceState::Exited => "exited",
            InstanceState::Stopped => "stopped",
            InstanceState::Lost => "lost",
            InstanceState::Unknown => "unknown",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub at: Timestamp,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its last lines of output, oldest first.
    pub last_lines: Vec<String>,
    /// What is known of why, beyond code and signal: out of memory, failed liveness probes.
    #[serde(default)]
    pub reason: Option<String>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}")?,
            (None, Some(signal)) => write!(f, "signal {signal}")?,
            (None, None) => f.write_str("an unknown end")?,
        }
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStreamKind {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// The shim's own words: starts, ends, losses.
    Shim,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where it begins in the instance's log, counted in bytes from its first line ever.
    pub offset: u64,
    /// Where the next line begins: pass it as `from` to go on after this line.
    pub next_offset: u64,
    /// Where it came from.
    pub stream: LogStreamKind,
    /// When it was read from the process.
    pub at: Timestamp,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Lines as they come.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, RuntimeError>> + Send>>;

/// What a process group uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time used so far in seconds, user and system; begins at zero again when the process is restarted.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Processes in the group.
    pub processes: u32,
    /// Their threads.
    pub threads: u32,
}
