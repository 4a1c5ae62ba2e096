//! The fields of a mapping: needed, with a default, or left out.

use crate::read::{Sink, Value, join};
use crate::yaml::{Node, Place};

/// The known fields of a mapping, each once.
pub(crate) struct Fields<'a> {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) entries: Vec<(&'a str, &'a Node)>,
    pub(crate) sink: &'a Sink,
}

impl<'a> Fields<'a> {
    pub(crate) fn value(&self, name: &str) -> Option<Value<'a>> {
        let (_, node) = self.entries.iter().find(|(entry, _)| *entry == name)?;
        Some(Value {
            node,
            path: join(&self.path, name),
            sink: self.sink,
        })
    }

    /// A field that may be left out.
    pub(crate) fn maybe<T>(&self, name: &str, read: impl FnOnce(Value<'a>) -> Option<T>) -> Option<T> {
        self.value(name).and_then(read)
    }

    /// A field with a default.
    pub(crate) fn or<T>(&self, name: &str, read: impl FnOnce(Value<'a>) -> Option<T>, default: T) -> T {
        self.maybe(name, read).unwrap_or(default)
    }

    /// A field that must be there.
    pub(crate) fn need<T>(
        &self,
        name: &str,
        example: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.value(name) {
            Some(value) => read(value),
            None => {
                let path = join(&self.path, name);
                self.sink
                    .report(self.place, &path, "missing", format!("add {example}"));
                None
            }
        }
    }

    /// Reports that fields do not go together, at `name`.
    pub(crate) fn clash(&self, name: &str, what: &str, mend: &str) {
        let place = self.value(name).map_or(self.place, |value| value.node.place);
        self.sink.report(place, &join(&self.path, name), what, mend);
    }
}
