//! Why a runtime failed to do what it was asked; each finishes the sentence "failed to …".

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use trimtab_model::{Generation, InstanceId};

use crate::ProbeResult;

/// Why a runtime failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The command's program is not there.
    #[error(
        "start {instance}: there is no program {command:?} ({looked}); build it into the artifact, name its path relative to the artifact, or install it"
    )]
    CommandMissing {
        /// The instance.
        instance: InstanceId,
        /// The program as the spec names it.
        command: String,
        /// Where it was looked for.
        looked: String,
    },
    /// The command's program is there and cannot be run.
    #[error("start {instance}: {path} is not executable; run `chmod +x` on it in the build")]
    NotExecutable {
        /// The instance.
        instance: InstanceId,
        /// The file.
        path: PathBuf,
    },
    /// The spec cannot be carried out.
    #[error("start {instance}: {reason}")]
    BadSpec {
        /// The instance.
        instance: InstanceId,
        /// What is wrong and the mend.
        reason: String,
    },
    /// The effect comes from a decision older than one already carried out.
    #[error("change {instance}: generation {} is older than {}, which was seen already", given.0, newest.0)]
    OlderGeneration {
        /// The instance.
        instance: InstanceId,
        /// The generation given.
        given: Generation,
        /// The newest seen.
        newest: Generation,
    },
    /// No such instance.
    #[error("find instance {0}: it was never started here or is removed")]
    NoInstance(InstanceId),
    /// The shim cannot be started or doesn't answer.
    #[error("reach the shim of {instance}: {reason}")]
    Shim {
        /// The instance.
        instance: InstanceId,
        /// What happened, with the shim's last words.
        reason: String,
    },
    /// The container engine refused or doesn't answer.
    #[error("run {instance}: failed to {reason}")]
    Engine {
        /// The instance.
        instance: InstanceId,
        /// What happened and the mend.
        reason: String,
    },
    /// No free port was found.
    #[error("find a free port for {instance} among {first} to {last}: end something that listens there")]
    NoPort {
        /// The instance.
        instance: InstanceId,
        /// Lowest port tried.
        first: u16,
        /// Highest port tried.
        last: u16,
    },
    /// The instance didn't become healthy in time.
    #[error("see {instance} healthy within {waited:?}: {why}")]
    NeverHealthy {
        /// The instance.
        instance: InstanceId,
        /// How long was waited.
        waited: Duration,
        /// State, last probe and last lines in one text, for people.
        why: String,
        /// The last probe, if one was made.
        last_probe: Option<Box<ProbeResult>>,
        /// The last lines of output, oldest first.
        last_lines: Vec<String>,
    },
    /// A file cannot be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// What was tried, for example `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file on disk is not as this version writes it.
    #[error("read {path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and the mend.
        reason: String,
    },
}

impl RuntimeError {
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| RuntimeError::File { doing, path, source }
    }
}
