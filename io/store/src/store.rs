//! The embedded store.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::oneshot;
use trimtab_telemetry::{AttributeValue, Batch, Event, LogRecord, Span, TraceId};
use trimtab_wal::Wal;

use crate::commit::Commit;
use crate::file::Prefilter;
use crate::keeper::{Decided, Keeper, Task, find_files};
use crate::memory::Memory;
use crate::state::State;
use crate::table::Signal;
use crate::{
    Aged, Appended, EventQuery, LogQuery, Replay, Retained, SignalStats, SignalStore, SpanQuery, StoreConfig,
    StoreError, StoreStats, TEMPLATE_ATTRIBUTE, Tail, TailFilter, TimeRange, entry, scan,
};

/// Batches that a replay reads ahead.
const REPLAY_AHEAD: usize = 2;
/// Memory may hold this many times `memory_bytes_max` before appenders must wait.
const MEMORIES_MAX: u64 = 2;

/// A durable batch on its way into memory.
pub(crate) struct Pending {
    key: String,
    batch: Arc<Batch>,
}

/// The store's log.
pub(crate) type StoreWal = Wal<Pending, Appended>;

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    wal: Arc<StoreWal>,
    tasks: Option<mpsc::Sender<Task>>,
    keeper: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(keeper) = self.keeper.take() {
            // A panic in there was reported by the thread itself.
            let _ = keeper.join();
        }
    }
}

/// A store in one folder. Cheap to clone; the folder is free again when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens the store in `dir`, made if missing, and replays its log.
    ///
    /// # Errors
    /// A folder in use, a damaged log (the message says the way out).
    pub fn open(dir: impl AsRef<Path>, config: StoreConfig) -> Result<Self, StoreError> {
        let root = dir.as_ref();
        std::fs::create_dir_all(root).map_err(StoreError::io("create", root))?;
        let state = Arc::new(State::new(config.clone()));
        // Read before the log's lock is held: whoever holds it only adds to what this says, and then
        // the lock is refused below.
        let decided = Commit::read(root)?;
        let in_files_before = decided.as_ref().and_then(|commit| commit.checkpoint);
        let (replayed, applied) = (state.clone(), state.clone());
        let wal = Wal::open(
            &root.join("wal"),
            config.wal,
            move |sequence, bytes| {
                let (key, batch) = entry::decode(bytes)?;
                if in_files_before.is_some_and(|checkpoint| sequence < checkpoint) {
                    replayed.remember(&key);
                } else {
                    replayed.apply(&key, Arc::new(batch));
                }
                Ok(())
            },
            move |pending: Pending| {
                let appended = applied.apply(&pending.key, pending.batch.clone());
                if !appended.repeated {
                    // Nobody listening is no error.
                    let _ = applied.tail.send(pending.batch);
                }
                appended
            },
        )?;
        if let Some(commit) = &decided {
            commit.carry_out(root)?;
        }
        let found = find_files(root)?;
        state.write().files = found.files;
        state
            .counters
            .damaged_files
            .store(found.damaged, Ordering::Relaxed);
        let wal = Arc::new(wal);
        let keeper = Keeper {
            state: state.clone(),
            wal: wal.clone(),
            root: root.to_owned(),
            next_sequence: found.sequence,
            decided: decided.map(Decided::recovered),
        };
        let (tasks, requests) = mpsc::channel();
        let keeper = std::thread::Builder::new()
            .name("store-keeper".to_owned())
            .spawn(move || keeper.run(&requests))
            .map_err(StoreError::io("start the keeper of", root))?;
        Ok(Store {
            inner: Arc::new(Inner {
                state,
                wal,
                tasks: Some(tasks),
                keeper: Some(keeper),
            }),
        })
    }

    /// Merges small files.
    ///
    /// # Errors
    /// The file system's, or a damaged file.
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.ask(Task::Compact).await
    }

    async fn ask<X>(
        &self,
        task: impl FnOnce(oneshot::Sender<Result<X, StoreError>>) -> Task,
    ) -> Result<X, StoreError> {
        let (done, answer) = oneshot::channel();
        let tasks = self.inner.tasks.as_ref().ok_or(StoreError::Closed)?;
        tasks.send(task(done)).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs a query where it may read files.
    async fn read<X: Send + 'static>(
        &self,
        query: impl FnOnce(&State) -> Result<X, StoreError> + Send + 'static,
    ) -> Result<X, StoreError> {
        let state = self.inner.state.clone();
        tokio::task::spawn_blocking(move || query(&state))
            .await
            .map_err(|_| StoreError::Closed)?
    }

    /// Takes out what must not be stored and gives log lines their template; returns how many rows
    /// were refused.
    fn prepare(&self, batch: &mut Batch) -> u64 {
        let config = &self.inner.state.config;
        batch.samples = Vec::new();
        let newest_ms = config.clock.now_ms().saturating_add(config.ahead_ms_max);
        let newest = u64::try_from(newest_ms).unwrap_or(0).saturating_mul(1_000_000);
        let before = batch.rows();
        batch.logs.retain(|log| log.at_nanos <= newest);
        batch.spans.retain(|span| span.start_nanos <= newest);
        batch.events.retain(|event| event.at_nanos <= newest);
        if let Some(template_of) = &config.template_of {
            for log in &mut batch.logs {
                if !log.attributes.contains_key(TEMPLATE_ATTRIBUTE)
                    && let Some(template) = template_of(log)
                {
                    log.attributes
                        .insert(TEMPLATE_ATTRIBUTE.to_owned(), AttributeValue::Text(template));
                }
            }
        }
        (before - batch.rows()) as u64
    }

    async fn wait_for_memory(&self) -> Result<(), StoreError> {
        let state = &self.inner.state;
        let deadline = tokio::time::Instant::now() + state.config.wal.queue_wait_max;
        loop {
            let flushed = state.flushed.notified();
            let memory_bytes = state.memory_bytes.load(Ordering::Relaxed);
            if memory_bytes < state.config.memory_bytes_max.saturating_mul(MEMORIES_MAX) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, flushed).await.is_err() {
                let trouble = state.trouble.lock().map(|text| text.clone());
                return Err(StoreError::Behind {
                    memory_bytes,
                    reason: trouble.unwrap_or_default(),
                });
            }
        }
    }
}

