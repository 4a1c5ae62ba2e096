//! What is wrong with a file, where, and how to mend it.

use std::fmt;

/// Most problems reported for one file; the rest follow once these are mended.
pub const PROBLEMS_MAX: usize = 100;

/// One thing wrong with a file. Shown as `file:line:column: field.path: what is wrong; the mend`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The field's path, for example `run.health.interval`; empty for the whole file.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.what, self.mend)
    }
}

impl std::error::Error for Problem {}
