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
        if let Some(connection) = self.connection {
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
