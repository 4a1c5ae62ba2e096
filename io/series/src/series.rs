//! The handle.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use trimtab_telemetry::{Labels, Matcher, Sample, SeriesData};
use trimtab_wal::Wal;

use crate::block::Tier;
use crate::keeper::{Keeper, Task, find_blocks};
use crate::rollup::MINUTE_MS;
use crate::state::State;
use crate::{Aged, Appended, Retained, RollupData, SeriesConfig, SeriesError, SeriesStats, entry, select};

/// Memory may hold this many times `head_samples_max` before appenders must wait.
const HEADS_MAX: usize = 2;

#[derive(Debug)]
struct Inner {
    state: Arc<State>,
    wal: Arc<Wal<Vec<Sample>, Appended>>,
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
        let dir = dir.as_ref();
        if config.block_span_ms <= 0 || config.block_span_ms % MINUTE_MS != 0 {
            return Err(SeriesError::Config(format!(
                "block_span_ms is {}; use whole minutes",
                config.block_span_ms
            )));
        }
        if config.retention_ms < config.block_span_ms + config.behind_ms_max {
            return Err(SeriesError::Config(format!(
                "retention_ms is {}; keep at least {}, so that windows are complete before they go",
                config.retention_ms,
                config.block_span_ms + config.behind_ms_max
            )));
        }
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
        // The log's lock is held: nobody else touches the blocks.
        let blocks_dir = dir.join("blocks");
        let found = find_blocks(&blocks_dir)?;
        state.write().blocks = found.blocks;
        state
            .counters
            .damaged_blocks
            .store(found.damaged, Ordering::Relaxed);
        let wal = Arc::new(wal);
        let keeper = Keeper {
            state: state.clone(),
            wal: wal.clone(),
            dir: blocks_dir,
            next_sequence: found.sequence,
        };
        let (tasks, requests) = mpsc::channel();
        let keeper = std::thread::Builder::new()
            .name("series-keeper".to_owned())
            .spawn(move || keeper.run(&requests))
            .map_err(SeriesError::io("start the keeper of", dir))?;
        Ok(Series {
            inner: Arc::new(Inner {
                state,
                wal,
                tasks: Some(tasks),
                keeper: Some(keeper),
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
        let deadline = tokio::time::Instant::now() + state.config.wal.queue_wait_max;
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
        let matchers = matchers.to_vec();
        self.read(move |state| select::select(state, &matchers, start_ms, end_ms))
            .await
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
        let matchers = matchers.to_vec();
        self.read(move |state| select::select_rollups(state, &matchers, start_ms, end_ms))
            .await
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
        let matchers = matchers.to_vec();
        self.read(move |state| select::labels(state, &matchers, start_ms, end_ms))
            .await
    }

    /// Runs a query where it may read files.
    async fn read<X: Send + 'static>(
        &self,
        query: impl FnOnce(&State) -> Result<X, SeriesError> + Send + 'static,
    ) -> Result<X, SeriesError> {
        let state = self.inner.state.clone();
        tokio::task::spawn_blocking(move || query(&state))
            .await
            .map_err(|_| SeriesError::Closed)?
    }

    async fn ask<X>(
        &self,
        task: impl FnOnce(oneshot::Sender<Result<X, SeriesError>>) -> Task,
    ) -> Result<X, SeriesError> {
        let (done, answer) = oneshot::channel();
        let tasks = self.inner.tasks.as_ref().ok_or(SeriesError::Closed)?;
        tasks.send(task(done)).map_err(|_| SeriesError::Closed)?;
        answer.await.map_err(|_| SeriesError::Closed)?
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
        self.ask(Task::Flush).await
    }

    /// Merges small blocks, and rolls up the windows that nothing more can come into.
    ///
    /// # Errors
    /// The file system's, or a damaged block.
    pub async fn compact(&self) -> Result<(), SeriesError> {
        self.ask(Task::Compact).await
    }

    /// Removes blocks whose every sample is older than the retention, seen from `now_ms`.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub async fn retain(&self, now_ms: i64) -> Result<Retained, SeriesError> {
        self.ask(|done| Task::Retain { now_ms, done }).await
    }

    /// Removes blocks whose every sample is older than `at_ms`, whatever the retention says: the disk is dear.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub async fn remove_before(&self, at_ms: i64) -> Result<Retained, SeriesError> {
        self.ask(|done| Task::RemoveBefore { at_ms, done }).await
    }

    /// Its blocks, in no order.
    pub fn files(&self) -> Vec<Aged> {
        let contents = self.inner.state.read();
        let aged = contents.blocks.iter().map(|block| Aged {
            newest_ms: block.greatest_ms,
            bytes: block.bytes,
        });
        aged.collect()
    }

    /// Its figures now.
    pub fn stats(&self) -> SeriesStats {
        let state = &self.inner.state;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let contents = state.read();
        let mut stats = SeriesStats {
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
        };
        for block in &contents.blocks {
            match block.name.tier {
                Tier::Raw => {
                    stats.blocks += 1;
                    stats.block_bytes += block.bytes;
                    stats.block_samples += block.points;
                }
                Tier::Minute => {
                    stats.rollup_blocks += 1;
                    stats.rollup_bytes += block.bytes;
                }
            }
        }
        stats
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let set: std::collections::BTreeSet<&str> = texts.collect();
    set.into_iter().map(str::to_owned).collect()
}
