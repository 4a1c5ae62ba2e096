//! Segment files: `<first sequence, 20 digits>.wal`, a 32-byte header, then frames.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::WalError;
use crate::frame;

/// Of the file format; frames carry none of their own.
const VERSION: u8 = 1;
const MAGIC: &[u8; 8] = b"TRIMTWAL";
const HEADER_BYTES: u64 = 32;

/// Takes `(sequence, entry)`; an `Err` says what is wrong with the entry.
pub(crate) type Replay<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), String>;

/// A segment that is no longer written.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The segment that grows.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) path: PathBuf,
    pub(crate) first_sequence: u64,
    /// Bytes that were synced; whatever lies beyond is leftover of a failed write.
    pub(crate) bytes: u64,
    file: File,
    leftover: bool,
}

impl Active {
    /// Makes a new segment and syncs it together with its folder.
    pub(crate) fn create(dir: &Path, first_sequence: u64) -> Result<Self, WalError> {
        let path = dir.join(format!("{first_sequence:020}.wal"));
        match Self::create_at(dir, &path, first_sequence) {
            Ok(active) => Ok(active),
            Err(error) => {
                // A half-made segment would stand in the way of the next try.
                let _ = fs::remove_file(&path);
                Err(WalError::io("create", &path, error))
            }
        }
    }

    fn create_at(dir: &Path, path: &Path, first_sequence: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .write(true)
            .read(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        file.write_all(&header(first_sequence))?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Active {
            path: path.to_owned(),
            first_sequence,
            bytes: HEADER_BYTES,
            file,
            leftover: false,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == HEADER_BYTES
    }

    /// Writes a frame and syncs it; on failure nothing of it stays.
    pub(crate) fn append(&mut self, frame: &[u8]) -> Result<(), WalError> {
        if self.leftover {
            self.cut().map_err(|e| WalError::io("truncate", &self.path, e))?;
        }
        let written = self
            .file
            .write_all_at(frame, self.bytes)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.leftover = true;
            let _ = self.cut();
            return Err(WalError::io("write", &self.path, error));
        }
        self.bytes += frame.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.sync_data()?;
        self.leftover = false;
        Ok(())
    }

    pub(crate) fn into_closed(self) -> Closed {
        Closed {
            path: self.path,
            bytes: self.bytes,
        }
    }
}

fn header(first_sequence: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8] = VERSION;
    header[16..24].copy_from_slice(&first_sequence.to_le_bytes());
    let crc = crc32fast::hash(&header[..24]);
    header[24..28].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What the log's folder held.
pub(crate) struct Recovered {
    pub(crate) closed: Vec<Closed>,
    pub(crate) active: Active,
    pub(crate) next_sequence: u64,
}

/// Reads all segments in order, hands every entry to `replay`, and cuts the torn end of the last.
pub(crate) fn recover(dir: &Path, replay: Replay<'_>) -> Result<Recovered, WalError> {
    let paths = list(dir)?;
    let mut closed = Vec::new();
    let mut next_sequence = 0;
    for (index, path) in paths.iter().enumerate() {
        let is_last = index + 1 == paths.len();
        let bytes = fs::read(path).map_err(|e| WalError::io("read", path, e))?;
        let Some(first) = check_header(path, &bytes, is_last)? else {
            // The crash came while this segment was being made: it holds nothing.
            tracing::warn!(path = %path.display(), "removed a segment that was cut short while it was made");
            fs::remove_file(path).map_err(|e| WalError::io("remove", path, e))?;
            break;
        };
        if first > next_sequence && index > 0 {
            tracing::warn!(path = %path.display(), missing = first - next_sequence, "a part of the log before this segment was taken away");
        }
        next_sequence = next_sequence.max(first);
        let good = read_frames(path, &bytes, is_last, &mut next_sequence, replay)?;
        if is_last {
            let active = reopen(path, first, good)?;
            return Ok(Recovered {
                closed,
                active,
                next_sequence,
            });
        }
        closed.push(Closed {
            path: path.clone(),
            bytes: good,
        });
    }
    let active = Active::create(dir, next_sequence)?;
    Ok(Recovered {
        closed,
        active,
        next_sequence,
    })
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, WalError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| WalError::io("list", dir, e))? {
        let path = entry.map_err(|e| WalError::io("list", dir, e))?.path();
        if path.extension().is_some_and(|e| e == "wal") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The first sequence; none when the last segment was cut short while it was made.
fn check_header(path: &Path, bytes: &[u8], is_last: bool) -> Result<Option<u64>, WalError> {
    let corrupt = |reason: &str| WalError::Corrupt {
        path: path.to_owned(),
        offset: 0,
        reason: reason.to_owned(),
    };
    let Some(head) = bytes.get(..HEADER_BYTES as usize) else {
        return if is_last {
            Ok(None)
        } else {
            Err(corrupt("the header is cut short"))
        };
    };
    if is_last && bytes.len() as u64 == HEADER_BYTES && head.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    if &head[..8] != MAGIC {
        return Err(corrupt("it does not begin as a log segment does"));
    }
    if head[8] != VERSION {
        return Err(WalError::Version {
            path: path.to_owned(),
            version: head[8],
            known: VERSION,
        });
    }
    let crc = crc32fast::hash(&head[..24]).to_le_bytes();
    if head[24..28] != crc {
        return Err(corrupt("the header has a wrong checksum"));
    }
    let first = head[16..24].try_into().map_err(|_| corrupt("no sequence"))?;
    Ok(Some(u64::from_le_bytes(first)))
}

/// Replays frames; returns where the good part ends.
fn read_frames(
    path: &Path,
    bytes: &[u8],
    is_last: bool,
    next_sequence: &mut u64,
    replay: Replay<'_>,
) -> Result<u64, WalError> {
    let mut at = HEADER_BYTES as usize;
    while at < bytes.len() {
        let corrupt = |reason: String| WalError::Corrupt {
            path: path.to_owned(),
            offset: at as u64,
            reason,
        };
        let frame = match frame::read(&bytes[at..]) {
            Ok(frame) if frame.sequence == *next_sequence => frame,
            Ok(frame) => {
                return Err(corrupt(format!(
                    "frame {} follows where {next_sequence} should",
                    frame.sequence
                )));
            }
            // A frame is begun only after the one before it was synced: a good one further on
            // means that this one was whole once.
            Err(reason) if !is_last || frame::find(&bytes[at + 1..]).is_some() => {
                return Err(corrupt(reason.to_owned()));
            }
            Err(reason) => {
                tracing::warn!(path = %path.display(), offset = at, bytes = bytes.len() - at, reason,
                    "cut off the torn end of the log; it was never acknowledged");
                return Ok(at as u64);
            }
        };
        for entry in frame::entries(frame.payload) {
            replay(frame.sequence, entry).map_err(corrupt)?;
        }
        *next_sequence += 1;
        at += frame.length;
    }
    Ok(at as u64)
}

fn reopen(path: &Path, first_sequence: u64, bytes: u64) -> Result<Active, WalError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| WalError::io("open", path, e))?;
    let mut active = Active {
        path: path.to_owned(),
        first_sequence,
        bytes,
        file,
        leftover: false,
    };
    active.cut().map_err(|e| WalError::io("truncate", path, e))?;
    Ok(active)
}
