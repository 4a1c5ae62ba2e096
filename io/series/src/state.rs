//! What all handles, the log's writer and the keeper share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;
use trimtab_telemetry::Sample;

use crate::block::{Block, IndexCache};
use crate::head::Head;
use crate::{Appended, SeriesConfig};

/// Everything that a query looks at, changed together under one lock.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) head: Head,
    /// A head that is being written to blocks; with the checkpoint of the log that it reaches to.
    pub(crate) flushing: Option<(Arc<Head>, u64)>,
    /// Both tiers, by sequence: what was written later comes later.
    pub(crate) blocks: Vec<Arc<Block>>,
    /// Samples folded into the overflow series so far.
    pub(crate) overflowed: u64,
}

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) too_far_ahead: AtomicU64,
    pub(crate) too_old: AtomicU64,
    pub(crate) bad_labels: AtomicU64,
    pub(crate) overflowed: AtomicU64,
    pub(crate) damaged_blocks: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, appended: &Appended) {
        let add = |counter: &AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&self.accepted, appended.accepted);
        add(&self.too_far_ahead, appended.too_far_ahead);
        add(&self.too_old, appended.too_old);
        add(&self.bad_labels, appended.bad_labels);
        add(&self.overflowed, appended.overflowed);
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: SeriesConfig,
    contents: RwLock<Contents>,
    /// Samples in memory, the flushing head included.
    pub(crate) memory_samples: AtomicUsize,
    pub(crate) counters: Counters,
    pub(crate) indexes: IndexCache,
    /// Rung when a head has been written to blocks.
    pub(crate) flushed: Notify,
    /// What the last try to write blocks ended with; empty when it went well.
    pub(crate) trouble: Mutex<String>,
}

impl State {
    pub(crate) fn new(config: SeriesConfig) -> Self {
        State {
            config,
            contents: RwLock::default(),
            memory_samples: AtomicUsize::new(0),
            counters: Counters::default(),
            indexes: IndexCache::default(),
            flushed: Notify::new(),
            trouble: Mutex::default(),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable samples visible.
    pub(crate) fn apply(&self, samples: Vec<Sample>) -> Appended {
        let mut contents = self.write();
        let contents = &mut *contents;
        let appended = contents
            .head
            .apply(samples, self.config.series_max, &mut contents.overflowed);
        let flushing = contents.flushing.as_ref().map_or(0, |(head, _)| head.samples());
        self.memory_samples
            .store(contents.head.samples() + flushing, Ordering::Relaxed);
        appended
    }
}
