//! The thread that writes rows to files, merges files, and removes what is too old.

mod compaction;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use trimtab_telemetry::{Event, LogRecord, Span};

use crate::commit::{Commit, remove};
use crate::date;
use crate::file::{DataFile, FileName, Files, RowWriter};
use crate::memory::Memory;
use crate::state::State;
use crate::store::StoreWal;
use crate::table::{Row, Signal};
use crate::{Retained, StoreError};

/// How often it looks whether there is something to do.
const TEND_EVERY: Duration = Duration::from_millis(200);
/// How often it merges files and removes old ones.
const COMPACT_EVERY: Duration = Duration::from_secs(60);
/// Pause after a failure, so that a full disk is not hammered.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Rows turned into columns at a time.
const WRITE_ROWS: usize = 4096;

/// What callers ask for.
pub(crate) enum Task {
    Flush(oneshot::Sender<Result<(), StoreError>>),
    Compact(oneshot::Sender<Result<(), StoreError>>),
    Retain {
        now_ms: i64,
        done: oneshot::Sender<Result<Retained, StoreError>>,
    },
    RemoveBefore {
        at_ms: i64,
        done: oneshot::Sender<Result<Retained, StoreError>>,
    },
}

/// A change that was decided and must be carried out before any other.
pub(crate) struct Decided {
    commit: Commit,
    added: Files,
    published: bool,
}

pub(crate) struct Keeper {
    pub(crate) state: Arc<State>,
    pub(crate) wal: Arc<StoreWal>,
    pub(crate) root: PathBuf,
    pub(crate) next_sequence: u64,
    pub(crate) decided: Option<Decided>,
}

impl Decided {
    /// One that an earlier run decided; its files are listed already.
    pub(crate) fn recovered(commit: Commit) -> Self {
        Decided {
            commit,
            added: Vec::new(),
            published: true,
        }
    }
}

impl Keeper {
    /// Serves until every handle is gone.
    pub(crate) fn run(mut self, tasks: &Receiver<Task>) {
        let mut compact_at = Instant::now() + COMPACT_EVERY;
        let mut flush_at = Instant::now();
        if let Err(error) = self.finish() {
            tracing::error!(%error, "an earlier change of the store's files cannot be finished yet");
        }
        loop {
            match tasks.recv_timeout(TEND_EVERY) {
                Ok(Task::Flush(done)) => drop(done.send(self.flush())),
                Ok(Task::Compact(done)) => drop(done.send(self.compact())),
                Ok(Task::Retain { now_ms, done }) => drop(done.send(self.retain(now_ms))),
                Ok(Task::RemoveBefore { at_ms, done }) => {
                    drop(done.send(self.remove(|file| file.newest_ms() < at_ms)));
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
                    tracing::error!(%error, "files of the store were not merged or removed");
                }
            }
        }
    }

    fn must_flush(&self) -> bool {
        let config = &self.state.config;
        let contents = self.state.read();
        let memory = &contents.memory;
        let age_ms = config.clock.now_ms().saturating_sub(memory.since_ms);
        contents.flushing.is_some()
            || memory.bytes >= config.memory_bytes_max
            || self.wal.stats().bytes >= config.wal_bytes_max
            || (!memory.batches.is_empty() && age_ms >= config.memory_age_ms_max)
    }

