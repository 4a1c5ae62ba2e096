//! The output of an instance on disk.
//!
//! `logs/` holds segments named by the offset of their first byte in twenty digits. Each line is one record,
//! `TIME STREAM FLAG TEXT\n`, as Kubernetes' runtimes write them (the CRI logging format), with a third stream for the shim's
//! own words. A record is written at once or cut off again, so a reader that stops at the last line's end never
//! reads half of one, and its offset stays good for as long as the segment is kept.

mod follow;
mod reader;
mod record;
mod splitter;
mod writer;

pub(crate) use follow::follow;
use reader::LogReader;
pub(crate) use reader::last_lines;
pub(crate) use splitter::LineSplitter;
pub(crate) use writer::LogWriter;

use std::path::{Path, PathBuf};

use trimtab_model::Timestamp;

/// Segments of a log with their first offsets, oldest first.
fn segments(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if let Some(start) = name.strip_suffix(".log").and_then(|digits| digits.parse().ok()) {
            found.push((start, path));
        }
    }
    found.sort();
    Ok(found)
}

fn segment_path(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("{start:020}.log"))
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
