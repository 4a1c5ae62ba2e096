//! What can go wrong with a journal, and the way out.

use std::path::{Path, PathBuf};

use crate::Expected;
use crate::event::{BODY_BYTES_MAX, EVENTS_PER_APPEND_MAX, NAME_BYTES_MAX};
use crate::schema::FORMAT;

/// Why the journal failed to do what it was asked; each text finishes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A file or folder could not be opened or made.
    #[error("open {}: {detail}; check that the folder exists and that this user may write to it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// Another process has the journal open.
    #[error(
        "open {}: {} has it open; stop that process first, or choose another data folder",
        path.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The journal.
        path: PathBuf,
        /// The other process, as it wrote itself down.
        pid: Option<u32>,
    },
    /// The file belongs to another program.
    #[error("open {}: this is no Trimtab journal; name another file, or move this one away", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A later version of Trimtab wrote the file.
    #[error(
        "open {}: it has format {found}, and this version knows formats up to {FORMAT}; install the version of Trimtab that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file is damaged.
    #[error(
        "read {}: the journal is damaged ({detail}); nothing was changed. `trimtab doctor` shows what is readable and can salvage it, and docs/journal.md says how to restore a backup",
        path.display()
    )]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// No room on the disk.
    #[error(
        "write {}: the disk is full; nothing of this append was kept. Free some space: the journal carries on by itself",
        path.display()
    )]
    Full {
        /// The journal.
        path: PathBuf,
    },
    /// The system refused a write for another reason than a full disk.
    #[error(
        "write {}: the disk refused it ({detail}); check quota, file-size limit and the disk's health. Nothing of this append was kept, and the journal carries on by itself",
        path.display()
    )]
    Write {
        /// The journal.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// The stream moved on since its state was read.
    #[error(
        "append to {stream}: expected {expected:?}, but its last event has sequence {actual}; read it again and decide anew"
    )]
    Conflict {
        /// The stream.
        stream: String,
        /// What was expected.
        expected: Expected,
        /// Sequence number of its last event; 0: it has none.
        actual: u64,
    },
    /// A body over the limit.
    #[error(
        "append a {kind} event to {stream}: its body has {bytes} bytes and at most {BODY_BYTES_MAX} are taken; keep the bulk elsewhere and refer to it"
    )]
    TooLarge {
        /// The stream.
        stream: String,
        /// The event's kind.
        kind: String,
        /// Bytes of the body's JSON text.
        bytes: usize,
    },
    /// Too many events at once.
    #[error(
        "append {events} events at once: at most {EVENTS_PER_APPEND_MAX} are taken; append them in parts"
    )]
    TooMany {
        /// How many were given.
        events: usize,
    },
    /// An empty or overlong name.
    #[error("append an event whose {what} has {bytes} bytes: use 1 to {NAME_BYTES_MAX}, none of them zero")]
    Name {
        /// `stream`, `kind` or `actor`.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// Events of several streams given to `append`.
    #[error("append to {first} and {second} as one stream: use `append_many`, one group for each stream")]
    MixedStreams {
        /// The first event's stream.
        first: String,
        /// Another one.
        second: String,
    },
    /// SQLite refused for a reason that has no name here.
    #[error("use {}: {detail}", path.display())]
    Database {
        /// The journal.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// The journal was closed.
    #[error("append to the journal: it is closed")]
    Closed,
}

/// SQLite's result codes that people can do something about, the first an extended one.
const CODE_WRITE: i32 = 778;
const CODE_CORRUPT: i32 = 11;
const CODE_FULL: i32 = 13;
const CODE_CANNOT_OPEN: i32 = 14;
const CODE_NOT_A_DATABASE: i32 = 26;

impl JournalError {
    /// Names what SQLite said.
    pub(crate) fn from_sqlx(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_owned();
        let detail = error.to_string();
        let code = error
            .as_database_error()
            .and_then(|database| database.code())
            .and_then(|code| code.parse::<i32>().ok());
        // Extended codes keep the primary one in their low byte.
        if code == Some(CODE_WRITE) {
            return JournalError::Write { path, detail };
        }
        match code.map(|code| code & 0xff) {
            Some(CODE_FULL) => JournalError::Full { path },
            Some(CODE_CORRUPT | CODE_NOT_A_DATABASE) => JournalError::Corrupt { path, detail },
            Some(CODE_CANNOT_OPEN) => JournalError::Open { path, detail },
            _ => match error {
                sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => JournalError::Closed,
                sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                    JournalError::Corrupt { path, detail }
                }
                _ => JournalError::Database { path, detail },
            },
        }
    }
}