#[async_trait]
impl SignalStore for Store {
    async fn append(&self, mut batch: Batch, key: &str) -> Result<Appended, StoreError> {
        let state = &self.inner.state;
        let mut appended = Appended::default();
        let too_far_ahead = self.prepare(&mut batch);
        if state.read().keys.contains(key) {
            appended.repeated = true;
        } else if !batch.is_empty() {
            self.wait_for_memory().await?;
            let payload = entry::encode(key, &batch).map_err(StoreError::Encode)?;
            let pending = Pending {
                key: key.to_owned(),
                batch: Arc::new(batch),
            };
            appended = self.inner.wal.append(payload, pending).await?;
        }
        appended.too_far_ahead = too_far_ahead;
        let add = |counter: &AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&state.counters.accepted, appended.rows);
        add(&state.counters.repeated, u64::from(appended.repeated));
        add(&state.counters.too_far_ahead, too_far_ahead);
        Ok(appended)
    }

    async fn scan_logs(&self, query: LogQuery) -> Result<Vec<LogRecord>, StoreError> {
        let filter = Prefilter::of_logs(&query);
        let wanted = (query.order, query.limit);
        self.read(move |state| scan::pick(state, &filter, wanted, |log: &LogRecord| query.matches(log)))
            .await
    }

    async fn trace(&self, trace_id: TraceId) -> Result<Vec<Span>, StoreError> {
        self.read(move |state| scan::trace(state, trace_id)).await
    }

    async fn search_spans(&self, query: SpanQuery) -> Result<Vec<Span>, StoreError> {
        let filter = Prefilter::of_spans(&query);
        let wanted = (query.order, query.limit);
        self.read(move |state| scan::pick(state, &filter, wanted, |span: &Span| query.matches(span)))
            .await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        let filter = Prefilter::of_events(&query);
        let wanted = (query.order, query.limit);
        self.read(move |state| scan::pick(state, &filter, wanted, |event: &Event| query.matches(event)))
            .await
    }

    async fn replay(&self, range: TimeRange) -> Result<Replay, StoreError> {
        let (to, batches) = tokio::sync::mpsc::channel(REPLAY_AHEAD);
        let state = self.inner.state.clone();
        tokio::task::spawn_blocking(move || scan::replay(&state, range, &to));
        Ok(Replay::new(batches))
    }

    fn tail(&self, filter: TailFilter) -> Tail {
        let state = &self.inner.state;
        Tail::new(state.tail.subscribe(), filter, state.counters.tail_missed.clone())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.ask(Task::Flush).await
    }

    async fn retain(&self, now_ms: i64) -> Result<Retained, StoreError> {
        self.ask(|done| Task::Retain { now_ms, done }).await
    }

    async fn remove_before(&self, at_ms: i64) -> Result<Retained, StoreError> {
        self.ask(|done| Task::RemoveBefore { at_ms, done }).await
    }

    fn files(&self) -> Vec<Aged> {
        let contents = self.inner.state.read();
        let aged = contents.files.iter().map(|file| Aged {
            newest_ms: file.newest_ms(),
            bytes: file.bytes,
        });
        aged.collect()
    }

    fn stats(&self) -> StoreStats {
        let state = &self.inner.state;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let contents = state.read();
        let flushing = contents.flushing.as_ref().map(|(memory, _)| memory.as_ref());
        let signal = |signal: Signal, rows_of: fn(&Memory) -> u64| {
            let files = || contents.files.iter().filter(|file| file.signal == signal);
            SignalStats {
                memory_rows: rows_of(&contents.memory) + flushing.map_or(0, rows_of),
                files: files().count() as u64,
                file_rows: files().map(|file| file.rows).sum(),
                file_bytes: files().map(|file| file.bytes).sum(),
            }
        };
        StoreStats {
            logs: signal(Signal::Logs, |memory| memory.logs),
            spans: signal(Signal::Spans, |memory| memory.spans),
            events: signal(Signal::Events, |memory| memory.events),
            accepted: load(&state.counters.accepted),
            repeated: load(&state.counters.repeated),
            too_far_ahead: load(&state.counters.too_far_ahead),
            tail_missed: load(&state.counters.tail_missed),
            damaged_files: load(&state.counters.damaged_files),
            memory_bytes: load(&state.memory_bytes),
            wal: self.inner.wal.stats(),
        }
    }
}
