//! What can go wrong with the outbox itself. What goes wrong with a delivery is kept beside it.

use std::path::{Path, PathBuf};

/// Why the outbox failed to do what it was asked; each text finishes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// The file could not be used.
    #[error("use the outbox {}: {detail}; check that the folder exists, is writable and has room", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// The disk is full.
    #[error("write the outbox {}: the disk is full; free some space, nothing else is needed", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "read the outbox {}: it is damaged ({detail}); move it away with its -wal and -shm files: messages not yet delivered are in it, what they were about is in the journal",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// A later version of Trimtab wrote the file.
    #[error("open the outbox {}: it has format {found}, which is later than this version knows; install the version that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// A receiver cannot be used as configured.
    #[error("configure notify.{channel}: {reason}")]
    Receiver {
        /// `slack`, `email`, `sms` or `webhook`.
        channel: &'static str,
        /// What is wrong and the mend.
        reason: String,
    },
    /// A key that cannot be kept.
    #[error("enqueue a message whose key has {bytes} bytes: use 1 to {max}")]
    Key {
        /// Its length.
        bytes: usize,
        /// The longest taken.
        max: usize,
    },
    /// Too many messages wait.
    #[error("enqueue a message: {waiting} already wait, the most that are kept; see which receiver is down")]
    TooMany {
        /// How many wait.
        waiting: u64,
    },
    /// No such delivery, or one that still waits or was delivered.
    #[error("retry delivery {id}: there is no dead letter of that number")]
    NotDead {
        /// The number given.
        id: i64,
    },
}

impl NotifyError {
    pub(crate) fn from_sqlx(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_owned();
        let code = error
            .as_database_error()
            .and_then(|database| database.code())
            .and_then(|code| code.parse::<i32>().ok());
        // SQLite's primary result code is the low byte: 13 full, 11 corrupt, 26 not a database.
        match code.map(|code| code & 0xff) {
            Some(13) => NotifyError::Full { path },
            Some(11 | 26) => NotifyError::Corrupt {
                path,
                detail: error.to_string(),
            },
            _ => NotifyError::File {
                path,
                detail: error.to_string(),
            },
        }
    }
}

/// Why one attempt at delivery failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For people, without secrets.
    pub(crate) reason: String,
    /// Trying again is pointless until somebody changes something.
    pub(crate) permanent: bool,
    /// The receiver asked for this pause.
    pub(crate) retry_after: Option<std::time::Duration>,
}

impl Failure {
    pub(crate) fn passing(reason: impl Into<String>) -> Self {
        Failure {
            reason: reason.into(),
            permanent: false,
            retry_after: None,
        }
    }

    pub(crate) fn permanent(reason: impl Into<String>) -> Self {
        Failure {
            reason: reason.into(),
            permanent: true,
            retry_after: None,
        }
    }
}
