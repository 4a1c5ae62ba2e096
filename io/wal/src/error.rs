//! What can go wrong with a write-ahead log, each with its mend.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the log could not be opened or written. One failed group commit fails many appends, so it
/// can be cloned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalError {
    /// The disk, the quota or the file-size limit is exhausted. What was acknowledged is safe, and
    /// appends succeed again as soon as there is space.
    #[error("failed to write {}: no space is left ({source}); free some space, writing then goes on by itself", path.display())]
    Full {
        /// The segment that could not grow.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Any other answer of the file system.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `open`.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Bytes that were acknowledged cannot be read, and it is not the torn end of a crash.
    #[error("failed to read {}: damaged at byte {offset} ({reason}). To go on without what follows in this one file, run `truncate -s {offset} {}` and start again (docs/storage.md, \"A damaged log\")", path.display(), path.display())]
    Corrupt {
        /// The damaged segment.
        path: PathBuf,
        /// Where its good part ends.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Written by a newer Trimtab.
    #[error("failed to read {}: its version is {version}, and this program knows up to {known}; use the program that wrote it", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u8,
        /// The newest version this program reads.
        known: u8,
    },
    /// Another process has it open.
    #[error("failed to open {}: another process uses this folder; stop it first", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// One entry above the limit.
    #[error("failed to append {bytes} bytes: the limit of one entry is {max}; send smaller batches")]
    TooLarge {
        /// The entry's size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The disk is slower than the senders; nothing was written.
    #[error("failed to append: the write-ahead log is behind by {queued_bytes} bytes; try again later")]
    Busy {
        /// What waits to be written.
        queued_bytes: usize,
    },
    /// The writer has stopped.
    #[error("failed to append: the write-ahead log in {} is closed", path.display())]
    Closed {
        /// The log's folder.
        path: PathBuf,
    },
}

impl WalError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let (path, full) = (path.to_owned(), is_full(&source));
        let source = Arc::new(source);
        if full {
            WalError::Full { path, source }
        } else {
            WalError::Io { what, path, source }
        }
    }
}

/// Whether the system refused for want of space.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
