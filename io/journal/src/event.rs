//! Events as they are given and as they come back.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use trimtab_model::{Actor, Timestamp};

use crate::JournalError;

/// Largest body of one event in bytes of JSON text. Bulky things (logs, reports) live elsewhere and are
/// referred to.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Most events in one append, over all its streams.
pub const EVENTS_PER_APPEND_MAX: usize = 1_000;
/// Longest stream, kind or actor in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Where a stream must stand for an append to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anywhere.
    Any,
    /// It has no event yet.
    NoStream,
    /// Its last event has this sequence number (0 means no event yet).
    Exactly(u64),
}

impl Expected {
    /// Whether a stream whose last sequence number is `actual` (0: none) stands where expected.
    pub(crate) fn allows(self, actual: u64) -> bool {
        match self {
            Expected::Any => true,
            Expected::NoStream => actual == 0,
            Expected::Exactly(sequence) => sequence == actual,
        }
    }
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Which stream it belongs to, for example `rollout/rollout-4`.
    pub stream: String,
    /// What happened, in the words of the stream's owner.
    pub kind: String,
    /// Version of the body's shape for this kind; the first is 1.
    pub version: u32,
    /// When it happened.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The rest. References to secrets, never secrets.
    pub body: serde_json::Value,
}

impl NewEvent {
    /// An event whose body has its first shape (version 1).
    pub fn new(
        stream: impl Into<String>,
        kind: impl Into<String>,
        at: Timestamp,
        actor: Actor,
        body: serde_json::Value,
    ) -> Self {
        NewEvent {
            stream: stream.into(),
            kind: kind.into(),
            version: 1,
            at,
            actor,
            body,
        }
    }
}

/// An event in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Its place among all events: 1, 2, 3 … without gaps.
    pub position: u64,
    /// Which stream it belongs to.
    pub stream: String,
    /// Its place in its stream: 1, 2, 3 … without gaps.
    pub sequence: u64,
    /// What happened.
    pub kind: String,
    /// Version of the body's shape.
    pub version: u32,
    /// When it happened.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The rest.
    pub body: serde_json::Value,
}

/// A stream and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Sequence number of its last event, which is also how many it has.
    pub sequence: u64,
    /// Position of its last event.
    pub position: u64,
}

/// An event that was checked against the limits, its body as text.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) event: NewEvent,
    pub(crate) body: String,
}

impl Draft {
    pub(crate) fn check(event: NewEvent) -> Result<Self, JournalError> {
        let names = [
            ("stream", &event.stream),
            ("kind", &event.kind),
            ("actor", &event.actor.0),
        ];
        for (what, text) in names {
            if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains('\0') {
                return Err(JournalError::Name {
                    what,
                    bytes: text.len(),
                });
            }
        }
        let body = event.body.to_string();
        if body.len() > BODY_BYTES_MAX {
            return Err(JournalError::TooLarge {
                stream: event.stream,
                kind: event.kind,
                bytes: body.len(),
            });
        }
        Ok(Draft { event, body })
    }

    pub(crate) fn store(self, position: u64, sequence: u64) -> StoredEvent {
        let NewEvent {
            stream,
            kind,
            version,
            at,
            actor,
            body,
        } = self.event;
        StoredEvent {
            position,
            stream,
            sequence,
            kind,
            version,
            at,
            actor,
            body,
        }
    }
}

/// First eight bytes of SHA-256 over every column, each with its length before it: finds a flipped bit
/// that SQLite's own structure check cannot see. No defence against a person who rewrites rows.
pub(crate) fn checksum(position: u64, sequence: u64, event: &NewEvent, body: &str) -> i64 {
    let mut hash = Sha256::new();
    for number in [position, sequence, u64::from(event.version), event.at.0 as u64] {
        hash.update(number.to_le_bytes());
    }
    for text in [&event.stream, &event.kind, &event.actor.0, body] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first)
}

/// The columns that [`from_row`] reads, in a query's words.
macro_rules! columns {
    () => {
        "position, stream, sequence, kind, version, at, actor, body, checksum"
    };
}
pub(crate) use columns;

/// Takes an event out of a row and checks its checksum; the error says what is wrong with it.
pub(crate) fn from_row(row: &SqliteRow) -> Result<StoredEvent, String> {
    let read = || -> Result<(u64, u64, NewEvent, String, i64), sqlx::Error> {
        let event = NewEvent {
            stream: row.try_get("stream")?,
            kind: row.try_get("kind")?,
            version: row.try_get("version")?,
            at: Timestamp(row.try_get("at")?),
            actor: Actor(row.try_get("actor")?),
            body: serde_json::Value::Null,
        };
        let numbers: (i64, i64) = (row.try_get("position")?, row.try_get("sequence")?);
        Ok((
            numbers.0 as u64,
            numbers.1 as u64,
            event,
            row.try_get("body")?,
            row.try_get("checksum")?,
        ))
    };
    let (position, sequence, mut event, body, stored) = read().map_err(|error| error.to_string())?;
    if checksum(position, sequence, &event, &body) != stored {
        return Err(format!("event {position} does not match its checksum"));
    }
    event.body = serde_json::from_str(&body)
        .map_err(|error| format!("the body of event {position} is not JSON: {error}"))?;
    Ok(Draft { event, body }.store(position, sequence))
}
