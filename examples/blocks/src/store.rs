//! The notebook on disk: one append-only file, a JSON record a line, the last one of a block is the block.
//!
//! Several processes may share the folder: appends are made under the file's lock, and each process reads on from
//! where it was before it answers.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::block::Block;
use crate::telemetry::Span;

pub struct Store {
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    /// Everything before this byte is in the index.
    read_to: u64,
    index: BTreeMap<String, Entry>,
}

/// Where a block's record is, and its words for searching.
#[derive(Debug, Clone)]
pub struct Entry {
    offset: u64,
    bytes: usize,
    pub words: Vec<String>,
}

/// The words of a text, as search sees them.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

impl Store {
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(folder.join("blocks.jsonl"))?;
        let mut inner = Inner {
            file,
            read_to: 0,
            index: BTreeMap::new(),
        };
        inner.refresh()?;
        Ok(Store {
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        // The index is whole after each statement, so a panic elsewhere spoils nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn read(&self, id: &str, span: &Span) -> io::Result<Option<Block>> {
        let span = span.child("storage.read");
        span.telemetry().count("file_queries_total", 1);
        let mut inner = self.inner();
        inner.refresh()?;
        let entry = inner.index.get(id).cloned();
        entry.map(|entry| inner.record(&entry)).transpose()
    }

    /// The blocks of some ids, in their order; those that are not there are left out.
    pub fn read_many(&self, ids: &[String], span: &Span) -> io::Result<Vec<Block>> {
        let span = span.child("storage.read");
        span.set("blocks", ids.len());
        span.telemetry().count("file_queries_total", ids.len() as u64);
        let inner = self.inner();
        ids.iter()
            .filter_map(|id| inner.index.get(id))
            .map(|entry| inner.record(entry))
            .collect()
    }

    /// Changes a block, or makes it, while no other process writes. Nothing is written when `change` fails or
    /// says that nothing changed.
    pub fn update<E>(
        &self,
        id: &str,
        span: &Span,
        change: impl FnOnce(&mut Block) -> Result<bool, E>,
    ) -> io::Result<Result<Block, E>> {
        let mut inner = self.inner();
        inner.file.lock()?;
        let outcome = inner.locked_update(id, span, change);
        inner.file.unlock()?;
        outcome
    }

    /// Ids of the newest blocks, newest first.
    pub fn newest(&self, count: usize) -> io::Result<Vec<String>> {
        let mut inner = self.inner();
        inner.refresh()?;
        let mut all: Vec<_> = inner.index.iter().map(|(id, entry)| (entry.offset, id)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        Ok(all.into_iter().take(count).map(|(_, id)| id.clone()).collect())
    }

    /// All blocks that `wanted` takes by their words, newest first.
    pub fn find(&self, wanted: impl Fn(&Entry) -> bool) -> io::Result<Vec<(String, Entry)>> {
        let mut inner = self.inner();
        inner.refresh()?;
        let found = inner.index.iter().filter(|(_, entry)| wanted(entry));
        let mut found: Vec<_> = found.map(|(id, entry)| (id.clone(), entry.clone())).collect();
        found.sort_unstable_by_key(|(_, entry)| std::cmp::Reverse(entry.offset));
        Ok(found)
    }
}

impl Inner {
    /// Reads what was appended since. A line without its end is left for later.
    fn refresh(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length <= self.read_to {
            return Ok(());
        }
        let mut bytes = vec![0; usize::try_from(length - self.read_to).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, self.read_to)?;
        let mut at = self.read_to;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            // A line that a crash tore is no record, and the block's one before it stands.
            if let Some(block) = serde_json::from_slice(line)
                .ok()
                .as_ref()
                .and_then(Block::from_record)
            {
                let text = [block.title.value.as_str(), &block.text.value].join(" ");
                let words = words(&text)
                    .chain(block.tag_names().into_iter().map(str::to_lowercase))
                    .collect();
                self.index.insert(
                    block.id,
                    Entry {
                        offset: at,
                        bytes: line.len(),
                        words,
                    },
                );
            }
            at += line.len() as u64;
        }
        self.read_to = at;
        Ok(())
    }

    fn record(&self, entry: &Entry) -> io::Result<Block> {
        let mut bytes = vec![0; entry.bytes];
        self.file.read_exact_at(&mut bytes, entry.offset)?;
        let record = serde_json::from_slice(&bytes)?;
        Block::from_record(&record).ok_or_else(|| io::Error::other("the record of a block is damaged"))
    }

    fn locked_update<E>(
        &mut self,
        id: &str,
        span: &Span,
        change: impl FnOnce(&mut Block) -> Result<bool, E>,
    ) -> io::Result<Result<Block, E>> {
        let mut block = {
            let span = span.child("storage.read");
            span.telemetry().count("file_queries_total", 1);
            self.refresh()?;
            match self.index.get(id) {
                Some(entry) => self.record(entry)?,
                None => Block::new(id),
            }
        };
        match change(&mut block) {
            Err(error) => return Ok(Err(error)),
            Ok(false) => return Ok(Ok(block)),
            Ok(true) => {}
        }
        let span = span.child("storage.append");
        span.telemetry().count("file_queries_total", 1);
        let mut line = block.record().to_string();
        line.push('\n');
        let length = self.file.metadata()?.len();
        if length > self.read_to {
            // Somebody crashed within a line: end it, so that ours begins anew.
            line.insert(0, '\n');
        }
        self.file.write_all(line.as_bytes())?;
        self.refresh()?;
        Ok(Ok(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("blocks-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn set(store: &Store, id: &str, text: &str) {
        let span = Telemetry::silent().root("test", None);
        store
            .update::<()>(id, &span, |block| {
                block.text.value = text.to_owned();
                block.text.stamp.clock += 1;
                Ok(true)
            })
            .unwrap()
            .unwrap();
    }

    #[test]
    fn two_processes_see_each_other() {
        let folder = folder("two");
        let span = Telemetry::silent().root("test", None);
        let (one, other) = (Store::open(&folder).unwrap(), Store::open(&folder).unwrap());
        set(&one, "a", "first");
        assert_eq!(other.read("a", &span).unwrap().unwrap().text.value, "first");
        set(&other, "a", "second");
        assert_eq!(one.read("a", &span).unwrap().unwrap().text.stamp.clock, 2);
        assert_eq!(one.newest(5).unwrap(), ["a"]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_torn_line_loses_only_itself() {
        let folder = folder("torn");
        let span = Telemetry::silent().root("test", None);
        set(&Store::open(&folder).unwrap(), "a", "whole");
        let path = folder.join("blocks.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"v\":1,\"id\":\"a\",\"tit").unwrap();
        let store = Store::open(&folder).unwrap();
        assert_eq!(store.read("a", &span).unwrap().unwrap().text.value, "whole");
        set(&store, "b", "after");
        let again = Store::open(&folder).unwrap();
        assert_eq!(again.newest(5).unwrap(), ["b", "a"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
