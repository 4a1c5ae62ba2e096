//! Plug-ins: manifests in `plugins/*.json` that add a figure to a block.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::block::Block;

pub struct Plugins {
    folder: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    pub name: String,
    pub title: String,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Words,
    Characters,
    Minutes,
}

/// Words that people read in a minute.
const WORDS_PER_MINUTE: usize = 200;

impl Plugins {
    pub fn new(folder: &Path) -> Self {
        Plugins {
            folder: folder.to_owned(),
        }
    }

    pub fn names(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let mut names: Vec<String> = files
            .filter_map(|file| {
                file.ok()?
                    .file_name()
                    .to_str()?
                    .strip_suffix(".json")
                    .map(str::to_owned)
            })
            .collect();
        names.sort();
        names
    }

    /// Reads a plug-in's manifest; none: there is no such plug-in.
    pub fn load(&self, name: &str) -> Result<Option<Plugin>, String> {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Ok(None);
        }
        let path = self.folder.join(format!("{name}.json"));
        let Ok(text) = std::fs::read_to_string(path) else {
            return Ok(None);
        };
        let manifest: Value = serde_json::from_str(&text).map_err(|e| format!("plug-in {name}: {e}"))?;
        let counts = match manifest["counts"].as_str() {
            Some("words") => Counts::Words,
            Some("characters") => Counts::Characters,
            Some("minutes") => Counts::Minutes,
            _ => {
                return Err(format!(
                    "plug-in {name}: `counts` must be words, characters or minutes"
                ));
            }
        };
        let title = manifest["title"].as_str().unwrap_or(name).to_owned();
        Ok(Some(Plugin {
            name: name.to_owned(),
            title,
            counts,
        }))
    }
}

impl Plugin {
    pub fn apply(&self, block: &Block) -> Value {
        let text = &block.text.value;
        let words = text.split_whitespace().count();
        let figure = match self.counts {
            Counts::Words => words,
            Counts::Characters => text.chars().count(),
            Counts::Minutes => words.div_ceil(WORDS_PER_MINUTE),
        };
        json!({"plugin": self.name, "title": self.title, "value": figure})
    }
}
