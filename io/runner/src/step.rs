//! One shell line of a pipeline, run in a process group of its own.

mod record;
mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

/// What to run.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// The step's name, for example `unit`.
    pub name: String,
    /// The shell line, given to `sh -c`.
    pub command: String,
    /// Where it runs.
    pub dir: PathBuf,
    /// Environment beside `PATH`, `HOME` (the folder), `LANG` and `CI=true`; nothing else is inherited. May override them.
    pub env: BTreeMap<String, String>,
    /// Longest it may take.
    pub timeout: Duration,
    /// Texts that never appear in its output, in plain, base64, URL or hex encoding; shorter than four bytes are not masked.
    pub secrets: Vec<String>,
    /// Folder for the record by which [`reap_stale`] finds the step after a crash.
    pub records: PathBuf,
    /// User to run as, `name`, `uid` or `uid:gid`; needs root. None: the user of the control process.
    pub user: Option<String>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// Exit code 0.
    Passed,
    /// Another exit code.
    Failed {
        /// The exit code.
        code: i32,
    },
    /// A signal not sent by the runner ended it.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// It took longer than it may.
    TimedOut {
        /// The limit in milliseconds.
        limit_millis: u64,
    },
    /// It was cancelled.
    Cancelled,
    /// A command in it was not found (exit code 127).
    NotFound {
        /// The command, when it could be told from the output.
        command: Option<String>,
    },
}

impl fmt::Display for StepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepEnd::Passed => f.write_str("passed"),
            StepEnd::Failed { code } => write!(f, "failed with exit code {code}"),
            StepEnd::Killed { signal } => write!(f, "was killed by signal {signal}"),
            StepEnd::TimedOut { limit_millis } => write!(
                f,
                "took longer than its limit of {:?}; make it quicker or raise `timeout` in trimtab.yaml",
                Duration::from_millis(*limit_millis)
            ),
            StepEnd::Cancelled => f.write_str("was cancelled"),
            StepEnd::NotFound { command: Some(command) } => write!(
                f,
                "failed: the command {command:?} was not found; install it on the server or name it by its path in trimtab.yaml"
            ),
            StepEnd::NotFound { command: None } => f.write_str(
                "failed: a command was not found (exit code 127); install it on the server or name it by its path in trimtab.yaml",
            ),
        }
    }
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// How it ended.
    pub end: StepEnd,
    /// How long it took.
    pub duration: Duration,
    /// Its last lines, oldest first, masked.
    pub last_lines: Vec<String>,
    /// Lines it wrote.
    pub lines: u64,
    /// Lines over [`crate::LINES_MAX`] that were not passed on.
    pub lines_dropped: u64,
    /// Lines cut at [`crate::LINE_BYTES_MAX`].
    pub lines_cut: u64,
}

/// Which output a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a step's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLine {
    /// When it was read.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: OutputStream,
    /// The line without its end, masked; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Why a step could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The system refused.
    #[error("run step {step}: {doing} {path}: {source}")]
    System {
        /// The step.
        step: String,
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The spec cannot be carried out.
    #[error("run step {step}: {reason}")]
    BadSpec {
        /// The step.
        step: String,
        /// What is wrong and the mend.
        reason: String,
    },
}

/// Runs a step to its end, passing its lines to `sink` as they come. When `cancel` resolves, or the returned future is dropped,
/// the whole process group is killed.
///
/// # Errors
/// When the step cannot be started; how it ends otherwise is in the outcome.
pub async fn run_step(
    spec: &StepSpec,
    cancel: impl Future<Output = ()> + Send,
    sink: &mut (dyn FnMut(OutputLine) + Send),
) -> Result<StepOutcome, StepError> {
    run::run(spec, cancel, sink).await
}

/// Kills the process groups of steps whose control process died, by the records in `records`, and returns the names of their steps. Call it once
/// at the start, before any step runs.
///
/// # Errors
/// When the folder cannot be read.
pub fn reap_stale(records: &Path) -> Result<Vec<String>, StepError> {
    record::reap(records).map_err(|source| StepError::System {
        step: "of an earlier control process".to_owned(),
        doing: "read the records in",
        path: records.to_owned(),
        source,
    })
}
