//! The journal as the rest of the house sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::event::{Draft, columns, from_row};
use crate::lock::Lock;
use crate::writer::{Append, Group, Writer, last_position};
use crate::{EVENTS_PER_APPEND_MAX, Expected, JournalError, NewEvent, StoredEvent, Stream, schema};

/// Most events that one [`Journal::read_all`] returns, whatever limit was asked for.
pub const READ_EVENTS_MAX: u64 = 10_000;
/// Readers at the same time; others wait.
const READERS_MAX: u32 = 4;
/// How long a reader waits for its turn.
const READER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Appends that may wait for the writer; the next caller waits before its append is taken.
const APPENDS_QUEUED_MAX: usize = 1_024;

/// What the journal counts, for its own metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Position of the last event.
    pub last_position: u64,
    /// Size of the file in bytes, without the write-ahead log.
    pub file_bytes: u64,
    /// Appends since the start that lost to another writer of the same stream.
    pub conflicts: u64,
    /// Appends since the start refused for a limit (body, count, names).
    pub refused: u64,
}

/// A handle on an open journal; clones share it. The file is let go of when [`Journal::close`] was called,
/// or a moment after the last handle was dropped.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    readers: SqlitePool,
    appends: std::sync::Mutex<Option<mpsc::Sender<Append>>>,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
    position: watch::Receiver<u64>,
    conflicts: AtomicU64,
    refused: AtomicU64,
}

impl Journal {
    /// Opens the journal at `path`, or makes it there (its folder must exist). Must be called within a
    /// tokio runtime, which also runs the writer.
    ///
    /// Fails when another process has it open, when the file is damaged, another program's, or of a later
    /// format; nothing is changed then.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let path = schema::absolute(path.as_ref())?;
        let lock = Lock::take(&path)?;
        let mut connection = schema::open_writer(&path).await?;
        let last = last_position(&mut connection)
            .await
            .map_err(|error| JournalError::from_sqlx(&path, &error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(READER_WAIT_MAX)
            .connect_lazy_with(schema::reader_options(&path));
        let (position, watched) = watch::channel(last);
        let (appends, received) = mpsc::channel(APPENDS_QUEUED_MAX);
        let writer = tokio::spawn(Writer::new(path.clone(), connection, position, lock).run(received));
        Ok(Journal {
            inner: Arc::new(Inner {
                path,
                readers,
                appends: std::sync::Mutex::new(Some(appends)),
                writer: std::sync::Mutex::new(Some(writer)),
                position: watched,
                conflicts: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            }),
        })
    }

    /// Appends events of one stream, all or none, if the stream stands where `expected`. When this returns
    /// they are on the disk. No events: nothing happens.
    ///
    /// An error other than [`JournalError::Conflict`] or a refusal leaves open whether the events are there
    /// (as a crash does); read the stream to know. A caller that stops waiting does not undo its append.
    pub async fn append(
        &self,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Vec<StoredEvent>, JournalError> {
        self.append_many(vec![(expected, events)]).await
    }

    /// Appends events of several streams, all or none; each group has one stream, and no two groups the same.
    /// Returns them in the order given.
    pub async fn append_many(
        &self,
        groups: Vec<(Expected, Vec<NewEvent>)>,
    ) -> Result<Vec<StoredEvent>, JournalError> {
        let groups = check(groups).inspect_err(|_| {
            self.inner.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let (done, outcome) = oneshot::channel();
        let appends = self
            .inner
            .appends
            .lock()
            .map_err(|_| JournalError::Closed)?
            .clone();
        let appends = appends.ok_or(JournalError::Closed)?;
        appends
            .send(Append { groups, done })
            .await
            .map_err(|_| JournalError::Closed)?;
        let outcome = outcome.await.map_err(|_| JournalError::Closed)?;
        if let Err(JournalError::Conflict { .. }) = &outcome {
            self.inner.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// The events of a stream after sequence number `after` (0: from its beginning), in order, all of them.
    pub async fn read_stream(&self, stream: &str, after: u64) -> Result<Vec<StoredEvent>, JournalError> {
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM events WHERE stream = ? AND sequence > ? ORDER BY sequence"
        ))
        .bind(stream)
        .bind(signed(after));
        self.events(query).await
    }

    /// Events of all streams after position `after` (0: from the beginning), in order, at most `limit` and at
    /// most [`READ_EVENTS_MAX`].
    pub async fn read_all(&self, after: u64, limit: u64) -> Result<Vec<StoredEvent>, JournalError> {
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM events WHERE position > ? ORDER BY position LIMIT ?"
        ))
        .bind(signed(after))
        .bind(signed(limit.min(READ_EVENTS_MAX)));
        self.events(query).await
    }

    /// The last `limit` events before position `before` (`u64::MAX`: from the end), newest first; for pages.
    pub async fn read_back(&self, before: u64, limit: u64) -> Result<Vec<StoredEvent>, JournalError> {
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM events WHERE position < ? ORDER BY position DESC LIMIT ?"
        ))
        .bind(signed(before))
        .bind(signed(limit.min(READ_EVENTS_MAX)));
        self.events(query).await
    }

