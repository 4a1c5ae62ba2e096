//! What can go wrong with the metric store.

use std::io;
use std::path::{Path, PathBuf};

use trimtab_wal::WalError;

/// Why samples could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// The write-ahead log's answer.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The file system's answer.
    #[error("failed to {what} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `read`.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A block's bytes are not what was written.
    #[error("failed to read {}: damaged at byte {offset} ({reason}). To go on without it, move the file away and start again (docs/storage.md, \"A damaged block\")", path.display())]
    Damaged {
        /// The block.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A block written by a newer Trimtab.
    #[error("failed to read {}: its version is {version}, and this program knows up to {known}; use the program that wrote it", path.display())]
    Version {
        /// The block.
        path: PathBuf,
        /// Its version.
        version: u8,
        /// The newest version this program reads.
        known: u8,
    },
    /// The answer would be too large.
    #[error("failed to select: more than {max} points match; narrow the matchers or the time range")]
    TooManyPoints {
        /// The limit.
        max: usize,
    },
    /// Blocks cannot be written as fast as samples come; nothing was stored.
    #[error(
        "failed to append: {head_samples} samples wait to be written to blocks ({reason}); try again later"
    )]
    Behind {
        /// What waits in memory.
        head_samples: usize,
        /// What the last try to write a block ended with.
        reason: String,
    },
    /// A setting that cannot be.
    #[error("failed to open the metric store: {0}")]
    Config(String),
    /// The store is being closed.
    #[error("failed to reach the metric store: it is closed")]
    Closed,
}

impl SeriesError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| SeriesError::Io { what, path, source }
    }
}
