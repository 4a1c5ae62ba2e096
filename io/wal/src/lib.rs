//! A write-ahead log with group commit, used by the metric store and by the signal store.
//!
//! [`Wal::append`] returns when the entry is on the disk (fdatasync) *and* applied to memory, in the
//! order of the log. One writer thread does both, so that a flush can mark an exact boundary
//! ([`Wal::rotate`]): everything before it is in memory already, and nothing after it is.
//! [`Wal::discard_before`] then drops what the flush has made durable elsewhere.

mod error;
mod frame;
mod segment;
mod writer;

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

pub use error::{WalError, is_full};
use writer::{Entry, Request, Writer};

/// What a queue permit stands for.
const PERMIT_BYTES: usize = 1024;

/// Limits of one log.
#[derive(Debug, Clone)]
pub struct WalConfig {
    /// A segment is closed once it has grown to this.
    pub segment_bytes_max: u64,
    /// Largest entry.
    pub entry_bytes_max: usize,
    /// Bytes that may wait for the disk; appenders beyond wait, then get [`WalError::Busy`].
    pub queue_bytes_max: usize,
    /// How long an appender waits for its place in the queue (and, in the stores, for memory).
    pub queue_wait_max: Duration,
}

impl Default for WalConfig {
    fn default() -> Self {
        WalConfig {
            segment_bytes_max: 32 << 20,
            entry_bytes_max: 32 << 20,
            queue_bytes_max: 64 << 20,
            queue_wait_max: Duration::from_secs(5),
        }
    }
}

/// Figures of one log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Bytes in all its segments.
    pub bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Group commits since it was opened.
    pub groups: u64,
    /// Group commits that failed.
    pub failed_groups: u64,
    /// Appends refused because the queue was full or the entry too large.
    pub refused: u64,
    /// Bytes that wait for the disk.
    pub queued_bytes: u64,
    /// Whether the last write failed.
    pub failing: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    bytes: AtomicU64,
    segments: AtomicU64,
    groups: AtomicU64,
    failed_groups: AtomicU64,
    refused: AtomicU64,
    failing: AtomicBool,
}

/// An open log of entries that apply as `T` and answer `R`; a folder has one at a time.
pub struct Wal<T, R> {
    dir: PathBuf,
    config: WalConfig,
    requests: Option<mpsc::Sender<Request<T, R>>>,
    thread: Option<JoinHandle<()>>,
    queue: Arc<Semaphore>,
    figures: Arc<Figures>,
    lock: File,
}

impl<T, R> fmt::Debug for Wal<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wal({})", self.dir.display())
    }
}

impl<T: Send + 'static, R: Send + 'static> Wal<T, R> {
    /// Opens the log in `dir` (made if missing), replays it, and starts the writer.
    ///
    /// `replay(sequence, entry)` gets every entry in order before this returns; an `Err` names what is
    /// wrong with the entry. `apply` runs on the writer's thread once an entry is durable.
    ///
    /// # Errors
    /// A folder in use, a damaged segment, a newer version, or what the file system says.
    pub fn open(
        dir: &Path,
        config: WalConfig,
        mut replay: impl FnMut(u64, &[u8]) -> Result<(), String>,
        apply: impl FnMut(T) -> R + Send + 'static,
    ) -> Result<Self, WalError> {
        fs::create_dir_all(dir).map_err(|e| WalError::io("create", dir, e))?;
        let lock = lock(dir)?;
        let recovered = segment::recover(dir, &mut replay)?;
        let figures = Arc::new(Figures::default());
        let (sender, requests) = mpsc::channel();
        let writer = Writer {
            dir: dir.to_owned(),
            segment_bytes_max: config.segment_bytes_max,
            closed: recovered.closed,
            active: recovered.active,
            next_sequence: recovered.next_sequence,
            apply,
            requests,
            figures: figures.clone(),
            buffer: Vec::new(),
        };
        writer.publish_figures();
        let thread = std::thread::Builder::new()
            .name("wal".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| WalError::io("start the writer of", dir, e))?;
        Ok(Wal {
            dir: dir.to_owned(),
            queue: Arc::new(Semaphore::new(config.queue_bytes_max / PERMIT_BYTES)),
            config,
            requests: Some(sender),
            thread: Some(thread),
            figures,
            lock,
        })
    }

