//! What the store answers beside points: outcomes, rollups and figures.

use trimtab_telemetry::Labels;
use trimtab_wal::WalStats;

/// What became of the samples of one append.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Stored under their own labels.
    pub accepted: u64,
    /// Refused: further ahead of the clock than the limit.
    pub too_far_ahead: u64,
    /// Refused: further behind the clock than the limit.
    pub too_old: u64,
    /// Refused: too many or too long labels.
    pub bad_labels: u64,
    /// Folded into the series `{overflow="true"}`, whose value counts them.
    pub overflowed: u64,
}

impl Appended {
    /// How many samples were not stored under their own labels.
    pub fn rejected(&self) -> u64 {
        self.too_far_ahead + self.too_old + self.bad_labels + self.overflowed
    }
}

/// One minute of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// The minute's beginning, milliseconds since the epoch.
    pub minute_ms: i64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Sum of the values.
    pub sum: f64,
    /// How many values; NaN and stale markers are not counted.
    pub count: u64,
    /// The last value.
    pub last: f64,
}

/// The minutes of one series, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RollupData {
    /// The series.
    pub labels: Labels,
    /// Its minutes; those without a value are left out.
    pub minutes: Vec<Rollup>,
}

/// One block, as whoever makes room looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aged {
    /// Time of its newest sample, milliseconds since the epoch.
    pub newest_ms: i64,
    /// Its bytes.
    pub bytes: u64,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Block files removed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Figures of the store; counters are since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeriesStats {
    /// Series in the head.
    pub series: u64,
    /// Samples in memory.
    pub head_samples: u64,
    /// Raw block files.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Samples in them.
    pub block_samples: u64,
    /// Rollup block files.
    pub rollup_blocks: u64,
    /// Their bytes.
    pub rollup_bytes: u64,
    /// Blocks set aside because they were damaged.
    pub damaged_blocks: u64,
    /// Samples accepted.
    pub accepted: u64,
    /// Samples refused as too far ahead.
    pub too_far_ahead: u64,
    /// Samples refused as too old.
    pub too_old: u64,
    /// Samples refused for their labels.
    pub bad_labels: u64,
    /// Samples folded into the overflow series.
    pub overflowed: u64,
    /// The write-ahead log's.
    pub wal: WalStats,
}
