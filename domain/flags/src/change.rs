//! Changes to a flag set: each says what stood there before, so that it can be undone.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A part of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// `flags`.
    Flags,
    /// `$evaluators`: rules that several flags share.
    Evaluators,
    /// `metadata` of the whole set.
    Metadata,
}

impl Section {
    /// Every section, in the order in which they are written.
    pub const ALL: [Section; 3] = [Section::Metadata, Section::Evaluators, Section::Flags];

    /// Its name in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Section::Flags => "flags",
            Section::Evaluators => "$evaluators",
            Section::Metadata => "metadata",
        }
    }
}

/// One entry that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// In which part.
    pub section: Section,
    /// The key of a flag, the name of a shared rule or of a metadatum.
    pub key: String,
    /// What stood there; none when there was nothing.
    pub before: Option<Value>,
    /// What stands there now; none when it was taken out.
    pub after: Option<Value>,
}

/// A change as it is journalled; who made it and when stands beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Why.
    pub reason: String,
    /// What.
    pub entries: Vec<Entry>,
    /// The version whose change this one takes back.
    #[serde(default)]
    pub undoes: Option<u64>,
    /// The rollout that made it, when one did.
    #[serde(default)]
    pub rollout: Option<String>,
}

impl Change {
    /// The change that takes this one back. Entries that were changed again since are in the error, by
    /// section and key: undoing would lose what was done later.
    pub fn undone(&self, document: &Value, version: u64, reason: &str) -> Result<Change, Vec<String>> {
        let later: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| standing(document, entry.section, &entry.key) != entry.after.as_ref())
            .map(|entry| format!("{}.{}", entry.section.as_str(), entry.key))
            .collect();
        if !later.is_empty() {
            return Err(later);
        }
        let back = |entry: &Entry| Entry {
            section: entry.section,
            key: entry.key.clone(),
            before: entry.after.clone(),
            after: entry.before.clone(),
        };
        Ok(Change {
            reason: reason.to_owned(),
            entries: self.entries.iter().map(back).collect(),
            undoes: Some(version),
            rollout: None,
        })
    }
}

fn standing<'d>(document: &'d Value, section: Section, key: &str) -> Option<&'d Value> {
    document.get(section.as_str())?.get(key)
}

/// What differs between two documents.
pub fn difference(before: &Value, after: &Value) -> Vec<Entry> {
    let nothing = Map::new();
    let mut entries = Vec::new();
    for section in Section::ALL {
        let part = |document: &'_ Value| -> Map<String, Value> {
            let part = document.get(section.as_str()).and_then(Value::as_object);
            part.unwrap_or(&nothing).clone()
        };
        let (old, new) = (part(before), part(after));
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
        entries.extend(changed.map(|key| Entry {
            section,
            key: key.clone(),
            before: old.get(key).cloned(),
            after: new.get(key).cloned(),
        }));
    }
    entries
}

/// The document with the entries as they are after the change.
pub fn apply(mut document: Value, entries: &[Entry]) -> Value {
    if !document.is_object() {
        document = Value::Object(Map::new());
    }
    let Value::Object(top) = &mut document else {
        return document;
    };
    top.entry("flags").or_insert_with(|| Value::Object(Map::new()));
    for entry in entries {
        let part = top
            .entry(entry.section.as_str())
            .or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(part) = part else { continue };
        match &entry.after {
            Some(value) => part.insert(entry.key.clone(), value.clone()),
            None => part.remove(&entry.key),
        };
    }
    document
}
