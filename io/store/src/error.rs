//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use trimtab_wal::WalError;

/// Why rows could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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
    /// A file's bytes are not what was written.
    #[error("failed to read {}: it is damaged ({reason}). To go on without it, move the file away and start again (docs/storage.md, \"A damaged file\")", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file written by a newer Trimtab.
    #[error("failed to read {}: its version is {version}, and this program knows version 1; use the program that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// A batch that cannot be written down.
    #[error("failed to encode a batch: {0}")]
    Encode(String),
    /// Files cannot be written as fast as rows come; nothing was stored.
    #[error("failed to append: {memory_bytes} bytes wait to be written to files ({reason}); try again later")]
    Behind {
        /// What waits in memory.
        memory_bytes: u64,
        /// What the last try to write a file ended with.
        reason: String,
    },
    /// The store is being closed.
    #[error("failed to reach the store: it is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| StoreError::Io { what, path, source }
    }
}
