//! The limits of a store, each with its default.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use trimtab_telemetry::LogRecord;
use trimtab_wal::WalConfig;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Where the store reads the time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// Set by hand, milliseconds since the epoch: for tests and replays.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Now, milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Clock::Manual(now) => now.load(Ordering::Relaxed),
        }
    }
}

/// Gives a log line the id of its template.
pub type TemplateOf = dyn Fn(&LogRecord) -> Option<String> + Send + Sync;

/// Limits of one store.
#[derive(Clone)]
pub struct StoreConfig {
    /// Where the time comes from.
    pub clock: Clock,
    /// Rows in memory are written to files once they take about this many bytes …
    pub memory_bytes_max: u64,
    /// … or the log has grown to this …
    pub wal_bytes_max: u64,
    /// … or the oldest of them is this old.
    pub memory_age_ms_max: i64,
    /// Rows further ahead of the clock are refused: a sender's clock jumped.
    pub ahead_ms_max: i64,
    /// Log records are kept this long.
    pub retention_ms: i64,
    /// Spans are kept this long.
    pub span_retention_ms: i64,
    /// Events are kept this long.
    pub event_retention_ms: i64,
    /// As many files of a signal and day, each smaller than `file_bytes_max`, are made into one.
    pub compact_files_min: usize,
    /// Files of this size are left alone.
    pub file_bytes_max: u64,
    /// Most idempotency keys remembered.
    pub keys_max: usize,
    /// Batches that a tail may be behind before it misses some.
    pub tail_batches_max: usize,
    /// Called for each log record without [`crate::TEMPLATE_ATTRIBUTE`] before it is stored.
    pub template_of: Option<Arc<TemplateOf>>,
    /// Limits of the write-ahead log.
    pub wal: WalConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            clock: Clock::System,
            memory_bytes_max: 64 << 20,
            wal_bytes_max: 256 << 20,
            memory_age_ms_max: 5 * 60 * 1000,
            ahead_ms_max: 10 * 60 * 1000,
            retention_ms: 15 * DAY_MS,
            span_retention_ms: 15 * DAY_MS,
            event_retention_ms: 400 * DAY_MS,
            compact_files_min: 8,
            file_bytes_max: 128 << 20,
            keys_max: 100_000,
            tail_batches_max: 1_000,
            template_of: None,
            wal: WalConfig::default(),
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("clock", &self.clock)
            .field("memory_bytes_max", &self.memory_bytes_max)
            .field("retention_ms", &self.retention_ms)
            .field("wal", &self.wal)
            .finish_non_exhaustive()
    }
}
