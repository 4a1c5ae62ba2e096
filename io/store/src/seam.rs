//! The seam: all that the rest of the house knows of a store of logs, spans and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc};
use trimtab_telemetry::{Batch, Event, LogRecord, Span, TraceId};

use crate::{EventQuery, LogQuery, SpanQuery, StoreError, TailFilter, TimeRange};

/// What became of one append.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Rows stored.
    pub rows: u64,
    /// Whether a batch with this key was stored before; then nothing was stored now.
    pub repeated: bool,
    /// Rows refused: their time is too far ahead of the clock.
    pub too_far_ahead: u64,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Files removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One file, as whoever makes room looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aged {
    /// Time of its newest row, milliseconds since the epoch.
    pub newest_ms: i64,
    /// Its bytes.
    pub bytes: u64,
}

/// Rows and files of one signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalStats {
    /// Rows in memory.
    pub memory_rows: u64,
    /// Files.
    pub files: u64,
    /// Rows in them.
    pub file_rows: u64,
    /// Their bytes.
    pub file_bytes: u64,
}

/// Figures of a store; counters are since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Log records.
    pub logs: SignalStats,
    /// Spans.
    pub spans: SignalStats,
    /// Events.
    pub events: SignalStats,
    /// Rows stored.
    pub accepted: u64,
    /// Batches that came again with the same key.
    pub repeated: u64,
    /// Rows refused as too far ahead of the clock.
    pub too_far_ahead: u64,
    /// Batches that slow tails missed.
    pub tail_missed: u64,
    /// Files set aside because they were damaged.
    pub damaged_files: u64,
    /// About how many bytes the rows in memory take.
    pub memory_bytes: u64,
    /// The write-ahead log's.
    pub wal: trimtab_wal::WalStats,
}

/// A live view of what is being stored.
#[derive(Debug)]
pub struct Tail {
    batches: broadcast::Receiver<Arc<Batch>>,
    filter: TailFilter,
    missed: Arc<AtomicU64>,
}

impl Tail {
    /// Shows what comes over `batches` and passes `filter`; `missed` counts the batches that came
    /// faster than they were taken.
    pub fn new(batches: broadcast::Receiver<Arc<Batch>>, filter: TailFilter, missed: Arc<AtomicU64>) -> Self {
        Tail {
            batches,
            filter,
            missed,
        }
    }

    /// The next rows that pass the filter; none when the store is closed.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            match self.batches.recv().await {
                Ok(batch) => {
                    let wanted = self.filter.pick(&batch);
                    if !wanted.is_empty() {
                        return Some(wanted);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    self.missed.fetch_add(count, Ordering::Relaxed);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Rows in order of time, a batch at a time, read as fast as they are taken and no faster.
#[derive(Debug)]
pub struct Replay {
    batches: mpsc::Receiver<Result<Batch, StoreError>>,
}

impl Replay {
    /// Hands on what comes over a (short) channel.
    pub fn new(batches: mpsc::Receiver<Result<Batch, StoreError>>) -> Self {
        Replay { batches }
    }

    /// The next rows; none at the end.
    pub async fn next(&mut self) -> Option<Result<Batch, StoreError>> {
        self.batches.recv().await
    }
}

/// A store of logs, spans and events. Samples of a batch are not its business and are ignored.
#[async_trait]
pub trait SignalStore: Send + Sync {
    /// Stores a batch; on return it is durable and visible. A batch whose key was seen lately is
    /// answered, and not stored again; an empty key is never taken as seen.
    async fn append(&self, batch: Batch, key: &str) -> Result<Appended, StoreError>;

    /// The log records that a query wants.
    async fn scan_logs(&self, query: LogQuery) -> Result<Vec<LogRecord>, StoreError>;

    /// All spans of a trace, by when they began.
    async fn trace(&self, trace_id: TraceId) -> Result<Vec<Span>, StoreError>;

    /// The spans that a query wants.
    async fn search_spans(&self, query: SpanQuery) -> Result<Vec<Span>, StoreError>;

    /// The events that a query wants.
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError>;

    /// Everything within a time range, oldest first, in bounded memory.
    async fn replay(&self, range: TimeRange) -> Result<Replay, StoreError>;

    /// What is stored from now on; a tail that is not read fast enough misses rows, which is counted.
    fn tail(&self, filter: TailFilter) -> Tail;

    /// Writes what is in memory to files.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Removes what is older than the retention, seen from `now_ms` (milliseconds since the epoch).
    async fn retain(&self, now_ms: i64) -> Result<Retained, StoreError>;

    /// Removes files whose newest row is older than `at_ms`, whatever the retention says: the disk is dear.
    async fn remove_before(&self, at_ms: i64) -> Result<Retained, StoreError>;

    /// Its files, in no order.
    fn files(&self) -> Vec<Aged>;

    /// Its figures now.
    fn stats(&self) -> StoreStats;
}
