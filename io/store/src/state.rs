//! What all handles, the log's writer and the keeper share.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Notify, broadcast};
use trimtab_telemetry::Batch;

use crate::file::Files;
use crate::memory::Memory;
use crate::{Appended, StoreConfig};

/// Keys of batches seen lately, the oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Keys {
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.known.contains(key)
    }

    /// Whether the key is new; it is remembered. An empty key always is.
    fn insert(&mut self, key: &str, keys_max: usize) -> bool {
        if key.is_empty() {
            return true;
        }
        let key: Arc<str> = key.into();
        if !self.known.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > keys_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Everything that a query looks at, changed together under one lock.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) memory: Memory,
    /// Rows that are being written to files, with the checkpoint of the log that they reach to.
    pub(crate) flushing: Option<(Arc<Memory>, u64)>,
    pub(crate) files: Files,
    pub(crate) keys: Keys,
}

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) too_far_ahead: AtomicU64,
    pub(crate) damaged_files: AtomicU64,
    pub(crate) tail_missed: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: StoreConfig,
    contents: RwLock<Contents>,
    pub(crate) memory_bytes: AtomicU64,
    pub(crate) counters: Counters,
    pub(crate) tail: broadcast::Sender<Arc<Batch>>,
    /// Rung when rows have been written to files.
    pub(crate) flushed: Notify,
    /// What the last try to write files ended with; empty when it went well.
    pub(crate) trouble: Mutex<String>,
}

impl State {
    pub(crate) fn new(config: StoreConfig) -> Self {
        State {
            tail: broadcast::channel(config.tail_batches_max.max(1)).0,
            config,
            contents: RwLock::default(),
            memory_bytes: AtomicU64::new(0),
            counters: Counters::default(),
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

    /// Remembers the key of a batch whose rows are in files already.
    pub(crate) fn remember(&self, key: &str) {
        self.write().keys.insert(key, self.config.keys_max);
    }

    /// Makes a durable batch visible.
    pub(crate) fn apply(&self, key: &str, batch: Arc<Batch>) -> Appended {
        let mut contents = self.write();
        if !contents.keys.insert(key, self.config.keys_max) {
            return Appended {
                repeated: true,
                ..Appended::default()
            };
        }
        let rows = batch.rows() as u64;
        contents.memory.push(batch, self.config.clock.now_ms());
        let flushing = contents.flushing.as_ref().map_or(0, |(memory, _)| memory.bytes);
        self.memory_bytes
            .store(contents.memory.bytes + flushing, Ordering::Relaxed);
        Appended {
            rows,
            ..Appended::default()
        }
    }
}
