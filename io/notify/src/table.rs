//! The outbox's file: one SQLite table.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row};
use trimtab_model::Timestamp;

use crate::NotifyError;
use crate::message::{Channel, Message};
use crate::outbox::{Delivery, FORMAT, Status};

/// Finished deliveries kept for the dashboard (and for telling a repeated key); older ones go when the outbox
/// is opened.
const FINISHED_KEPT_MAX: i64 = 10_000;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const CREATE: &str = "
CREATE TABLE IF NOT EXISTS deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT    NOT NULL,
    channel    TEXT    NOT NULL,
    recipient  TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    ended_at   INTEGER,
    error      TEXT,
    UNIQUE (key, channel, recipient)
) STRICT;
CREATE INDEX IF NOT EXISTS due ON deliveries (status, channel, next_at);
PRAGMA user_version = 1;
";

pub(crate) async fn open(path: &Path) -> Result<SqlitePool, NotifyError> {
    let named = |error: sqlx::Error| NotifyError::from_sqlx(path, &error);
    let path = std::path::absolute(path).map_err(|error| NotifyError::File {
        path: path.to_owned(),
        detail: error.to_string(),
    })?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    // One connection: statements are short, and whoever writes never meets another writer.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(named)?;
    let row = sqlx::query("PRAGMA user_version")
        .fetch_one(&pool)
        .await
        .map_err(named)?;
    let found: i64 = row.try_get(0).map_err(named)?;
    if found > FORMAT {
        return Err(NotifyError::Newer { path, found });
    }
    sqlx::raw_sql(CREATE).execute(&pool).await.map_err(named)?;
    sqlx::query(
        "DELETE FROM deliveries WHERE status <> 'waiting' AND id <=
         (SELECT coalesce(max(id), 0) FROM deliveries) - ?",
    )
    .bind(FINISHED_KEPT_MAX)
    .execute(&pool)
    .await
    .map_err(named)?;
    Ok(pool)
}

/// Takes a delivery out of a row; none when the row makes no sense, which one of our own cannot.
pub(crate) fn delivery(row: &SqliteRow) -> Result<Option<Delivery>, sqlx::Error> {
    let text: String = row.try_get("message")?;
    let channel: String = row.try_get("channel")?;
    let status: String = row.try_get("status")?;
    let (Ok(message), Some(_), Some(status)) = (
        serde_json::from_str::<Message>(&text),
        Channel::parse(&channel),
        Status::parse(&status),
    ) else {
        tracing::warn!(
            id = row.try_get::<i64, _>("id")?,
            "a delivery in the outbox cannot be read"
        );
        return Ok(None);
    };
    Ok(Some(Delivery {
        id: row.try_get("id")?,
        recipient: row.try_get("recipient")?,
        message,
        status,
        attempts: row.try_get("attempts")?,
        created_at: Timestamp(row.try_get("created_at")?),
        next_at: Timestamp(row.try_get("next_at")?),
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(Timestamp),
        error: row.try_get("error")?,
    }))
}
