//! The handle.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trimtab_telemetry::{Labels, Matcher, Sample, SeriesData};
use trimtab_wal::{Wal, WalStats};

use crate::entry;
use crate::merge::Gathered;
use crate::state::State;
use crate::{SeriesConfig, SeriesError};

/// Memory may hold this many times `head_samples_max` before appenders must wait.
const HEADS_MAX: usize = 2;
/// How long an appender waits for blocks to be written.
const BEHIND_WAIT_MAX: Duration = Duration::from_secs(5);

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

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    wal: Arc<Wal<Vec<Sample>, Appended>>,
}

/// A metric store in one folder. Cheap to clone; the folder is free again when the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub struct Series {
    inner: Arc<Inner>,
}

impl Series {
    /// Opens the store in `dir`, made if missing, and replays its log.
    ///
    /// # Errors
    /// A folder in use, a damaged log (the message says the way out), settings that cannot be.
    pub fn open(dir: impl AsRef<Path>, config: SeriesConfig) -> Result<Self, SeriesError> {
        let dir: PathBuf = dir.as_ref().to_owned();
        let state = Arc::new(State::new(config.clone()));
        let (replayed, applied) = (state.clone(), state.clone());
        let wal = Wal::open(
            &dir.join("wal"),
            config.wal,
            move |_, entry| {
                replayed.apply(entry::decode(entry)?);
                Ok(())
            },
            move |samples| applied.apply(samples),
        )?;
        Ok(Series {
            inner: Arc::new(Inner {
                state,
                wal: Arc::new(wal),
            }),
        })
    }

    /// Stores samples; on return the accepted ones are durable and visible.
    ///
    /// # Errors
    /// The log's (disk full, too far behind), or blocks that cannot be written.
    pub async fn append(&self, mut samples: Vec<Sample>) -> Result<Appended, SeriesError> {
        let state = &self.inner.state;
        let refused = self.refuse(&mut samples);
        let mut appended = Appended::default();
        if !samples.is_empty() {
            self.wait_for_memory().await?;
            let payload = entry::encode(&samples)
                .map_err(SeriesError::io("compress", Path::new("an entry of the log")))?;
            appended = self.inner.wal.append(payload, samples).await?;
        }
        appended.too_far_ahead = refused.too_far_ahead;
        appended.too_old = refused.too_old;
        appended.bad_labels = refused.bad_labels;
        state.counters.count(&appended);
        Ok(appended)
    }

    /// Takes out what must not be stored.
    fn refuse(&self, samples: &mut Vec<Sample>) -> Appended {
        let config = &self.inner.state.config;
        let now = config.clock.now_ms();
        let (oldest, newest) = (
            now.saturating_sub(config.behind_ms_max),
            now.saturating_add(config.ahead_ms_max),
        );
        let mut refused = Appended::default();
        samples.retain(|sample| {
            let counter = if sample.at_ms > newest {
                &mut refused.too_far_ahead
            } else if sample.at_ms < oldest {
                &mut refused.too_old
            } else if sample.labels.check().is_err() {
                &mut refused.bad_labels
            } else {
                return true;
            };
            *counter += 1;
            false
        });
        refused
    }

    async fn wait_for_memory(&self) -> Result<(), SeriesError> {
        let state = &self.inner.state;
        let deadline = tokio::time::Instant::now() + BEHIND_WAIT_MAX;
        loop {
            let flushed = state.flushed.notified();
            let head_samples = state.memory_samples.load(Ordering::Relaxed);
            if head_samples < state.config.head_samples_max.saturating_mul(HEADS_MAX) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, flushed).await.is_err() {
                let trouble = state.trouble.lock().map(|text| text.clone());
                return Err(SeriesError::Behind {
                    head_samples,
                    reason: trouble.unwrap_or_default(),
                });
            }
        }
    }

    /// The points of all series that satisfy every matcher, between two times (both included,
    /// milliseconds since the epoch); series sorted by labels, points by time. Where only rollups are
    /// left, each minute's last value stands at the minute's end.
    ///
    /// # Errors
    /// More points than the limit, or a damaged block.
    pub async fn select(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<SeriesData>, SeriesError> {
        let mut gathered = Gathered::default();
        let contents = self.inner.state.read();
        if let Some((head, _)) = &contents.flushing {
            head.gather(matchers, start_ms, end_ms, &mut gathered);
        }
        contents.head.gather(matchers, start_ms, end_ms, &mut gathered);
        drop(contents);
        Ok(gathered.into_data())
    }

    /// One-minute rollups of all series that satisfy every matcher, for the minutes that begin between
    /// two times (both included, milliseconds since the epoch).
    ///
    /// # Errors
    /// As [`Series::select`].
    pub async fn select_rollups(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<RollupData>, SeriesError> {
        let _ = (matchers, start_ms, end_ms);
        Ok(Vec::new())
    }

    /// The labels of all series that satisfy every matcher and may have points between two times.
    ///
    /// # Errors
    /// A damaged block.
    pub async fn labels(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<Labels>, SeriesError> {
        let _ = (start_ms, end_ms);
        let mut found = Vec::new();
        let contents = self.inner.state.read();
        if let Some((head, _)) = &contents.flushing {
            head.gather_labels(matchers, &mut found);
        }
        contents.head.gather_labels(matchers, &mut found);
        drop(contents);
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// All label names, sorted.
    ///
    /// # Errors
    /// A damaged block.
    pub async fn label_names(&self) -> Result<Vec<String>, SeriesError> {
        let all = self.labels(&[], i64::MIN, i64::MAX).await?;
        let names = all.iter().flat_map(|labels| labels.iter().map(|(name, _)| name));
        Ok(distinct(names))
    }

    /// All values of one label, sorted.
    ///
    /// # Errors
    /// A damaged block.
    pub async fn label_values(&self, name: &str) -> Result<Vec<String>, SeriesError> {
        let all = self.labels(&[], i64::MIN, i64::MAX).await?;
        Ok(distinct(all.iter().filter_map(|labels| labels.get(name))))
    }

    /// Writes the head to blocks and drops the log before it.
    ///
    /// # Errors
    /// The file system's; the samples stay in memory and in the log, and it is tried again.
    pub async fn flush(&self) -> Result<(), SeriesError> {
        Ok(())
    }

    /// Removes blocks whose every sample is older than the retention, seen from `now_ms`.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub async fn retain(&self, now_ms: i64) -> Result<Retained, SeriesError> {
        let _ = now_ms;
        Ok(Retained::default())
    }

    /// Its figures now.
    pub fn stats(&self) -> SeriesStats {
        let state = &self.inner.state;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let contents = state.read();
        SeriesStats {
            series: contents.head.series_count() as u64,
            head_samples: state.memory_samples.load(Ordering::Relaxed) as u64,
            damaged_blocks: load(&state.counters.damaged_blocks),
            accepted: load(&state.counters.accepted),
            too_far_ahead: load(&state.counters.too_far_ahead),
            too_old: load(&state.counters.too_old),
            bad_labels: load(&state.counters.bad_labels),
            overflowed: load(&state.counters.overflowed),
            wal: self.inner.wal.stats(),
            ..SeriesStats::default()
        }
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let set: std::collections::BTreeSet<&str> = texts.collect();
    set.into_iter().map(str::to_owned).collect()
}
