//! The shim's side of a log.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{now, record, segment_path, segments};
use crate::{LogLimits, LogStreamKind};

/// Lines of the process kept in memory for the record of its end.
const RECENT_LINES_MAX: usize = 20;
/// Of each of these, at most this much.
const RECENT_LINE_BYTES_MAX: usize = 1024;

/// Appends records and begins new segments. What cannot be written (a full disk) is dropped and counted: the process is
/// never kept waiting for its log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: PathBuf,
    limits: LogLimits,
    /// None after a failed write: opened anew at the next flush.
    segment: Option<Segment>,
    buffer: Vec<u8>,
    buffered_lines: u64,
    recent: VecDeque<Vec<u8>>,
    dropped: u64,
    dropped_told: u64,
    cut: u64,
}

#[derive(Debug)]
struct Segment {
    file: File,
    start: u64,
    length: u64,
}

impl LogWriter {
    /// Opens a log or begins one; half a record at its end, left by a crash, is cut off.
    pub(crate) fn open(dir: &Path, limits: LogLimits) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(LogWriter {
            dir: dir.to_owned(),
            limits,
            segment: Some(Segment::last(dir)?),
            buffer: Vec::new(),
            buffered_lines: 0,
            recent: VecDeque::new(),
            dropped: 0,
            dropped_told: 0,
            cut: 0,
        })
    }

    /// Takes a line; [`LogWriter::flush`] writes it.
    pub(crate) fn line(&mut self, stream: LogStreamKind, line: &[u8], cut_bytes: u64) {
        record::encode(&mut self.buffer, now(), stream, line, cut_bytes);
        self.buffered_lines += 1;
        self.cut += u64::from(cut_bytes > 0);
        if stream != LogStreamKind::Shim {
            if self.recent.len() == RECENT_LINES_MAX {
                self.recent.pop_front();
            }
            self.recent
                .push_back(line[..line.len().min(RECENT_LINE_BYTES_MAX)].to_vec());
        }
    }

    /// Writes a line of the shim's own.
    pub(crate) fn say(&mut self, text: &str) {
        self.line(LogStreamKind::Shim, text.as_bytes(), 0);
        self.flush();
    }

    /// Writes all lines taken.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if self.dropped > self.dropped_told {
            let text = format!(
                "{} lines were lost: the log could not be written",
                self.dropped - self.dropped_told
            );
            let mut first = Vec::new();
            record::encode(&mut first, now(), LogStreamKind::Shim, text.as_bytes(), 0);
            first.append(&mut self.buffer);
            self.buffer = first;
        }
        match self.write() {
            Ok(()) => self.dropped_told = self.dropped,
            Err(_) => {
                self.segment = None;
                self.dropped += self.buffered_lines;
            }
        }
        self.buffer.clear();
        self.buffered_lines = 0;
    }

    fn write(&mut self) -> io::Result<()> {
        let segment = match &mut self.segment {
            Some(segment) => segment,
            empty => empty.insert(Segment::last(&self.dir)?),
        };
        if segment.length >= self.limits.segment_bytes_max {
            *segment = Segment::begin(&self.dir, segment.start + segment.length)?;
            let all = segments(&self.dir)?;
            for (_, path) in all.iter().rev().skip(self.limits.segments_max.max(1)) {
                std::fs::remove_file(path)?;
            }
        }
        if let Err(error) = segment.file.write_all(&self.buffer) {
            // Half a batch may be there: back to the last whole one.
            let _ = segment.file.set_len(segment.length);
            return Err(error);
        }
        segment.length += self.buffer.len() as u64;
        Ok(())
    }

    /// Forgets the lines of the process that ran before.
    pub(crate) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// The process's last lines, oldest first.
    pub(crate) fn recent(&self) -> Vec<String> {
        self.recent
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }

    /// Lines lost because they could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Lines cut because they were too long.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}

impl Segment {
    /// The newest segment, whole records only.
    fn last(dir: &Path) -> io::Result<Segment> {
        let Some((start, path)) = segments(dir)?.pop() else {
            return Segment::begin(dir, 0);
        };
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let found = file.metadata()?.len();
        let length = whole(&mut file, found)?;
        if length < found {
            file.set_len(length)?;
        }
        Ok(Segment { file, start, length })
    }

    fn begin(dir: &Path, start: u64) -> io::Result<Segment> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(segment_path(dir, start))?;
        Ok(Segment {
            file,
            start,
            length: 0,
        })
    }
}

/// How many of the first `length` bytes are whole records.
fn whole(file: &mut File, length: u64) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = length;
    let mut chunk = vec![0; STEP as usize];
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        let chunk = &mut chunk[..(end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(chunk)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
