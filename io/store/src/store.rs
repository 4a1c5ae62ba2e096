//! The embedded store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use trimtab_telemetry::{AttributeValue, Batch, Event, LogRecord, Span, TraceId};
use trimtab_wal::Wal;

use crate::memory::Pick;
use crate::query::effective_limit;
use crate::state::State;
use crate::{
    Appended, EventQuery, LogQuery, Replay, Retained, SignalStats, SignalStore, SpanQuery, StoreConfig,
    StoreError, StoreStats, TEMPLATE_ATTRIBUTE, Tail, TailFilter, TimeRange, entry,
};

/// Memory may hold this many times `memory_bytes_max` before appenders must wait.
const MEMORIES_MAX: u64 = 2;
/// How long an appender waits for files to be written.
const BEHIND_WAIT_MAX: Duration = Duration::from_secs(5);

/// A durable batch on its way into memory.
struct Pending {
    key: String,
    batch: Arc<Batch>,
}

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    wal: Arc<Wal<Pending, Appended>>,
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
        let dir = dir.as_ref();
        let state = Arc::new(State::new(config.clone()));
        let (replayed, applied) = (state.clone(), state.clone());
        let wal = Wal::open(
            &dir.join("wal"),
            config.wal,
            move |_, bytes| {
                let (key, batch) = entry::decode(bytes)?;
                replayed.apply(&key, Arc::new(batch));
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
        Ok(Store {
            inner: Arc::new(Inner {
                state,
                wal: Arc::new(wal),
            }),
        })
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
        let deadline = tokio::time::Instant::now() + BEHIND_WAIT_MAX;
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

    fn batches(&self) -> Vec<Arc<Batch>> {
        let contents = self.inner.state.read();
        let flushing = contents.flushing.iter().flat_map(|(memory, _)| &memory.batches);
        flushing.chain(&contents.memory.batches).cloned().collect()
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
        let mut pick = Pick::new(query.order, effective_limit(query.limit));
        for batch in self.batches() {
            for log in batch.logs.iter().filter(|log| query.matches(log)) {
                pick.offer(log.at_nanos, || log.clone());
            }
        }
        Ok(pick.into_rows())
    }

    async fn trace(&self, trace_id: TraceId) -> Result<Vec<Span>, StoreError> {
        let mut spans = Vec::new();
        for batch in self.batches() {
            spans.extend(
                batch
                    .spans
                    .iter()
                    .filter(|span| span.trace_id == trace_id)
                    .cloned(),
            );
        }
        spans.sort_by_key(|span| span.start_nanos);
        Ok(spans)
    }

    async fn search_spans(&self, query: SpanQuery) -> Result<Vec<Span>, StoreError> {
        let mut pick = Pick::new(query.order, effective_limit(query.limit));
        for batch in self.batches() {
            for span in batch.spans.iter().filter(|span| query.matches(span)) {
                pick.offer(span.start_nanos, || span.clone());
            }
        }
        Ok(pick.into_rows())
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        let mut pick = Pick::new(query.order, effective_limit(query.limit));
        for batch in self.batches() {
            for event in batch.events.iter().filter(|event| query.matches(event)) {
                pick.offer(event.at_nanos, || event.clone());
            }
        }
        Ok(pick.into_rows())
    }

    async fn replay(&self, _range: TimeRange) -> Result<Replay, StoreError> {
        let (_, batches) = mpsc::channel(2);
        Ok(Replay::new(batches))
    }

    fn tail(&self, filter: TailFilter) -> Tail {
        let state = &self.inner.state;
        Tail::new(state.tail.subscribe(), filter, state.counters.tail_missed.clone())
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn retain(&self, _now_ms: i64) -> Result<Retained, StoreError> {
        Ok(Retained::default())
    }

    fn stats(&self) -> StoreStats {
        let state = &self.inner.state;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let contents = state.read();
        let signal = |rows: u64| SignalStats {
            memory_rows: rows,
            ..SignalStats::default()
        };
        StoreStats {
            logs: signal(contents.memory.logs),
            spans: signal(contents.memory.spans),
            events: signal(contents.memory.events),
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
