//! What a run's steps printed, one JSON line each, kept beside the run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;
use trimtab_pipeline::Stage;
use trimtab_runner::OutputLine;

/// A line as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedLine {
    /// When it was read.
    pub at: Timestamp,
    /// Which attempt at the stage printed it.
    pub attempt: u32,
    /// The text.
    pub text: String,
}

/// The log of one stage, open for appending.
pub(crate) struct RunLog {
    file: Option<File>,
    attempt: u32,
}

fn path(dir: &Path, stage: Stage) -> PathBuf {
    dir.join(format!("{}.log", stage.as_str()))
}

impl RunLog {
    /// Opens a stage's log; a log that cannot be opened costs the lines, not the run.
    pub(crate) fn open(dir: &Path, stage: Stage, attempt: u32) -> Self {
        let file = File::options().create(true).append(true).open(path(dir, stage));
        if let Err(error) = &file {
            tracing::warn!(stage = stage.as_str(), %error, "failed to open a stage's log");
        }
        Self {
            file: file.ok(),
            attempt,
        }
    }

    /// Appends a line.
    pub(crate) fn line(&mut self, line: &OutputLine) {
        let kept = LoggedLine {
            at: line.at,
            attempt: self.attempt,
            text: line.text.clone(),
        };
        if let (Some(file), Ok(mut json)) = (&mut self.file, serde_json::to_vec(&kept)) {
            json.push(b'\n');
            if let Err(error) = file.write_all(&json) {
                tracing::warn!(%error, "failed to keep a line of a stage's log");
            }
        }
    }
}

/// The lines of a stage after the first `after`, at most `limit`.
pub fn read(dir: &Path, stage: Stage, after: usize, limit: usize) -> Vec<LoggedLine> {
    let Ok(file) = File::open(path(dir, stage)) else {
        return Vec::new();
    };
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .skip(after)
        .take(limit)
        .filter_map(|line| serde_json::from_str(&line).ok())
        .collect()
}
