//! The outbox as the rest of the house sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use trimtab_model::Timestamp;

use crate::message::{Channel, Message};
use crate::{NotifyError, Receivers, Schedule, table, worker};

/// The file's format, kept in `user_version`; a file with a later one is refused.
pub const FORMAT: i64 = 1;
/// Most messages that wait; more are refused until some are delivered or dead.
const WAITING_MAX: u64 = 20_000;
/// Most deliveries in one list.
const LIST_MAX: u32 = 1_000;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for its first or its next attempt.
    Waiting,
    /// The receiver took it.
    Delivered,
    /// Its attempts are used up, or the receiver refused it for good.
    Dead,
    /// No receiver is configured for its channel.
    NoReceiver,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Delivered => "delivered",
            Status::Dead => "dead",
            Status::NoReceiver => "no_receiver",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Status::Waiting,
            Status::Delivered,
            Status::Dead,
            Status::NoReceiver,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}

/// A message on its way to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The number it goes to, for SMS; else empty.
    pub recipient: String,
    /// The message.
    pub message: Message,
    /// Where it stands.
    pub status: Status,
    /// Attempts begun so far.
    pub attempts: u32,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it is tried next, while it waits.
    pub next_at: Timestamp,
    /// When it was delivered or died.
    pub ended_at: Option<Timestamp>,
    /// Why the last attempt failed; no secrets.
    pub error: Option<String>,
}

/// What [`Outbox::enqueue`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enqueued {
    /// Deliveries made of the message; empty when its key was there already.
    pub ids: Vec<i64>,
    /// A receiver is configured for the channel.
    pub receiver: bool,
}

/// How many deliveries stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Waiting for an attempt.
    pub waiting: u64,
    /// Taken by their receivers.
    pub delivered: u64,
    /// Dead letters.
    pub dead: u64,
    /// Without a receiver.
    pub no_receiver: u64,
}

/// A handle on the open outbox; clones share it.
#[derive(Debug, Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    workers: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for worker in self.workers.get_mut().map(std::mem::take).unwrap_or_default() {
            worker.abort();
        }
    }
}

/// What the handle and the workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) pool: SqlitePool,
    pub(crate) receivers: Receivers,
    pub(crate) schedule: Schedule,
    /// One for each of `Channel::ALL`: something new waits there.
    pub(crate) wake: [Notify; 4],
    pub(crate) changes: watch::Sender<u64>,
}

