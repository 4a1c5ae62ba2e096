//! What picks series out of many.

use std::fmt;

use regex::Regex;

use crate::Labels;

/// Longest regular expression of a matcher in bytes.
pub const PATTERN_BYTES_MAX: usize = 4096;
/// Largest compiled regular expression of a matcher in bytes.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 1 << 20;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, the whole value
    Regex,
    /// `!~`, the whole value
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// Why a matcher cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// The regular expression is longer than [`PATTERN_BYTES_MAX`].
    #[error("the regular expression for label {name:?} has {bytes} bytes, more than {PATTERN_BYTES_MAX}")]
    TooLong {
        /// The label.
        name: String,
        /// The expression's length.
        bytes: usize,
    },
    /// The regular expression is none, or too large once compiled.
    #[error("the regular expression {pattern:?} for label {name:?} is not valid: {reason}")]
    Pattern {
        /// The label.
        name: String,
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// One condition on one label. A label that a series lacks counts as empty text.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher; regular expressions are compiled here and match the whole value.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, MatcherError> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => {
                if value.len() > PATTERN_BYTES_MAX {
                    return Err(MatcherError::TooLong {
                        name,
                        bytes: value.len(),
                    });
                }
                let build = |pattern: &str| {
                    regex::RegexBuilder::new(pattern)
                        .size_limit(PATTERN_PROGRAM_BYTES_MAX)
                        .build()
                };
                // Alone first: `a)|(b` would slip out of the anchors.
                let built = build(&value)
                    .and_then(|_| build(&format!("^(?s:{value})$")))
                    .map_err(|error| MatcherError::Pattern {
                        name: name.clone(),
                        pattern: value.clone(),
                        reason: error.to_string(),
                    })?;
                Some(built)
            }
        };
        Ok(Matcher {
            name,
            op,
            value,
            regex,
        })
    }

    /// `name = value`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher {
            name: name.into(),
            op: MatchOp::Equal,
            value: value.into(),
            regex: None,
        }
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label's value satisfies it.
    pub fn matches(&self, value: &str) -> bool {
        let fits = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex => fits(&self.regex),
            MatchOp::NotRegex => !fits(&self.regex),
        }
    }

    /// Whether a series satisfies it.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or_default())
    }

    /// Whether a series without the label satisfies it.
    pub fn matches_absent(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

/// What a query needs from the store to be evaluated: the series that satisfy all matchers, over the
/// times that [`Selector::range`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// All must be satisfied.
    pub matchers: Vec<Matcher>,
    /// How far back from an evaluated instant its points may lie, in milliseconds.
    pub lookback_ms: i64,
    /// How far the whole is shifted into the past, in milliseconds (negative: into the future).
    pub offset_ms: i64,
    /// The instant the selector is pinned to by `@`, instead of the evaluated one.
    pub at_ms: Option<i64>,
}

impl Selector {
    /// The times (both included) whose points can matter when evaluating from `start_ms` to `end_ms`.
    pub fn range(&self, start_ms: i64, end_ms: i64) -> (i64, i64) {
        let (first, last) = self.at_ms.map_or((start_ms, end_ms), |at| (at, at));
        (
            first
                .saturating_sub(self.offset_ms)
                .saturating_sub(self.lookback_ms),
            last.saturating_sub(self.offset_ms),
        )
    }

    /// Whether a series satisfies all matchers.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches_labels(labels))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn regular_expressions_match_the_whole_value() {
        let matcher = Matcher::new("code", MatchOp::Regex, "5..|429").unwrap();
        assert!(matcher.matches("503") && matcher.matches("429"));
        assert!(!matcher.matches("1503") && !matcher.matches("4290"));
        assert!(
            Matcher::new("a", MatchOp::NotRegex, "x+")
                .unwrap()
                .matches_absent()
        );
        assert!(Matcher::new("a", MatchOp::Regex, "(").is_err());
        assert!(Matcher::new("a", MatchOp::Regex, "x)|(y").is_err());
        assert!(Matcher::new("a", MatchOp::Regex, "(a{1000}){1000}").is_err());
        assert!(Matcher::new("a", MatchOp::Regex, "x".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }
}
