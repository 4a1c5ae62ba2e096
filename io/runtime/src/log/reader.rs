//! The control process's side of a log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{now, record, segments};
use crate::{LINE_BYTES_MAX, LogLine, LogStreamKind};

/// Bytes read at once; a whole record fits.
const BATCH_BYTES: usize = 4 * LINE_BYTES_MAX;

/// Reads a log from an offset on. It holds no lock and may come and go as it likes.
#[derive(Debug)]
pub(crate) struct LogReader {
    dir: PathBuf,
    position: u64,
    open: Option<(u64, File)>,
    started: bool,
}

impl LogReader {
    pub(crate) fn new(dir: PathBuf, from: u64) -> Self {
        LogReader {
            dir,
            position: from,
            open: None,
            started: false,
        }
    }

    /// The next lines; none when there are no whole ones yet.
    pub(crate) fn read(&mut self) -> io::Result<Vec<LogLine>> {
        let mut lines = Vec::new();
        loop {
            if self.open.is_none() && !self.find_segment(&mut lines)? {
                return Ok(lines);
            }
            let Some((start, file)) = &self.open else {
                return Ok(lines);
            };
            let mut bytes = vec![0; BATCH_BYTES];
            let read = file.read_at(&mut bytes, self.position - start)?;
            bytes.truncate(read);
            let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => at + 1,
                // No record is that long: the file is damaged. Go on behind it.
                None if read == BATCH_BYTES => read,
                None => 0,
            };
            if whole > 0 {
                for record in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
                    let text = record.strip_suffix(b"\n").unwrap_or(record);
                    lines.push(record::decode(text, self.position));
                    self.position += record.len() as u64;
                }
                return Ok(lines);
            }
            // At the end: the next segment, if one begins here, or wait.
            let all = segments(&self.dir)?;
            if all.iter().all(|(begin, _)| begin != start) {
                // Rotated away (or begun anew) while it was read.
                self.open = None;
                continue;
            }
            let next = all
                .into_iter()
                .find(|(begin, _)| *begin == self.position && begin != start);
            let Some((begin, path)) = next else {
                return Ok(lines);
            };
            self.open = Some((begin, File::open(path)?));
        }
    }

    /// Opens the segment that holds the position; whether there is one.
    fn find_segment(&mut self, lines: &mut Vec<LogLine>) -> io::Result<bool> {
        let all = segments(&self.dir)?;
        let (Some((oldest, _)), Some((newest, last))) = (all.first(), all.last()) else {
            return Ok(false);
        };
        let end = newest + std::fs::metadata(last)?.len();
        if self.position < *oldest {
            // Nothing is lost when reading was asked for from the beginning.
            if self.position > 0 || self.started {
                lines.push(gap(self.position, *oldest));
            }
            self.position = *oldest;
        } else if self.position > end {
            // The log was begun anew since; rather twice than never.
            self.position = *oldest;
        }
        let holder = all.into_iter().rev().find(|(start, _)| *start <= self.position);
        let Some((start, path)) = holder else {
            return Ok(false);
        };
        self.open = Some((start, File::open(path)?));
        self.started = true;
        Ok(true)
    }
}

fn gap(from: u64, to: u64) -> LogLine {
    LogLine {
        offset: from,
        next_offset: to,
        stream: LogStreamKind::Shim,
        at: now(),
        text: format!(
            "{} bytes of log were rotated away before they were read",
            to - from
        ),
    }
}

/// The last `count` lines, oldest first; looks at no more than the last megabyte.
pub(crate) fn last_lines(dir: &Path, count: usize) -> io::Result<Vec<LogLine>> {
    const TAIL_BYTES_MAX: u64 = 1024 * 1024;
    let all = segments(dir)?;
    let Some((newest, last)) = all.last() else {
        return Ok(Vec::new());
    };
    let end = newest + std::fs::metadata(last)?.len();
    let from = end.saturating_sub(TAIL_BYTES_MAX).max(all[0].0);
    // From the middle of a line the first record would be half a line.
    let halved = from > all[0].0;
    let mut reader = LogReader::new(dir.to_owned(), from);
    let mut lines = Vec::new();
    loop {
        let more = reader.read()?;
        if more.is_empty() {
            break;
        }
        lines.extend(more);
        let spare = lines.len().saturating_sub(count + 1);
        lines.drain(..spare);
    }
    if halved && lines.first().is_some_and(|line| line.offset == from) {
        lines.remove(0);
    }
    let spare = lines.len().saturating_sub(count);
    lines.drain(..spare);
    Ok(lines)
}
