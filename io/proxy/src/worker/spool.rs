//! Frames on disk until `serve` has them: segment files of length-prefixed JSON.
//!
//! Written without fsync: what was written survives the end of the process, not of the machine. A
//! torn end is cut off when the spool is opened again.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A segment is closed at this size, and deleted whole.
const SEGMENT_BYTES: u64 = 1024 * 1024;
/// A frame longer than this is damage.
const FRAME_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Where a frame is.
#[derive(Debug, Clone, Copy)]
struct Entry {
    sequence: u64,
    segment: u64,
    offset: u64,
    length: u32,
}

/// The spool, locked by the worker that leads.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    entries: VecDeque<Entry>,
    /// First sequences and sizes of the segments, oldest first; the last is open for writing.
    segments: VecDeque<(u64, u64)>,
    open: File,
    last: u64,
    dropped: u64,
    _lock: File,
}

impl Spool {
    /// Opens the spool, waiting for the worker that leads to let go of it. The next sequence is at
    /// least `floor`, so that sequences grow even if the machine lost the newest files.
    pub(super) fn open(dir: &Path, bytes_max: u64, floor: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))?;
        lock.lock()?;
        let mut names: Vec<u64> = std::fs::read_dir(dir)?
            .filter_map(|entry| {
                entry
                    .ok()?
                    .file_name()
                    .to_str()?
                    .strip_suffix(".frames")?
                    .parse()
                    .ok()
            })
            .collect();
        names.sort_unstable();
        let (mut entries, mut segments) = (VecDeque::new(), VecDeque::<(u64, u64)>::new());
        let mut last = 0;
        for segment in names {
            let size = scan(&path_of(dir, segment), segment, &mut entries)?;
            last = entries
                .back()
                .map_or(last.max(segment.saturating_sub(1)), |entry: &Entry| {
                    entry.sequence
                });
            segments.push_back((segment, size));
        }
        let last = last.max(floor.saturating_sub(1));
        let first = last + 1;
        // An empty segment of that name is the one to write.
        segments.retain(|(segment, _)| *segment != first);
        let open = new_segment(dir, first)?;
        segments.push_back((first, 0));
        Ok(Spool {
            dir: dir.to_owned(),
            bytes_max,
            entries,
            segments,
            open,
            last,
            dropped: 0,
            _lock: lock,
        })
    }

    /// The newest frame's sequence, or what it would be before the next.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Frames dropped for want of room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|(_, size)| size).sum()
    }

    /// Appends the frame with the next sequence.
    pub(super) fn append(&mut self, json: &[u8]) -> io::Result<()> {
        let length = u32::try_from(json.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let sequence = self.last + 1;
        if self
            .segments
            .back()
            .is_some_and(|(_, size)| *size >= SEGMENT_BYTES)
        {
            self.roll(sequence)?;
        }
        let mut record = Vec::with_capacity(json.len() + 4);
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(json);
        let Some((segment, size)) = self.segments.back_mut() else {
            return Ok(());
        };
        if let Err(error) = self.open.write_all(&record) {
            // A full disk may have taken half of it: cut it off, so that the next one is readable.
            self.open.set_len(*size)?;
            self.open.seek(SeekFrom::Start(*size))?;
            self.dropped += 1;
            return Err(error);
        }
        self.entries.push_back(Entry {
            sequence,
            segment: *segment,
            offset: *size + 4,
            length,
        });
        *size += record.len() as u64;
        self.last = sequence;
        self.shed()
    }

    /// Frames after `sequence`, as JSON, up to about `bytes_max` at once.
    pub(super) fn read_after(&self, sequence: u64, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let start = self.entries.partition_point(|entry| entry.sequence <= sequence);
        let (mut frames, mut bytes) = (Vec::new(), 0);
        let mut open: Option<(u64, File)> = None;
        for entry in self.entries.range(start..) {
            if bytes >= bytes_max {
                break;
            }
            let file = match &mut open {
                Some((segment, file)) if *segment == entry.segment => file,
                _ => {
                    &mut open
                        .insert((entry.segment, File::open(path_of(&self.dir, entry.segment))?))
                        .1
                }
            };
            let mut json = vec![0; entry.length as usize];
            file.seek(SeekFrom::Start(entry.offset))?;
            file.read_exact(&mut json)?;
            bytes += json.len();
            frames.push((entry.sequence, json));
        }
        Ok(frames)
    }

    /// Forgets frames up to `sequence`.
    pub(super) fn acknowledge(&mut self, sequence: u64) -> io::Result<()> {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.sequence <= sequence)
        {
            self.entries.pop_front();
        }
        let kept_from = self.entries.front().map_or(u64::MAX, |entry| entry.segment);
        while self.segments.len() > 1 && self.segments.front().is_some_and(|(first, _)| *first < kept_from) {
            self.delete_oldest()?;
        }
        Ok(())
    }

    fn shed(&mut self) -> io::Result<()> {
        while self.bytes() > self.bytes_max && self.segments.len() > 1 {
            let Some((oldest, _)) = self.segments.front().copied() else {
                break;
            };
            let before = self.entries.len();
            self.entries.retain(|entry| entry.segment != oldest);
            self.dropped += (before - self.entries.len()) as u64;
            self.delete_oldest()?;
        }
        Ok(())
    }

    fn delete_oldest(&mut self) -> io::Result<()> {
        match self.segments.pop_front() {
            Some((first, _)) => std::fs::remove_file(path_of(&self.dir, first)),
            None => Ok(()),
        }
    }

    fn roll(&mut self, first: u64) -> io::Result<()> {
        self.open = new_segment(&self.dir, first)?;
        self.segments.push_back((first, 0));
        Ok(())
    }
}