    /// Writes the rows in memory to files and drops the log before them.
    fn flush(&mut self) -> Result<(), StoreError> {
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
            tracing::error!(error = text, "rows cannot be written to files");
        }
        *trouble = text;
        flushed
    }

    fn try_flush(&mut self) -> Result<(), StoreError> {
        self.finish()?;
        if self.state.read().flushing.is_none() {
            if self.state.read().memory.batches.is_empty() {
                return Ok(());
            }
            let state = self.state.clone();
            self.wal.rotate(move |checkpoint| {
                let mut contents = state.write();
                let memory = std::mem::take(&mut contents.memory);
                contents.flushing = Some((Arc::new(memory), checkpoint));
            })?;
        }
        let Some((memory, checkpoint)) = self.state.read().flushing.clone() else {
            return Ok(());
        };
        let mut added = Vec::new();
        let written = self
            .write_signal::<LogRecord>(&memory, &mut added)
            .and_then(|()| self.write_signal::<Span>(&memory, &mut added))
            .and_then(|()| self.write_signal::<Event>(&memory, &mut added));
        if let Err(error) = written {
            self.remove_temporary(&added);
            return Err(error);
        }
        self.decide(Some(checkpoint), added, &[])
    }

    /// One file for each day that a signal's rows touch.
    fn write_signal<R: Row>(&mut self, memory: &Memory, added: &mut Files) -> Result<(), StoreError> {
        let mut rows: Vec<&R> = memory.batches.iter().flat_map(|batch| R::of(batch)).collect();
        rows.sort_by_cached_key(|row| {
            let service = (R::SORTED_BY.len() > 1).then(|| row.identity().service.clone());
            (date::days(row.nanos()), service, row.nanos())
        });
        for of_day in rows.chunk_by(|a, b| date::days(a.nanos()) == date::days(b.nanos())) {
            let Some(first) = of_day.first() else {
                continue;
            };
            let name = FileName {
                date: date::text(first.nanos()),
                sequence: self.take_sequence(),
                level: 0,
            };
            let relative = name.relative(R::SIGNAL);
            let file = self.write_rows(name, of_day).inspect_err(|_| {
                let _ = fs::remove_file(self.root.join(relative).with_added_extension("tmp"));
            })?;
            added.push(Arc::new(file));
        }
        Ok(())
    }

    fn write_rows<R: Row>(&self, name: FileName, rows: &[&R]) -> Result<DataFile, StoreError> {
        let mut writer = RowWriter::<R>::create(&self.root, name, rows.len() as u64)?;
        for some in rows.chunks(WRITE_ROWS) {
            writer.write(some)?;
        }
        writer.finish()
    }

    fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    fn remove_temporary(&self, files: &Files) {
        for file in files {
            let _ = fs::remove_file(file.path.with_added_extension("tmp"));
        }
    }

    /// Makes a change of the set of files happen, now or, after a failure, before the next one.
    fn decide(
        &mut self,
        checkpoint: Option<u64>,
        added: Files,
        removed: &[Arc<DataFile>],
    ) -> Result<(), StoreError> {
        let relative = |file: &Arc<DataFile>| {
            let path = &file.path;
            path.strip_prefix(&self.root).unwrap_or(path).to_owned()
        };
        let commit = Commit::new(
            checkpoint,
            added.iter().map(relative).collect(),
            removed.iter().map(relative).collect(),
        );
        if let Err(error) = commit.decide(&self.root) {
            self.remove_temporary(&added);
            return Err(error);
        }
        self.decided = Some(Decided {
            commit,
            added,
            published: false,
        });
        self.finish()
    }

    /// Carries out what was decided.
    fn finish(&mut self) -> Result<(), StoreError> {
        let Some(decided) = &mut self.decided else {
            return Ok(());
        };
        decided.commit.carry_out(&self.root)?;
        if !decided.published {
            let removed: Vec<PathBuf> = decided
                .commit
                .remove
                .iter()
                .map(|relative| self.root.join(relative))
                .collect();
            let mut contents = self.state.write();
            contents.files.retain(|file| !removed.contains(&file.path));
            contents.files.append(&mut decided.added);
            if decided.commit.checkpoint.is_some() {
                contents.flushing = None;
            }
            let bytes = contents.memory.bytes;
            drop(contents);
            decided.published = true;
            if decided.commit.checkpoint.is_some() {
                self.state.memory_bytes.store(bytes, Ordering::Relaxed);
                self.state.flushed.notify_waiters();
            }
        }
        if let Some(checkpoint) = decided.commit.checkpoint {
            self.wal.discard_before(checkpoint)?;
        }
        Commit::forget(&self.root)?;
        self.decided = None;
        Ok(())
    }

    fn retain(&mut self, now_ms: i64) -> Result<Retained, StoreError> {
        let state = self.state.clone();
        self.remove(|file| {
            let keep_ms = match file.signal {
                Signal::Logs => state.config.retention_ms,
                Signal::Spans => state.config.span_retention_ms,
                Signal::Events => state.config.event_retention_ms,
            };
            file.newest_ms() < now_ms.saturating_sub(keep_ms)
        })
    }

    /// Removes files that are too old by some measure.
    fn remove(&mut self, is_old: impl Fn(&DataFile) -> bool) -> Result<Retained, StoreError> {
        self.finish()?;
        let mut contents = self.state.write();
        let (old, kept): (Files, Files) = contents.files.drain(..).partition(|file| is_old(file));
        contents.files = kept;
        drop(contents);
        let mut retained = Retained::default();
        for file in old {
            remove(&file.path)?;
            if let Some(day) = file.path.parent() {
                // Only an empty folder goes.
                let _ = fs::remove_dir(day);
            }
            retained.files += 1;
            retained.bytes += file.bytes;
        }
        Ok(retained)
    }
}

/// What the store's folder held.
pub(crate) struct Found {
    pub(crate) files: Files,
    pub(crate) sequence: u64,
    pub(crate) damaged: u64,
}

/// Lists the files; unfinished ones are removed, damaged ones set aside under another name.
pub(crate) fn find_files(root: &Path) -> Result<Found, StoreError> {
    let mut found = Found {
        files: Vec::new(),
        sequence: 0,
        damaged: 0,
    };
    for signal in Signal::ALL {
        let folder = root.join(signal.as_str());
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        for day in list(&folder)? {
            if day.is_dir() {
                for path in list(&day)? {
                    found.take(signal, &path)?;
                }
            }
        }
    }
    Ok(found)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(StoreError::io("list", folder))
}

impl Found {
    fn take(&mut self, signal: Signal, path: &Path) -> Result<(), StoreError> {
        if path.extension().is_some_and(|ending| ending == "tmp") {
            return remove(path);
        }
        let Some(name) = FileName::parse(path) else {
            return Ok(());
        };
        self.sequence = self.sequence.max(name.sequence);
        match DataFile::open(path, signal, name) {
            Ok(file) => self.files.push(Arc::new(file)),
            Err(error @ StoreError::Damaged { .. }) => {
                let aside = path.with_added_extension("damaged");
                tracing::error!(%error, aside = %aside.display(), "set a damaged file of the store aside");
                fs::rename(path, &aside).map_err(StoreError::io("rename", path))?;
                self.damaged += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
