//! A thorough look at a journal's file, for `trimtab doctor`.

use std::collections::HashMap;
use std::path::Path;

use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::{ConnectOptions, Row, sqlite::SqliteConnection};

use crate::event::{columns, from_row};
use crate::{JournalError, schema};

/// Most problems that are listed; the rest are only counted.
pub const PROBLEMS_MAX: usize = 20;

/// What was found in a journal's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// The file's format.
    pub format: u32,
    /// Readable events.
    pub events: u64,
    /// Position of the last readable event.
    pub last_position: u64,
    /// Streams among them.
    pub streams: u64,
    /// The first problems, for people; empty: the journal is sound.
    pub problems: Vec<String>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl Examination {
    fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}

/// Checks the file's structure, every event's checksum, and that positions and sequences have no gaps. Works
/// beside an open journal. Reads the whole file.
pub async fn examine(path: impl AsRef<Path>) -> Result<Examination, JournalError> {
    let path = schema::absolute(path.as_ref())?;
    let named = |error: sqlx::Error| JournalError::from_sqlx(&path, &error);
    let mut connection = schema::reader_options(&path).connect().await.map_err(named)?;
    let found = look(&mut connection, &path).await;
    let _ = sqlx::Connection::close(connection).await;
    found
}

async fn look(connection: &mut SqliteConnection, path: &Path) -> Result<Examination, JournalError> {
    let format = schema::recognise(connection, path).await?;
    let mut found = Examination {
        format,
        ..Examination::default()
    };
    if format == 0 {
        found.problem("the file is empty: no event was ever written".to_owned());
        return Ok(found);
    }
    match sqlx::query("PRAGMA integrity_check(20)")
        .fetch_all(&mut *connection)
        .await
    {
        Ok(rows) => {
            for text in rows.iter().filter_map(|row| row.try_get::<String, _>(0).ok()) {
                if text != "ok" {
                    found.problem(text);
                }
            }
        }
        Err(error) => found.problem(error.to_string()),
    }
    let mut heads: HashMap<String, u64> = HashMap::new();
    let all = concat!("SELECT ", columns!(), " FROM events ORDER BY position");
    let mut rows = sqlx::query(all).fetch(&mut *connection);
    loop {
        match rows.try_next().await {
            Ok(None) => break,
            Ok(Some(row)) => match from_row(&row) {
                Ok(event) => {
                    if event.position != found.last_position + 1 {
                        let before = found.last_position;
                        found.problem(format!("event {} follows event {before}", event.position));
                    }
                    let head = heads.entry(event.stream.clone()).or_default();
                    if event.sequence != *head + 1 {
                        let text = format!(
                            "in {}, event {} follows event {head}",
                            event.stream, event.sequence
                        );
                        found.problem(text);
                    }
                    *head = event.sequence;
                    found.last_position = event.position;
                    found.events += 1;
                }
                Err(detail) => found.problem(detail),
            },
            Err(error) => {
                found.problem(error.to_string());
                break;
            }
        }
    }
    found.streams = heads.len() as u64;
    Ok(found)
}
