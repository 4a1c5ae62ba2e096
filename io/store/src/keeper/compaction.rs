//! Merges the small files of a day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trimtab_telemetry::{Event, LogRecord, Span};

use super::{Keeper, WRITE_ROWS};
use crate::StoreError;
use crate::file::{DataFile, FileName, Files, Prefilter, RowReader, RowWriter};
use crate::table::{Row, Signal};

/// Most files merged at once; each is read a little at a time.
const INPUTS_MAX: usize = 32;

/// Files that may be merged with each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    signal: Signal,
    date: String,
    level: u32,
}

impl Keeper {
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        self.finish()?;
        // A damaged file holds up its own group only.
        let mut held_up = BTreeSet::new();
        let mut outcome = Ok(());
        while let Some((group, inputs)) = self.plan(&held_up) {
            let merged = match group.signal {
                Signal::Logs => self.merge::<LogRecord>(&inputs),
                Signal::Spans => self.merge::<Span>(&inputs),
                Signal::Events => self.merge::<Event>(&inputs),
            };
            if merged.is_err() {
                held_up.insert(group);
            }
            outcome = outcome.and(merged);
        }
        outcome
    }

    /// Files of one group, once there are enough of them.
    fn plan(&self, held_up: &BTreeSet<Group>) -> Option<(Group, Files)> {
        let config = &self.state.config;
        let contents = self.state.read();
        let mut groups: BTreeMap<Group, Files> = BTreeMap::new();
        for file in contents
            .files
            .iter()
            .filter(|file| file.bytes < config.file_bytes_max)
        {
            let group = Group {
                signal: file.signal,
                date: file.date.clone(),
                level: file.level,
            };
            let files = groups.entry(group).or_default();
            if files.len() < INPUTS_MAX {
                files.push(file.clone());
            }
        }
        let enough = config.compact_files_min.clamp(2, INPUTS_MAX);
        groups
            .into_iter()
            .find(|(group, files)| files.len() >= enough && !held_up.contains(group))
    }

    fn merge<R: Row>(&mut self, inputs: &[Arc<DataFile>]) -> Result<(), StoreError> {
        let Some(first) = inputs.first() else {
            return Ok(());
        };
        let name = FileName {
            date: first.date.clone(),
            sequence: self.take_sequence(),
            level: first.level + 1,
        };
        let temporary = self
            .root
            .join(name.relative(R::SIGNAL))
            .with_added_extension("tmp");
        let merged = self.write_merged::<R>(name, inputs).inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })?;
        self.decide(None, vec![Arc::new(merged)], inputs)
    }

    fn write_merged<R: Row>(&self, name: FileName, inputs: &[Arc<DataFile>]) -> Result<DataFile, StoreError> {
        let rows = inputs.iter().map(|file| file.rows).sum();
        let mut writer = RowWriter::<R>::create(&self.root, name, rows)?;
        let mut sources = Vec::with_capacity(inputs.len());
        for file in inputs {
            sources.push(Source::<R>::open(file)?);
        }
        let mut merged: Vec<R> = Vec::with_capacity(WRITE_ROWS);
        while let Some(row) = next_row(&mut sources)? {
            merged.push(row);
            if merged.len() == WRITE_ROWS {
                writer.write(&merged.iter().collect::<Vec<_>>())?;
                merged.clear();
            }
        }
        writer.write(&merged.iter().collect::<Vec<_>>())?;
        writer.finish()
    }
}

/// One file being read in order, with its next row at hand.
struct Source<R> {
    reader: RowReader<R>,
    rows: std::vec::IntoIter<R>,
    next: Option<R>,
}

impl<R: Row> Source<R> {
    fn open(file: &DataFile) -> Result<Self, StoreError> {
        let mut source = Source {
            reader: file.rows(&Prefilter::default())?,
            rows: Vec::new().into_iter(),
            next: None,
        };
        source.advance()?;
        Ok(source)
    }

    /// The row at hand; the one after it comes to hand.
    fn advance(&mut self) -> Result<Option<R>, StoreError> {
        let row = self.next.take();
        loop {
            if let Some(next) = self.rows.next() {
                self.next = Some(next);
                return Ok(row);
            }
            match self.reader.next() {
                Some(rows) => self.rows = rows?.into_iter(),
                None => return Ok(row),
            }
        }
    }
}

/// The first row over all sources.
fn next_row<R: Row>(sources: &mut [Source<R>]) -> Result<Option<R>, StoreError> {
    let mut best: Option<usize> = None;
    for (index, source) in sources.iter().enumerate() {
        let Some(row) = &source.next else {
            continue;
        };
        let earlier = best
            .and_then(|best| sources[best].next.as_ref())
            .is_none_or(|known| row.sorts_before(known));
        if earlier {
            best = Some(index);
        }
    }
    match best {
        Some(index) => sources[index].advance(),
        None => Ok(None),
    }
}