fn path_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.frames"))
}

fn new_segment(dir: &Path, first: u64) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path_of(dir, first))
}

/// Lists a segment's frames and cuts off a torn end; the size that is left.
fn scan(path: &Path, segment: u64, entries: &mut VecDeque<Entry>) -> io::Result<u64> {
    #[derive(serde::Deserialize)]
    struct Sequence {
        sequence: u64,
    }
    let content = std::fs::read(path)?;
    let mut offset = 0;
    while let Some(length) = content.get(offset..offset + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let json = content
            .get(offset + 4..)
            .and_then(|rest| rest.get(..length as usize));
        let Some(json) = json.filter(|_| length <= FRAME_BYTES_MAX) else {
            break;
        };
        let Ok(Sequence { sequence }) = serde_json::from_slice(json) else {
            break;
        };
        entries.push_back(Entry {
            sequence,
            segment,
            offset: offset as u64 + 4,
            length,
        });
        offset += 4 + json.len();
    }
    if offset < content.len() {
        tracing::warn!(file = %path.display(), bytes = content.len() - offset, "cut off a torn frame");
        OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(offset as u64)?;
    }
    Ok(offset as u64)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn frame(spool: &Spool, padding: usize) -> Vec<u8> {
        format!(
            "{{\"sequence\":{},\"x\":\"{}\"}}",
            spool.last() + 1,
            "x".repeat(padding)
        )
        .into_bytes()
    }

    fn sequences(spool: &Spool, after: u64) -> Vec<u64> {
        spool
            .read_after(after, usize::MAX)
            .unwrap()
            .into_iter()
            .map(|(sequence, _)| sequence)
            .collect()
    }

    #[test]
    fn frames_survive_and_sequences_grow() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 30, 10).unwrap();
        for _ in 0..3 {
            spool.append(&frame(&spool, 0)).unwrap();
        }
        assert_eq!(sequences(&spool, 0), [10, 11, 12]);
        let newest = path_of(dir.path(), 10);
        drop(spool);
        // A torn end.
        OpenOptions::new()
            .append(true)
            .open(&newest)
            .unwrap()
            .write_all(&[0, 0, 0, 9, b'{'])
            .unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 30, 0).unwrap();
        assert_eq!(sequences(&spool, 10), [11, 12]);
        spool.append(&frame(&spool, 0)).unwrap();
        spool.acknowledge(12).unwrap();
        assert_eq!(sequences(&spool, 0), [13]);
        assert!(!newest.exists());
        spool.acknowledge(13).unwrap();
        drop(spool);
        let spool = Spool::open(dir.path(), 1 << 30, 0).unwrap();
        assert!(
            spool.last() >= 13,
            "sequences grow although every frame was acknowledged"
        );
    }

    #[test]
    fn a_full_spool_drops_the_oldest_and_counts_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 3 * SEGMENT_BYTES, 0).unwrap();
        for _ in 0..60 {
            spool.append(&frame(&spool, 100_000)).unwrap();
        }
        assert!(spool.bytes() <= 3 * SEGMENT_BYTES);
        let kept = sequences(&spool, 0);
        assert_eq!(kept.len() as u64 + spool.dropped(), 60);
        assert_eq!(kept.last(), Some(&spool.last()));
    }
}
