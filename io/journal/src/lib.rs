//! The append-only event log: whatever is decided or done is written here before it is acted on.
//!
//! One SQLite file in WAL mode with `synchronous = FULL`: an append that returned is on the disk, and
//! an append is whole or absent after a crash at any byte. Events form streams (one per machine:
//! `rollout/rollout-4`); an append names the sequence number it expects its stream to stand at, so
//! that of several writers who read the same state exactly one wins. Over all streams events have a
//! position: 1, 2, 3 … without gaps, in the order they were written.
//!
//! ```no_run
//! # async fn example() -> Result<(), trimtab_journal::JournalError> {
//! use trimtab_journal::{Expected, Journal, NewEvent};
//! # use trimtab_model::{Actor, Timestamp};
//! let journal = Journal::open("data/journal.db").await?;
//! let started = NewEvent::new("run/run-1", "started", Timestamp(0), Actor::trimtab(), serde_json::json!({}));
//! let stored = journal.append(Expected::NoStream, vec![started]).await?;
//! assert_eq!(stored[0].sequence, 1);
//! # Ok(()) }
//! ```

mod error;
mod event;
mod examine;
mod journal;
mod lock;
mod salvage;
mod schema;
mod writer;

pub use error::JournalError;
pub use event::{
    BODY_BYTES_MAX, EVENTS_PER_APPEND_MAX, Expected, NAME_BYTES_MAX, NewEvent, StoredEvent, Stream,
};
pub use examine::{Examination, PROBLEMS_MAX, examine};
pub use journal::{Journal, READ_EVENTS_MAX, Stats};
pub use salvage::{Salvage, salvage};
pub use schema::FORMAT;
