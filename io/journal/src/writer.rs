//! The one writer: appends that wait together are committed together, with one sync to the disk.

use std::path::PathBuf;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use tokio::sync::{mpsc, oneshot, watch};

use crate::event::{Draft, checksum};
use crate::lock::Lock;
use crate::schema;
use crate::{Expected, JournalError, StoredEvent};

/// Most appends that share one commit.
const APPENDS_PER_COMMIT_MAX: usize = 64;

/// Events of one stream and where it must stand.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) stream: String,
    pub(crate) expected: Expected,
    pub(crate) drafts: Vec<Draft>,
}

type Outcome = Result<Vec<StoredEvent>, JournalError>;

/// Groups that are taken all or none.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) groups: Vec<Group>,
    pub(crate) done: oneshot::Sender<Outcome>,
}

/// Owns the connection that writes, and the lock. Ends, and lets go of both, when the last sender is gone.
pub(crate) struct Writer {
    path: PathBuf,
    /// None after an error: the next append opens a new one.
    connection: Option<SqliteConnection>,
    position: watch::Sender<u64>,
    _lock: Lock,
}

impl Writer {
    pub(crate) fn new(
        path: PathBuf,
        connection: SqliteConnection,
        position: watch::Sender<u64>,
        lock: Lock,
    ) -> Self {
        Writer {
            path,
            connection: Some(connection),
            position,
            _lock: lock,
        }
    }

    pub(crate) async fn run(mut self, mut appends: mpsc::Receiver<Append>) {
        while let Some(first) = appends.recv().await {
            let mut batch = vec![first];
            while batch.len() < APPENDS_PER_COMMIT_MAX
                && let Ok(next) = appends.try_recv()
            {
                batch.push(next);
            }
            self.commit(batch).await;
        }
        if let Some(mut connection) = self.connection {
            // A failure costs nothing but the time to read the log again at the next start.
            let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
            if let Err(error) = checkpoint.execute(&mut connection).await {
                tracing::warn!(%error, "failed to move the journal's write-ahead log into its file");
            }
            let _ = connection.close().await;
        }
    }

    async fn commit(&mut self, batch: Vec<Append>) {
        let (all_groups, done): (Vec<_>, Vec<_>) = batch.into_iter().map(|a| (a.groups, a.done)).unzip();
        match self.write(all_groups).await {
            Ok(outcomes) => {
                let last = outcomes
                    .iter()
                    .flatten()
                    .flatten()
                    .map(|event| event.position)
                    .max();
                if let Some(last) = last {
                    self.position.send_replace(last);
                }
                for (done, outcome) in done.into_iter().zip(outcomes) {
                    let _ = done.send(outcome);
                }
            }
            Err(error) => {
                tracing::error!(%error, "failed to append to the journal");
                // Whatever state the connection is in, a new one starts from what is on the disk.
                if let Some(connection) = self.connection.take() {
                    let _ = connection.close().await;
                }
                for done in done {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction for the whole batch; an append that conflicts writes nothing and fails alone.
    async fn write(&mut self, batch: Vec<Vec<Group>>) -> Result<Vec<Outcome>, JournalError> {
        let path = self.path.clone();
        let named = |error: sqlx::Error| JournalError::from_sqlx(&path, &error);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(schema::open_writer(&self.path).await?),
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(named)?;
        let mut position = last_position(&mut transaction).await.map_err(named)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for groups in batch {
            match heads(&mut transaction, &groups).await.map_err(named)? {
                Err(conflict) => outcomes.push(Err(conflict)),
                Ok(heads) => {
                    let mut stored = Vec::new();
                    for (group, head) in groups.into_iter().zip(heads) {
                        for (draft, sequence) in group.drafts.into_iter().zip(head + 1..) {
                            position += 1;
                            insert(&mut transaction, position, sequence, &draft)
                                .await
                                .map_err(named)?;
                            stored.push(draft.store(position, sequence));
                        }
                    }
                    outcomes.push(Ok(stored));
                }
            }
        }
        transaction.commit().await.map_err(named)?;
        Ok(outcomes)
    }
}

/// Position of the last event; 0: there is none.
pub(crate) async fn last_position(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let row = sqlx::query("SELECT coalesce(max(position), 0) FROM events")
        .fetch_one(connection)
        .await?;
    row.try_get::<i64, _>(0).map(|position| position as u64)
}

/// Where each group's stream stands, or the first conflict.
async fn heads(
    connection: &mut SqliteConnection,
    groups: &[Group],
) -> Result<Result<Vec<u64>, JournalError>, sqlx::Error> {
    let mut heads = Vec::with_capacity(groups.len());
    for group in groups {
        let row = sqlx::query("SELECT coalesce(max(sequence), 0) FROM events WHERE stream = ?")
            .bind(&group.stream)
            .fetch_one(&mut *connection)
            .await?;
        let actual = row.try_get::<i64, _>(0)? as u64;
        if !group.expected.allows(actual) {
            let stream = group.stream.clone();
            return Ok(Err(JournalError::Conflict {
                stream,
                expected: group.expected,
                actual,
            }));
        }
        heads.push(actual);
    }
    Ok(Ok(heads))
}

async fn insert(
    connection: &mut SqliteConnection,
    position: u64,
    sequence: u64,
    draft: &Draft,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO events (position, stream, sequence, kind, version, at, actor, body, checksum)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(position as i64)
    .bind(&draft.event.stream)
    .bind(sequence as i64)
    .bind(&draft.event.kind)
    .bind(draft.event.version)
    .bind(draft.event.at.0)
    .bind(&draft.event.actor.0)
    .bind(&draft.body)
    .bind(checksum(position, sequence, &draft.event, &draft.body))
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use trimtab_model::{Actor, Timestamp};

    use super::*;
    use crate::NewEvent;

    fn group(bytes: usize) -> Vec<Vec<Group>> {
        let body = serde_json::json!("x".repeat(bytes));
        let event = NewEvent::new("s", "a", Timestamp(1), Actor::trimtab(), body);
        let drafts = vec![Draft::check(event).unwrap()];
        vec![vec![Group {
            stream: "s".to_owned(),
            expected: Expected::Any,
            drafts,
        }]]
    }

    async fn append(writer: &mut Writer, bytes: usize) -> Outcome {
        let (done, outcome) = oneshot::channel();
        let append = Append {
            groups: group(bytes).remove(0),
            done,
        };
        writer.commit(vec![append]).await;
        outcome.await.unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let mut connection = schema::open_writer(&path).await.unwrap();
        // SQLite answers a file over its page limit as it answers a full disk.
        sqlx::query("PRAGMA max_page_count = 20")
            .execute(&mut connection)
            .await
            .unwrap();
        let (position, watched) = watch::channel(0);
        let lock = Lock::take(&path).unwrap();
        let mut writer = Writer::new(path.clone(), connection, position, lock);
        assert_eq!(append(&mut writer, 100).await.unwrap()[0].position, 1);
        let error = append(&mut writer, 500_000).await.unwrap_err();
        assert_eq!(error, JournalError::Full { path: path.clone() });
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(*watched.borrow(), 1);
        // The limit belonged to that connection; a new one is the room that somebody made.
        let stored = append(&mut writer, 500_000).await.unwrap();
        assert_eq!(
            (stored[0].position, stored[0].sequence),
            (2, 2),
            "the failed append left no trace"
        );
        assert_eq!(*watched.borrow(), 2);
    }
}
