//! The file: how it is opened, made and recognised.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Row};

use crate::JournalError;

/// The file's format, kept in `user_version`; a file with a later one is refused.
pub const FORMAT: u32 = 1;
/// `application_id` of our files: "Trim" in ASCII.
const APPLICATION_ID: i64 = 0x5472_696d;
/// How long a statement waits for another process (a backup, a checkpoint from the command line).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_KEPT: &str = "16777216";
/// Up to this size the whole structure is checked when a journal is opened (some 100 ms); above it
/// `examine` does so when asked.
const CHECK_BYTES_MAX: u64 = 128 << 20;

const CREATE: &str = "
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream   TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (stream, sequence)
) STRICT;
PRAGMA application_id = 0x5472696d;
PRAGMA user_version = 1;
";

/// An absolute path, so that a relative one that begins with `file:` is never taken for an URI.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, JournalError> {
    std::path::absolute(path).map_err(|error| JournalError::Open {
        path: path.to_owned(),
        detail: error.to_string(),
    })
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
}

/// For the one writer.
pub(crate) fn writer_options(path: &Path) -> SqliteConnectOptions {
    options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("journal_size_limit", WAL_BYTES_KEPT)
}

/// For readers beside it. They may not write, but open the file so that they could: SQLite needs that
/// to recover a write-ahead log.
pub(crate) fn reader_options(path: &Path) -> SqliteConnectOptions {
    options(path).pragma("query_only", "ON")
}

async fn pragma(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(sql).fetch_one(connection).await?.try_get(0)
}

/// Refuses files that are not ours or are too new; returns the format, 0 for an empty file.
pub(crate) async fn recognise(connection: &mut SqliteConnection, path: &Path) -> Result<u32, JournalError> {
    let named = |error: sqlx::Error| JournalError::from_sqlx(path, &error);
    let application = pragma(connection, "PRAGMA application_id").await.map_err(named)?;
    let format = pragma(connection, "PRAGMA user_version").await.map_err(named)?;
    let objects = pragma(connection, "SELECT count(*) FROM sqlite_schema")
        .await
        .map_err(named)?;
    match (application, format, objects) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, format, _) => {
            let found = u32::try_from(format).unwrap_or(u32::MAX);
            if found > FORMAT {
                return Err(JournalError::Newer {
                    path: path.to_owned(),
                    found,
                });
            }
            Ok(found)
        }
        _ => Err(JournalError::NotAJournal {
            path: path.to_owned(),
        }),
    }
}

/// Opens the writer's connection, makes the table in an empty file, and checks what is there.
pub(crate) async fn open_writer(path: &Path) -> Result<SqliteConnection, JournalError> {
    let new = !path.try_exists().unwrap_or(false);
    // Look before touching: a foreign or damaged file must stay as it is.
    if !new {
        let mut reader = reader_options(path)
            .connect()
            .await
            .map_err(|e| JournalError::from_sqlx(path, &e))?;
        let looked = look(&mut reader, path).await;
        // Closed, not dropped, also after an error: a dropped connection lets go of the file at some later time.
        let _ = sqlx::Connection::close(reader).await;
        looked?;
    }
    let mut connection = writer_options(path)
        .create_if_missing(true)
        .connect()
        .await
        .map_err(|e| JournalError::from_sqlx(path, &e))?;
    match make(&mut connection, path, new).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            let _ = sqlx::Connection::close(connection).await;
            Err(error)
        }
    }
}

async fn look(reader: &mut SqliteConnection, path: &Path) -> Result<(), JournalError> {
    recognise(reader, path).await?;
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECK_BYTES_MAX) {
        quick_check(reader, path).await?;
    }
    Ok(())
}

async fn make(connection: &mut SqliteConnection, path: &Path, new: bool) -> Result<(), JournalError> {
    if recognise(connection, path).await? == 0 {
        create(connection, path).await?;
    }
    if new {
        sync_folder(path)?;
    }
    Ok(())
}

async fn create(connection: &mut SqliteConnection, path: &Path) -> Result<(), JournalError> {
    use sqlx::Connection;
    let named = |error: sqlx::Error| JournalError::from_sqlx(path, &error);
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(named)?;
    sqlx::raw_sql(CREATE)
        .execute(&mut *transaction)
        .await
        .map_err(named)?;
    transaction.commit().await.map_err(named)
}

async fn quick_check(connection: &mut SqliteConnection, path: &Path) -> Result<(), JournalError> {
    let row = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| JournalError::from_sqlx(path, &error))?;
    let verdict: String = row
        .try_get(0)
        .map_err(|error| JournalError::from_sqlx(path, &error))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(JournalError::Corrupt {
            path: path.to_owned(),
            detail: verdict,
        })
    }
}

/// Makes the new file's name durable too.
fn sync_folder(path: &Path) -> Result<(), JournalError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| JournalError::Open {
            path: folder.to_owned(),
            detail: error.to_string(),
        })
}
