//! The labels that name a series.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Most labels that one series may have, the name included.
pub const LABELS_MAX: usize = 64;
/// Longest label name in bytes.
pub const LABEL_NAME_BYTES_MAX: usize = 256;
/// Longest label value in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 2048;

/// Why labels were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// More labels than [`LABELS_MAX`].
    #[error("a series has {0} labels, more than {LABELS_MAX}")]
    TooMany(usize),
    /// A name longer than [`LABEL_NAME_BYTES_MAX`].
    #[error("a label's name has {0} bytes, more than {LABEL_NAME_BYTES_MAX}")]
    NameTooLong(usize),
    /// A value longer than [`LABEL_VALUE_BYTES_MAX`].
    #[error("a label's value has {0} bytes, more than {LABEL_VALUE_BYTES_MAX}")]
    ValueTooLong(usize),
}

/// The labels of one series, sorted by name, each name once, no empty values; the metric's name is
/// the label [`METRIC_NAME`]. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(String, String)]>);

impl Labels {
    /// From pairs in any order. Of a name given twice the later value counts; a label with an empty
    /// value is the same as none.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut list: Vec<(String, String)> = pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        list.reverse();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list.dedup_by(|later, kept| later.0 == kept.0);
        list.retain(|(_, value)| !value.is_empty());
        Labels(list.into())
    }

    /// Refuses labels beyond the limits that keep one sender from filling the index.
    pub fn check(&self) -> Result<(), LabelError> {
        if self.0.len() > LABELS_MAX {
            return Err(LabelError::TooMany(self.0.len()));
        }
        for (name, value) in self.0.iter() {
            if name.len() > LABEL_NAME_BYTES_MAX {
                return Err(LabelError::NameTooLong(name.len()));
            }
            if value.len() > LABEL_VALUE_BYTES_MAX {
                return Err(LabelError::ValueTooLong(value.len()));
            }
        }
        Ok(())
    }

    /// The value of a label, if the series has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .binary_search_by(|(own, _)| own.as_str().cmp(name))
            .ok()
            .map(|at| self.0[at].1.as_str())
    }

    /// The metric's name; empty when there is none.
    pub fn metric(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same labels with one more, or with that one replaced (removed, if `value` is empty).
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        Labels::from_pairs(self.iter().chain([(name, value)]))
    }

    /// Only the labels that `keep` says yes to.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Labels(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::from([]))
    }
}

impl fmt::Display for Labels {
    /// As PromQL writes it: `name{label="value"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric())?;
        f.write_str("{")?;
        for (at, (name, value)) in self.iter().filter(|(name, _)| *name != METRIC_NAME).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from label names to values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, String>()? {
                    pairs.push(pair);
                }
                Ok(Labels::from_pairs(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn pairs_are_sorted_once_and_never_empty() {
        let labels = Labels::from_pairs([("z", "1"), (METRIC_NAME, "up"), ("a", ""), ("z", "2")]);
        assert_eq!(labels.to_string(), "up{z=\"2\"}");
        assert_eq!(labels.get("a"), None);
        assert_eq!(labels.with("z", "").to_string(), "up{}");
        assert_eq!(labels.with("b", "x\"y").to_string(), r#"up{b="x\"y", z="2"}"#);
        let json = serde_json::to_string(&labels).unwrap();
        assert_eq!(json, r#"{"__name__":"up","z":"2"}"#);
        assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
    }

    #[test]
    fn limits_name_what_is_too_much() {
        let many = Labels::from_pairs((0..=LABELS_MAX).map(|n| (format!("l{n}"), "x")));
        assert_eq!(many.check(), Err(LabelError::TooMany(LABELS_MAX + 1)));
        let long = Labels::from_pairs([("a", "x".repeat(LABEL_VALUE_BYTES_MAX + 1))]);
        assert_eq!(
            long.check(),
            Err(LabelError::ValueTooLong(LABEL_VALUE_BYTES_MAX + 1))
        );
    }
}