    /// Writes an entry; on return it is durable and applied, and the answer is that of `apply`.
    ///
    /// # Errors
    /// Too large, too far behind, or the disk's answer. Nothing of a failed entry stays.
    pub async fn append(&self, payload: Vec<u8>, value: T) -> Result<R, WalError> {
        if payload.len() > self.config.entry_bytes_max {
            self.figures.refused.fetch_add(1, Ordering::Relaxed);
            return Err(WalError::TooLarge {
                bytes: payload.len(),
                max: self.config.entry_bytes_max,
            });
        }
        let permits = payload
            .len()
            .div_ceil(PERMIT_BYTES)
            .clamp(1, (self.config.queue_bytes_max / PERMIT_BYTES).max(1));
        let place = self.queue.clone().acquire_many_owned(permits as u32);
        let Ok(Ok(permit)) = tokio::time::timeout(self.config.queue_wait_max, place).await else {
            self.figures.refused.fetch_add(1, Ordering::Relaxed);
            return Err(WalError::Busy {
                queued_bytes: self.queued_bytes(),
            });
        };
        let answer = self.send(|done| {
            Request::Append(Entry {
                payload,
                value,
                done,
                permit,
            })
        })?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Ends the current segment; waits, so it must not be called from async code. `at_boundary(checkpoint)` runs on the writer's thread when all that was
    /// appended is applied and nothing else is; the checkpoint, also returned, is the sequence of the
    /// next frame.
    ///
    /// # Errors
    /// The next segment cannot be made; then `at_boundary` does not run.
    pub fn rotate(&self, at_boundary: impl FnOnce(u64) + Send + 'static) -> Result<u64, WalError> {
        let answer = self.send(|done| Request::Rotate {
            at_boundary: Box::new(at_boundary),
            done,
        })?;
        answer.blocking_recv().map_err(|_| self.closed())?
    }

    /// Removes the segments whose frames all lie before `sequence`, a checkpoint of [`Wal::rotate`].
    /// Waits, so it must not be called from async code.
    ///
    /// # Errors
    /// A segment cannot be removed.
    pub fn discard_before(&self, sequence: u64) -> Result<(), WalError> {
        let answer = self.send(|done| Request::DiscardBefore { sequence, done })?;
        answer.blocking_recv().map_err(|_| self.closed())?
    }

    fn send<X>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<X, WalError>>) -> Request<T, R>,
    ) -> Result<oneshot::Receiver<Result<X, WalError>>, WalError> {
        let (done, answer) = oneshot::channel();
        let sender = self.requests.as_ref().ok_or_else(|| self.closed())?;
        sender.send(request(done)).map_err(|_| self.closed())?;
        Ok(answer)
    }

    fn closed(&self) -> WalError {
        WalError::Closed {
            path: self.dir.clone(),
        }
    }

    fn queued_bytes(&self) -> usize {
        let places = self.config.queue_bytes_max / PERMIT_BYTES;
        places.saturating_sub(self.queue.available_permits()) * PERMIT_BYTES
    }

    /// Its figures now.
    pub fn stats(&self) -> WalStats {
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        WalStats {
            bytes: load(&self.figures.bytes),
            segments: load(&self.figures.segments),
            groups: load(&self.figures.groups),
            failed_groups: load(&self.figures.failed_groups),
            refused: load(&self.figures.refused),
            queued_bytes: self.queued_bytes() as u64,
            failing: self.figures.failing.load(Ordering::Relaxed),
        }
    }
}

impl<T, R> Drop for Wal<T, R> {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported by the thread itself.
            let _ = thread.join();
        }
        // A child process that is just being started may hold a copy of the file: closing it here
        // would leave the lock with that copy.
        let _ = self.lock.unlock();
    }
}

fn lock(dir: &Path) -> Result<File, WalError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| WalError::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WalError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(WalError::io("lock", &path, error)),
    }
}