    /// The streams whose names begin with `prefix` (all with an empty one), by name.
    pub async fn streams(&self, prefix: &str) -> Result<Vec<Stream>, JournalError> {
        let mut streams = Vec::new();
        let mut rows = sqlx::query(
            "SELECT stream, max(sequence) AS sequence, max(position) AS position FROM events
             WHERE stream >= ?1 AND substr(stream, 1, length(?1)) = ?1 GROUP BY stream ORDER BY stream",
        )
        .bind(prefix)
        .fetch(&self.inner.readers);
        let named = |error: sqlx::Error| JournalError::from_sqlx(&self.inner.path, &error);
        while let Some(row) = rows.try_next().await.map_err(named)? {
            streams.push(Stream {
                name: row.try_get("stream").map_err(named)?,
                sequence: row.try_get::<i64, _>("sequence").map_err(named)? as u64,
                position: row.try_get::<i64, _>("position").map_err(named)? as u64,
            });
        }
        Ok(streams)
    }

    /// Position of the last event on the disk; 0: there is none.
    pub fn last_position(&self) -> u64 {
        *self.inner.position.borrow()
    }

    /// Follows the last position: changes after each commit, and a slow watcher sees only the newest.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.position.clone()
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        Stats {
            last_position: self.last_position(),
            file_bytes: std::fs::metadata(&self.inner.path).map_or(0, |file| file.len()),
            conflicts: self.inner.conflicts.load(Ordering::Relaxed),
            refused: self.inner.refused.load(Ordering::Relaxed),
        }
    }

    /// Writes a whole and consistent copy to `to`, which must not exist, while the journal is in use.
    pub async fn backup(&self, to: impl AsRef<Path>) -> Result<(), JournalError> {
        let to = schema::absolute(to.as_ref())?;
        let opened = |detail: String| JournalError::Open {
            path: to.clone(),
            detail,
        };
        if to.try_exists().unwrap_or(true) {
            return Err(opened("it exists already; name another file".to_owned()));
        }
        let name = to
            .to_str()
            .ok_or_else(|| opened("its name is not UTF-8".to_owned()))?;
        // `query_only` forbids VACUUM, so this takes a connection of its own.
        let mut connection = sqlx::ConnectOptions::connect(&schema::writer_options(&self.inner.path))
            .await
            .map_err(|error| JournalError::from_sqlx(&self.inner.path, &error))?;
        let copied = sqlx::query("VACUUM INTO ?")
            .bind(name)
            .execute(&mut connection)
            .await;
        let _ = sqlx::Connection::close(connection).await;
        copied.map_err(|error| JournalError::from_sqlx(&to, &error))?;
        std::fs::File::open(&to)
            .and_then(|file| file.sync_all())
            .map_err(|error| opened(error.to_string()))
    }

    /// Finishes the appends that wait, moves the write-ahead log into the file, closes it and lets go of the
    /// lock; appends fail from now on.
    pub async fn close(&self) {
        let appends = self
            .inner
            .appends
            .lock()
            .ok()
            .and_then(|mut appends| appends.take());
        let writer = self.inner.writer.lock().ok().and_then(|mut writer| writer.take());
        // The readers first: of two connections that close at once SQLite may take neither for the last one, and
        // then nobody empties the write-ahead log.
        self.inner.readers.close().await;
        drop(appends);
        if let Some(writer) = writer {
            let _ = writer.await;
        }
    }

    async fn events(
        &self,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<Vec<StoredEvent>, JournalError> {
        let path = &self.inner.path;
        let mut events = Vec::new();
        let mut rows = query.fetch(&self.inner.readers);
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(|error| JournalError::from_sqlx(path, &error))?
        {
            let event = from_row(&row).map_err(|detail| JournalError::Corrupt {
                path: path.clone(),
                detail,
            })?;
            events.push(event);
        }
        Ok(events)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn check(groups: Vec<(Expected, Vec<NewEvent>)>) -> Result<Vec<Group>, JournalError> {
    let events = groups.iter().map(|(_, events)| events.len()).sum();
    if events > EVENTS_PER_APPEND_MAX {
        return Err(JournalError::TooMany { events });
    }
    let mut checked: Vec<Group> = Vec::with_capacity(groups.len());
    for (expected, events) in groups {
        let Some(first) = events.first() else { continue };
        let stream = first.stream.clone();
        let other = events.iter().find(|event| event.stream != stream);
        let again = checked.iter().any(|group| group.stream == stream);
        if let Some(second) = other
            .map(|event| event.stream.clone())
            .or(again.then(|| stream.clone()))
        {
            return Err(JournalError::MixedStreams {
                first: stream,
                second,
            });
        }
        let drafts = events.into_iter().map(Draft::check).collect::<Result<_, _>>()?;
        checked.push(Group {
            stream,
            expected,
            drafts,
        });
    }
    Ok(checked)
}
