//! Reads environment variables, plain ones and those that are secrets of the server.

use std::collections::BTreeMap;

use crate::read::{VALUE_BYTES_MAX, Value, join};
use crate::yaml::{Kind, Node};

type Variables = BTreeMap<String, String>;

impl<'a> Value<'a> {
    /// Environment variables, and those that name a secret: `{secret: NAME}`.
    pub(crate) fn environment(self) -> Option<(Variables, Variables)> {
        let Kind::Map(entries) = &self.node.kind else {
            return self.wrong(
                format!("expected variables, found {}", self.found()),
                "write KEY: value, one a line",
            );
        };
        let (mut plain, mut secrets) = (Variables::new(), Variables::new());
        for (key, node) in entries {
            let path = join(&self.path, &key.text);
            if !is_variable(&key.text) {
                let mend = "use letters, digits and '_', not beginning with a digit";
                self.sink
                    .report(key.place, &path, "not a name of a variable", mend);
                continue;
            }
            if key.text == "PORT" || key.text.starts_with("TRIMTAB_") {
                let mend = "remove it: Trimtab gives PORT and TRIMTAB_* to each instance";
                self.sink
                    .report(key.place, &path, "this variable is Trimtab's", mend);
                continue;
            }
            let twice = plain.contains_key(&key.text) || secrets.contains_key(&key.text);
            match &node.kind {
                Kind::Scalar { text, .. } if text.len() <= VALUE_BYTES_MAX => {
                    plain.insert(key.text.clone(), text.clone());
                }
                Kind::Nothing => {
                    plain.insert(key.text.clone(), String::new());
                }
                Kind::Map(_) => {
                    secrets.extend(
                        self.secret(node, path.clone())
                            .map(|name| (key.text.clone(), name)),
                    );
                }
                Kind::Scalar { .. } | Kind::List(_) => {
                    let mend = "write one value of at most 16 KiB";
                    self.sink.report(node.place, &path, "not a single value", mend);
                    continue;
                }
            }
            if twice {
                self.sink
                    .report(key.place, &path, "given twice", "keep one of the two");
            }
        }
        Some((plain, secrets))
    }

    fn secret(&self, node: &'a Node, path: String) -> Option<String> {
        let sink = self.sink;
        let fields = Value { node, path, sink }.fields(&["secret"])?;
        fields.need(
            "secret",
            "the secret's name in trimtab-server.yaml: {secret: DB_PASSWORD}",
            |v| {
                let (node, path) = (v.node, v.path.clone());
                let name = v.text()?;
                if is_variable(&name) {
                    return Some(name);
                }
                let what = format!("{name:?} is not the name of a secret");
                sink.report(node.place, &path, what, "use letters, digits and '_'");
                None
            },
        )
    }
}

/// Whether a text may be the name of a variable, or of a secret.
pub(crate) fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
