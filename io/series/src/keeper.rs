//! The thread that writes heads to blocks, merges blocks, and removes what is too old.

mod compaction;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use trimtab_telemetry::{Labels, Sample};
use trimtab_wal::Wal;

use crate::block::{Block, BlockName, BlockWriter, Tier};
use crate::head::Head;
use crate::state::State;
use crate::{Appended, Retained, SeriesError};

/// How often it looks whether there is something to do.
const TEND_EVERY: Duration = Duration::from_millis(200);
/// How often it merges blocks and removes old ones.
const COMPACT_EVERY: Duration = Duration::from_secs(60);
/// Pause after a failure, so that a full disk is not hammered.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What callers ask for.
pub(crate) enum Task {
    Flush(oneshot::Sender<Result<(), SeriesError>>),
    Compact(oneshot::Sender<Result<(), SeriesError>>),
    Retain {
        now_ms: i64,
        done: oneshot::Sender<Result<Retained, SeriesError>>,
    },
    RemoveBefore {
        at_ms: i64,
        done: oneshot::Sender<Result<Retained, SeriesError>>,
    },
}

pub(crate) struct Keeper {
    pub(crate) state: Arc<State>,
    pub(crate) wal: Arc<Wal<Vec<Sample>, Appended>>,
    pub(crate) dir: PathBuf,
    pub(crate) next_sequence: u64,
}

impl Keeper {
    /// Serves until every handle is gone.
    pub(crate) fn run(mut self, tasks: &Receiver<Task>) {
        let mut compact_at = Instant::now() + COMPACT_EVERY;
        let mut flush_at = Instant::now();
        loop {
            match tasks.recv_timeout(TEND_EVERY) {
                Ok(Task::Flush(done)) => drop(done.send(self.flush())),
                Ok(Task::Compact(done)) => drop(done.send(self.compact())),
                Ok(Task::Retain { now_ms, done }) => drop(done.send(self.retain(now_ms))),
                Ok(Task::RemoveBefore { at_ms, done }) => {
                    drop(done.send(self.remove(|block| block.greatest_ms < at_ms)));
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if flush_at <= Instant::now() && self.must_flush() && self.flush().is_err() {
                flush_at = Instant::now() + RETRY_AFTER;
            }
            if compact_at <= Instant::now() {
                compact_at = Instant::now() + COMPACT_EVERY;
                let now_ms = self.state.config.clock.now_ms();
                let compacted = self.compact();
                let tended = self.retain(now_ms).and(compacted);
                if let Err(error) = tended {
                    tracing::error!(%error, "blocks of metrics were not merged or removed");
                }
            }
        }
    }

    fn must_flush(&self) -> bool {
        let config = &self.state.config;
        let contents = self.state.read();
        let span = contents.head.span();
        contents.flushing.is_some()
            || contents.head.samples() >= config.head_samples_max
            || self.wal.stats().bytes >= config.wal_bytes_max
            || span.is_some_and(|(least, greatest)| greatest - least >= config.block_span_ms)
    }

    /// Writes the head to blocks and drops the log before it.
    fn flush(&mut self) -> Result<(), SeriesError> {
        // After an earlier failure the first try writes what was left then.
        let left_over = self.state.read().flushing.is_some();
        let mut flushed = self.try_flush();
        if left_over && flushed.is_ok() {
            flushed = self.try_flush();
        }
        let text = flushed
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut trouble = self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *trouble != text && !text.is_empty() {
            tracing::error!(error = text, "metrics cannot be written to blocks");
        }
        *trouble = text;
        flushed
    }

    fn try_flush(&mut self) -> Result<(), SeriesError> {
        if self.state.read().flushing.is_none() {
            if self.state.read().head.is_empty() {
                return Ok(());
            }
            let state = self.state.clone();
            self.wal.rotate(move |checkpoint| {
                let mut contents = state.write();
                let head = std::mem::take(&mut contents.head);
                contents.flushing = Some((Arc::new(head), checkpoint));
            })?;
        }
        let Some((head, checkpoint)) = self.state.read().flushing.clone() else {
            return Ok(());
        };
        let blocks = self.write_head(&head)?;
        let mut contents = self.state.write();
        contents.blocks.extend(blocks.into_iter().map(Arc::new));
        contents.flushing = None;
        self.state
            .memory_samples
            .store(contents.head.samples(), Ordering::Relaxed);
        drop(contents);
        self.state.flushed.notify_waiters();
        self.wal.discard_before(checkpoint)?;
        Ok(())
    }

    /// One block for each time window that the head touches.
    fn write_head(&mut self, head: &Head) -> Result<Vec<Block>, SeriesError> {
        let window_ms = self.state.config.block_span_ms;
        let mut series: Vec<(&Labels, &[(i64, f64)])> =
            head.iter().filter(|(_, points)| !points.is_empty()).collect();
        series.sort_by(|a, b| a.0.cmp(b.0));
        let mut writers: BTreeMap<i64, BlockWriter> = BTreeMap::new();
        let sequence = self.take_sequence();
        for (labels, points) in series {
            let mut rest = points;
            while let Some((first, _)) = rest.first() {
                let window = first.div_euclid(window_ms) * window_ms;
                let (inside, after) = rest.split_at(rest.partition_point(|(at, _)| *at < window + window_ms));
                rest = after;
                let writer = match writers.entry(window) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        let name = BlockName {
                            window_ms: window,
                            sequence,
                            level: 0,
                            tier: Tier::Raw,
                        };
                        place.insert(BlockWriter::create(&self.dir, name)?)
                    }
                };
                add_points(writer, labels, inside)?;
            }
        }
        let mut blocks = Vec::new();
        for writer in writers.into_values() {
            match writer.finish() {
                Ok(block) => blocks.extend(block),
                Err(error) => {
                    // The head will be written again as a whole.
                    for block in &blocks {
                        let _ = fs::remove_file(&block.path);
                    }
                    return Err(error);
                }
            }
        }
        Ok(blocks)
    }

    fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    fn retain(&self, now_ms: i64) -> Result<Retained, SeriesError> {
        let config = &self.state.config;
        self.remove(|block| {
            let keep_ms = match block.name.tier {
                Tier::Raw => config.retention_ms,
                Tier::Minute => config.rollup_retention_ms,
            };
            block.greatest_ms < now_ms.saturating_sub(keep_ms)
        })
    }

    /// Removes blocks that are too old by some measure.
    fn remove(&self, is_old: impl Fn(&Block) -> bool) -> Result<Retained, SeriesError> {
        let mut contents = self.state.write();
        let (old, kept): (Vec<_>, Vec<_>) = contents.blocks.drain(..).partition(|block| is_old(block));
        contents.blocks = kept;
        drop(contents);
        let mut retained = Retained::default();
        for block in old {
            remove(&block.path)?;
            retained.blocks += 1;
            retained.bytes += block.bytes;
        }
        Ok(retained)
    }
}

fn add_points(writer: &mut BlockWriter, labels: &Labels, points: &[(i64, f64)]) -> Result<(), SeriesError> {
    let (times, values): (Vec<i64>, Vec<f64>) = points.iter().copied().unzip();
    writer.add(labels, &times, &[&values])
}

fn remove(path: &Path) -> Result<(), SeriesError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SeriesError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What the blocks' folder held.
pub(crate) struct Found {
    pub(crate) blocks: Vec<Arc<Block>>,
    pub(crate) sequence: u64,
    pub(crate) damaged: u64,
}

/// Lists the blocks; unfinished ones are removed, damaged ones set aside under another name.
pub(crate) fn find_blocks(dir: &Path) -> Result<Found, SeriesError> {
    fs::create_dir_all(dir).map_err(SeriesError::io("create", dir))?;
    let mut found = Found {
        blocks: Vec::new(),
        sequence: 0,
        damaged: 0,
    };
    for entry in fs::read_dir(dir).map_err(SeriesError::io("list", dir))? {
        let path = entry.map_err(SeriesError::io("list", dir))?.path();
        if path.extension().is_some_and(|ending| ending == "tmp") {
            remove(&path)?;
            continue;
        }
        let Some(name) = BlockName::parse(&path) else {
            continue;
        };
        found.sequence = found.sequence.max(name.sequence);
        match Block::open(&path, name) {
            Ok(block) => found.blocks.push(Arc::new(block)),
            Err(error @ SeriesError::Damaged { .. }) => {
                let aside = path.with_added_extension("damaged");
                tracing::error!(%error, aside = %aside.display(), "set a damaged block of metrics aside");
                fs::rename(&path, &aside).map_err(SeriesError::io("rename", &path))?;
                found.damaged += 1;
            }
            Err(error) => return Err(error),
        }
    }
    found.blocks.sort_by_key(|block| block.name.sequence);
    Ok(found)
}
