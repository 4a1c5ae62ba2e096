//! What is wrong with a definition, and the mend.

use std::fmt;

/// One mistake in a flag set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The flag it is in, when it is in one.
    pub flag: Option<String>,
    /// Where, from the top of the document: `flags.search.targeting.if[0]`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}; {}", self.what, self.mend)
    }
}

/// Problems, one a line.
pub fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Most problems that are told; a document that is something else altogether has no end of them.
const PROBLEMS_MAX: usize = 100;

/// Where the reader is, and what it found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) flag: Option<String>,
    found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn add(&mut self, path: &str, what: impl Into<String>, mend: impl Into<String>) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(Problem {
                flag: self.flag.clone(),
                path: path.to_owned(),
                what: what.into(),
                mend: mend.into(),
            });
        }
    }

    pub(crate) fn finish(self) -> Vec<Problem> {
        self.found
    }
}

/// `text` cut for a message.
pub(crate) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// Says which of the names was meant, or lists them.
pub(crate) fn meant<'n>(text: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let near = names
        .clone()
        .map(|name| (distance(text, name), name))
        .min_by_key(|(far, _)| *far)
        .filter(|(far, name)| *far <= 1 + name.chars().count() / 3);
    match near {
        Some((_, name)) => format!("did you mean {name:?}?"),
        None => {
            let all: Vec<&str> = names.take(20).collect();
            format!("use one of: {}", all.join(", "))
        }
    }
}

/// Edits between two short texts.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
