//! A block: two registers (title, text) and a set of tags, each of which merges.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// When and by whom a value was written: Lamport's logical clock, ties broken by the writer's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub clock: u64,
    pub actor: String,
}

/// A value that the latest writer wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register {
    pub value: String,
    pub stamp: Stamp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub id: String,
    pub title: Register,
    pub text: Register,
    /// Each tag with the additions of it that nobody has removed; a tag without any is gone.
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// Additions that were removed, so that one that arrives late stays removed.
    pub removed: BTreeSet<String>,
}

impl Block {
    pub fn new(id: &str) -> Self {
        Block {
            id: id.to_owned(),
            ..Block::default()
        }
    }

    pub fn tag_names(&self) -> Vec<&str> {
        self.tags
            .iter()
            .filter(|(_, adds)| !adds.is_empty())
            .map(|(tag, _)| tag.as_str())
            .collect()
    }

    /// The highest clock that this block has seen.
    pub fn clock(&self) -> u64 {
        self.title.stamp.clock.max(self.text.stamp.clock)
    }

    /// What users see.
    pub fn view(&self) -> Value {
        json!({
            "id": self.id,
            "title": self.title.value,
            "text": self.text.value,
            "tags": self.tag_names(),
            "clock": self.clock(),
        })
    }

    /// What is stored.
    pub fn record(&self) -> Value {
        let register =
            |r: &Register| json!({"value": r.value, "clock": r.stamp.clock, "actor": r.stamp.actor});
        json!({
            "v": 1,
            "id": self.id,
            "title": register(&self.title),
            "text": register(&self.text),
            "tags": self.tags,
            "removed": self.removed,
        })
    }

    pub fn from_record(record: &Value) -> Option<Self> {
        let register = |value: &Value| {
            Some(Register {
                value: value["value"].as_str()?.to_owned(),
                stamp: Stamp {
                    clock: value["clock"].as_u64()?,
                    actor: value["actor"].as_str()?.to_owned(),
                },
            })
        };
        let texts = |value: &Value| -> Option<BTreeSet<String>> {
            value
                .as_array()?
                .iter()
                .map(|text| text.as_str().map(str::to_owned))
                .collect()
        };
        Some(Block {
            id: record["id"].as_str()?.to_owned(),
            title: register(&record["title"])?,
            text: register(&record["text"])?,
            tags: record["tags"]
                .as_object()?
                .iter()
                .map(|(tag, adds)| Some((tag.clone(), texts(adds)?)))
                .collect::<Option<_>>()?,
            removed: texts(&record["removed"])?,
        })
    }
}
