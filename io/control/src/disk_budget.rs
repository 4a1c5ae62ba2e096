//! How long telemetry is kept, and the most that it may take on the disk.

use std::sync::Arc;
use std::time::Duration;

use trimtab_project::{Period, Retention};
use trimtab_series::{Series, SeriesConfig};
use trimtab_store::{SignalStore, StoreConfig};

/// How often the disk is looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(60);
/// Raw samples are kept at most this long; beyond it a metric's minutes are left.
const RAW_MS_MAX: i64 = 15 * 24 * 60 * 60 * 1_000;
/// Each of the two logs may take this share of the whole before its rows go to files, which are smaller and can
/// be removed.
const LOG_SHARE: u64 = 8;
/// A log is not made smaller than this: files would be tiny.
const LOG_BYTES_MIN: u64 = 1 << 20;

fn ms(period: Period) -> i64 {
    i64::try_from(period.as_millis()).unwrap_or(i64::MAX)
}

fn log_bytes(retention: &Retention, default: u64) -> u64 {
    let share = retention.size_max.map(|bytes| bytes / LOG_SHARE);
    share.map_or(default, |share| {
        share.clamp(LOG_BYTES_MIN, default.max(LOG_BYTES_MIN))
    })
}

/// The metric store's limits.
pub(crate) fn series_config(retention: &Retention) -> SeriesConfig {
    let config = SeriesConfig::default();
    let metrics = ms(retention.metrics);
    // The store needs its raw samples until a window is whole.
    let least = config.block_span_ms + config.behind_ms_max;
    SeriesConfig {
        retention_ms: metrics.min(RAW_MS_MAX).max(least),
        rollup_retention_ms: metrics.max(least),
        wal_bytes_max: log_bytes(retention, config.wal_bytes_max),
        ..config
    }
}

/// The signal store's limits.
pub(crate) fn store_config(retention: &Retention) -> StoreConfig {
    let config = StoreConfig::default();
    StoreConfig {
        retention_ms: ms(retention.logs),
        span_retention_ms: ms(retention.traces),
        event_retention_ms: ms(retention.events),
        wal_bytes_max: log_bytes(retention, config.wal_bytes_max),
        ..config
    }
}

/// Bytes that both stores take, logs included.
pub fn bytes_on_disk(series: &Series, store: &dyn SignalStore) -> u64 {
    let files: u64 = series.files().iter().map(|file| file.bytes).sum::<u64>()
        + store.files().iter().map(|file| file.bytes).sum::<u64>();
    files + series.stats().wal.bytes + store.stats().wal.bytes
}

/// Removes the oldest files of both stores until they take no more than `bytes_max`; returns the bytes removed.
/// What is in the logs only stays.
///
/// # Errors
/// A file that could not be removed, as text.
pub async fn shed(series: &Series, store: &dyn SignalStore, bytes_max: u64) -> Result<u64, String> {
    let mut over = bytes_on_disk(series, store).saturating_sub(bytes_max);
    if over == 0 {
        return Ok(0);
    }
    let mut files: Vec<(i64, u64)> = series
        .files()
        .iter()
        .map(|file| (file.newest_ms, file.bytes))
        .chain(store.files().iter().map(|file| (file.newest_ms, file.bytes)))
        .collect();
    files.sort_unstable();
    let mut before_ms = i64::MIN;
    for (newest_ms, bytes) in files {
        before_ms = newest_ms.saturating_add(1);
        over = over.saturating_sub(bytes);
        if over == 0 {
            break;
        }
    }
    let of_series = series
        .remove_before(before_ms)
        .await
        .map_err(|error| error.to_string())?;
    let of_store = store
        .remove_before(before_ms)
        .await
        .map_err(|error| error.to_string())?;
    Ok(of_series.bytes + of_store.bytes)
}

/// Keeps both stores within the budget for as long as the process lives.
pub(crate) async fn keep(series: Series, store: Arc<dyn SignalStore>, bytes_max: u64) {
    loop {
        match shed(&series, store.as_ref(), bytes_max).await {
            Ok(0) => {}
            Ok(bytes) => tracing::warn!(
                bytes,
                bytes_max,
                "removed the oldest telemetry: it took more of the disk than retention.size_max"
            ),
            Err(error) => tracing::error!(%error, "failed to remove old telemetry"),
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
