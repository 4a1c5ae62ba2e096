//! The limits of a metric store, each with its default.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use trimtab_wal::WalConfig;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

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

/// Limits of one store.
#[derive(Debug, Clone)]
pub struct SeriesConfig {
    /// Where the time comes from.
    pub clock: Clock,
    /// Blocks cover windows of this length, aligned to the epoch.
    pub block_span_ms: i64,
    /// The head is written out once it holds this many samples (16 bytes each) …
    pub head_samples_max: usize,
    /// … or its log has grown to this.
    pub wal_bytes_max: u64,
    /// Most series in the head; samples of further ones fold into `{overflow="true"}`.
    pub series_max: usize,
    /// Samples further ahead of the clock are refused: a sender's clock jumped.
    pub ahead_ms_max: i64,
    /// Samples further behind the clock are refused; later than the newest is fine up to here.
    pub behind_ms_max: i64,
    /// Raw samples are kept this long; must exceed `behind_ms_max` and `block_span_ms`.
    pub retention_ms: i64,
    /// One-minute rollups are kept this long.
    pub rollup_retention_ms: i64,
    /// Most points that one `select` may return.
    pub select_points_max: usize,
    /// Limits of the write-ahead log.
    pub wal: WalConfig,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        SeriesConfig {
            clock: Clock::System,
            block_span_ms: 2 * HOUR_MS,
            head_samples_max: 2_000_000,
            wal_bytes_max: 256 << 20,
            series_max: 50_000,
            ahead_ms_max: 10 * MINUTE_MS,
            behind_ms_max: HOUR_MS,
            retention_ms: 15 * DAY_MS,
            rollup_retention_ms: 90 * DAY_MS,
            select_points_max: 20_000_000,
            wal: WalConfig::default(),
        }
    }
}
