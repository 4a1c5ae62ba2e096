//! Saves what can be read of a damaged journal into a new one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sqlx::{Connection, Row, sqlite::SqliteConnection};

use crate::event::{columns, from_row};
use crate::{Expected, Journal, JournalError, NewEvent, StoredEvent, schema};

/// Events that are read and written at a time.
const CHUNK_EVENTS: u64 = 200;
/// No event takes fewer bytes than this, which bounds how many a damaged file can hold.
const EVENT_BYTES_MIN: u64 = 32;

/// What became of a damaged journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Salvage {
    /// Events in the new journal.
    pub kept: u64,
    /// Readable events left out, because one before them in their stream is lost: a state folded over a gap
    /// would be wrong.
    pub left_out: u64,
    /// Streams that lost their end, with the sequence number of the last event kept.
    pub cut: Vec<(String, u64)>,
}

/// Reads every event that is still whole from the journal `from`, and writes them to a new journal `to`, which
/// must not exist. Of each stream the unbroken beginning is kept. `from` is copied first and never changed.
/// Positions are given anew, in the old order.
pub async fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Salvage, JournalError> {
    let from = schema::absolute(from.as_ref())?;
    let to = schema::absolute(to.as_ref())?;
    let opened = |path: &Path, error: std::io::Error| JournalError::Open {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    if to.try_exists().unwrap_or(true) {
        return Err(JournalError::Open {
            path: to,
            detail: "it exists already; name another file".to_owned(),
        });
    }
    let copy = beside(&to, ".damaged");
    std::fs::copy(&from, &copy).map_err(|error| opened(&from, error))?;
    let wal = beside(&from, "-wal");
    if wal.exists() {
        std::fs::copy(&wal, beside(&copy, "-wal")).map_err(|error| opened(&wal, error))?;
    }
    let result = transfer(&copy, &to).await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(&copy, suffix));
    }
    result
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

async fn transfer(copy: &Path, to: &Path) -> Result<Salvage, JournalError> {
    let named = |error: sqlx::Error| JournalError::from_sqlx(copy, &error);
    let mut source = sqlx::ConnectOptions::connect(&schema::reader_options(copy))
        .await
        .map_err(named)?;
    let last = last_possible(&mut source, copy).await;
    let target = Journal::open(to).await?;
    let mut salvage = Salvage::default();
    let mut heads: HashMap<String, u64> = HashMap::new();
    let mut cut: HashMap<String, u64> = HashMap::new();
    let mut first = 1;
    while first <= last {
        let events = read_chunk(&mut source, first, first + CHUNK_EVENTS - 1).await;
        first += CHUNK_EVENTS;
        for event in events {
            let head = heads.entry(event.stream.clone()).or_default();
            if event.sequence != *head + 1 {
                cut.insert(event.stream, *head);
                salvage.left_out += 1;
                continue;
            }
            let expected = Expected::Exactly(*head);
            *head += 1;
            target.append(expected, vec![renewed(event)]).await?;
            salvage.kept += 1;
        }
    }
    let _ = source.close().await;
    target.close().await;
    salvage.cut = cut.into_iter().collect();
    salvage.cut.sort();
    Ok(salvage)
}

fn renewed(event: StoredEvent) -> NewEvent {
    let StoredEvent {
        stream,
        kind,
        version,
        at,
        actor,
        body,
        ..
    } = event;
    NewEvent {
        stream,
        kind,
        version,
        at,
        actor,
        body,
    }
}

/// The last position if it can still be read, else the most that the file could hold.
async fn last_possible(source: &mut SqliteConnection, copy: &Path) -> u64 {
    let stated = sqlx::query("SELECT max(position) FROM events")
        .fetch_one(source)
        .await;
    let bound = std::fs::metadata(copy).map_or(0, |file| file.len()) / EVENT_BYTES_MIN;
    match stated.and_then(|row| row.try_get::<i64, _>(0)) {
        Ok(last) => (last.max(0) as u64).min(bound.max(CHUNK_EVENTS)),
        Err(_) => bound,
    }
}

/// The whole events of a range; where reading it fails, each by itself.
async fn read_chunk(source: &mut SqliteConnection, first: u64, last: u64) -> Vec<StoredEvent> {
    let range = concat!(
        "SELECT ",
        columns!(),
        " FROM events WHERE position BETWEEN ? AND ? ORDER BY position"
    );
    let at_once = sqlx::query(range)
        .bind(first as i64)
        .bind(last as i64)
        .fetch_all(&mut *source)
        .await;
    if let Ok(rows) = at_once {
        return rows.iter().filter_map(|row| from_row(row).ok()).collect();
    }
    let mut events = Vec::new();
    for position in first..=last {
        let one = sqlx::query(range).bind(position as i64).bind(position as i64);
        if let Ok(Some(row)) = one.fetch_optional(&mut *source).await {
            events.extend(from_row(&row));
        }
    }
    events
}