/// Wall-clock time: what waits must keep its time over a restart.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Outbox {
    /// Opens the outbox at `path`, or makes it there (its folder must exist), and starts its workers on the
    /// current tokio runtime. The process' rustls provider must be installed.
    pub async fn open(path: impl AsRef<Path>, receivers: Receivers) -> Result<Self, NotifyError> {
        let seed = u64::from(std::process::id()) ^ now().0 as u64;
        Self::open_with(
            path,
            receivers,
            Schedule {
                jitter_seed: seed,
                ..Schedule::default()
            },
        )
        .await
    }

    /// The same with a schedule of one's own.
    pub async fn open_with(
        path: impl AsRef<Path>,
        receivers: Receivers,
        schedule: Schedule,
    ) -> Result<Self, NotifyError> {
        receivers.check()?;
        let path = path.as_ref().to_owned();
        let pool = table::open(&path).await?;
        let (changes, _) = watch::channel(0);
        let wake = std::array::from_fn(|_| Notify::new());
        let shared = Arc::new(Shared {
            path,
            pool,
            receivers,
            schedule,
            wake,
            changes,
        });
        let workers = Channel::ALL.map(|channel| tokio::spawn(worker::run(Arc::clone(&shared), channel)));
        Ok(Outbox {
            inner: Arc::new(Inner {
                shared,
                workers: std::sync::Mutex::new(workers.into()),
            }),
        })
    }

    /// Takes a message; when this returns it is on the disk. A key that was taken before on this channel
    /// changes nothing. Titles, bodies and fields over their limits are cut.
    pub async fn enqueue(&self, message: Message) -> Result<Enqueued, NotifyError> {
        let shared = &self.inner.shared;
        let message = message.within_limits()?;
        let waiting = self.counts().await?.waiting;
        if waiting >= WAITING_MAX {
            return Err(NotifyError::TooMany { waiting });
        }
        let text = serde_json::to_string(&message).map_err(|error| shared.file(error.to_string()))?;
        let mut recipients = shared.receivers.recipients(message.channel);
        let receiver = !recipients.is_empty();
        let status = if receiver {
            Status::Waiting
        } else {
            Status::NoReceiver
        };
        if !receiver {
            recipients.push(String::new());
        }
        let error = (!receiver).then(|| {
            let channel = message.channel.as_str();
            format!("no receiver is configured: set notify.{channel} in trimtab-server.yaml")
        });
        let now = now().0;
        let mut ids = Vec::new();
        let mut transaction = shared.pool.begin().await.map_err(|e| shared.named(&e))?;
        for recipient in recipients {
            let row = sqlx::query(
                "INSERT INTO deliveries (key, channel, recipient, message, status, created_at, next_at, ended_at, error)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
            )
            .bind(&message.key)
            .bind(message.channel.as_str())
            .bind(&recipient)
            .bind(&text)
            .bind(status.as_str())
            .bind(now)
            .bind(now)
            .bind((!receiver).then_some(now))
            .bind(&error)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(|e| shared.named(&e))?;
            if let Some(row) = row {
                ids.push(row.try_get(0).map_err(|e| shared.named(&e))?);
            }
        }
        transaction.commit().await.map_err(|e| shared.named(&e))?;
        if !ids.is_empty() {
            shared.changed(message.channel);
        }
        Ok(Enqueued { ids, receiver })
    }

    /// The newest deliveries, newest first.
    pub async fn deliveries(&self, limit: u32) -> Result<Vec<Delivery>, NotifyError> {
        self.list("SELECT * FROM deliveries ORDER BY id DESC LIMIT ?", limit)
            .await
    }

    /// The newest dead letters, newest first.
    pub async fn dead_letters(&self, limit: u32) -> Result<Vec<Delivery>, NotifyError> {
        self.list(
            "SELECT * FROM deliveries WHERE status = 'dead' ORDER BY id DESC LIMIT ?",
            limit,
        )
        .await
    }

    /// Gives a dead letter (or one that had no receiver) all its attempts anew, at once.
    pub async fn retry(&self, id: i64) -> Result<(), NotifyError> {
        let shared = &self.inner.shared;
        let row = sqlx::query(
            "UPDATE deliveries SET status = 'waiting', attempts = 0, next_at = ?, ended_at = NULL
             WHERE id = ? AND status IN ('dead', 'no_receiver') RETURNING channel",
        )
        .bind(now().0)
        .bind(id)
        .fetch_optional(&shared.pool)
        .await
        .map_err(|error| shared.named(&error))?
        .ok_or(NotifyError::NotDead { id })?;
        let channel: String = row.try_get(0).map_err(|error| shared.named(&error))?;
        if let Some(channel) = Channel::parse(&channel) {
            shared.changed(channel);
        }
        Ok(())
    }

    /// How many deliveries stand where, of those still kept.
    pub async fn counts(&self) -> Result<Counts, NotifyError> {
        let shared = &self.inner.shared;
        let rows = sqlx::query("SELECT status, count(*) FROM deliveries GROUP BY status")
            .fetch_all(&shared.pool)
            .await
            .map_err(|error| shared.named(&error))?;
        let mut counts = Counts::default();
        for row in rows {
            let status: String = row.try_get(0).map_err(|error| shared.named(&error))?;
            let count = row.try_get::<i64, _>(1).map_err(|error| shared.named(&error))? as u64;
            match Status::parse(&status) {
                Some(Status::Waiting) => counts.waiting = count,
                Some(Status::Delivered) => counts.delivered = count,
                Some(Status::Dead) => counts.dead = count,
                Some(Status::NoReceiver) => counts.no_receiver = count,
                None => {}
            }
        }
        Ok(counts)
    }

    /// Changes whenever a delivery does.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.shared.changes.subscribe()
    }

    /// Stops the workers and closes the file. What is under way then may be sent again at the next start.
    pub async fn close(&self) {
        let workers = self
            .inner
            .workers
            .lock()
            .map(|mut all| std::mem::take(&mut *all))
            .unwrap_or_default();
        for worker in workers {
            worker.abort();
            let _ = worker.await;
        }
        self.inner.shared.pool.close().await;
    }

    async fn list(&self, sql: &'static str, limit: u32) -> Result<Vec<Delivery>, NotifyError> {
        let shared = &self.inner.shared;
        let rows = sqlx::query(sql)
            .bind(limit.min(LIST_MAX))
            .fetch_all(&shared.pool)
            .await
            .map_err(|error| shared.named(&error))?;
        rows.iter()
            .filter_map(|row| table::delivery(row).transpose())
            .collect::<Result<_, _>>()
            .map_err(|error| shared.named(&error))
    }
}

impl Shared {
    pub(crate) fn named(&self, error: &sqlx::Error) -> NotifyError {
        NotifyError::from_sqlx(&self.path, error)
    }

    fn file(&self, detail: String) -> NotifyError {
        NotifyError::File {
            path: self.path.clone(),
            detail,
        }
    }

    pub(crate) fn changed(&self, channel: Channel) {
        self.wake[channel as usize].notify_one();
        self.changes.send_modify(|count| *count += 1);
    }
}
