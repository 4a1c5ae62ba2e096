//! What an evaluation says.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How an answer came about; OpenFeature's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// There is no targeting: everybody gets this.
    Static,
    /// Targeting chose the variant.
    TargetingMatch,
    /// A draw by hash chose the variant.
    Split,
    /// Targeting chose none, so it is the default.
    Default,
    /// The flag is switched off; the code's own default applies.
    Disabled,
    /// It went wrong; the code's own default applies.
    Error,
}

impl Reason {
    /// As OpenFeature writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Static => "STATIC",
            Reason::TargetingMatch => "TARGETING_MATCH",
            Reason::Split => "SPLIT",
            Reason::Default => "DEFAULT",
            Reason::Disabled => "DISABLED",
            Reason::Error => "ERROR",
        }
    }
}

/// What went wrong; OpenFeature's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The set has no such flag.
    FlagNotFound,
    /// The request or the definition cannot be read.
    ParseError,
    /// A draw needs a targeting key and the context has none.
    TargetingKeyMissing,
    /// The context is not what a context may be.
    InvalidContext,
    /// Anything else.
    General,
}

impl ErrorCode {
    /// As OpenFeature writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::FlagNotFound => "FLAG_NOT_FOUND",
            ErrorCode::ParseError => "PARSE_ERROR",
            ErrorCode::TargetingKeyMissing => "TARGETING_KEY_MISSING",
            ErrorCode::InvalidContext => "INVALID_CONTEXT",
            ErrorCode::General => "GENERAL",
        }
    }
}

/// On which side of a rollout a user is. The control is as large as the exposed part, or all that is
/// left of it, and is counted from the far end: growing the share makes exposed users of outsiders
/// and, past half, of the control; it never takes anybody out of the exposed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cohort {
    /// Gets the new variant.
    Exposed,
    /// Gets the old one, and is compared with the exposed.
    Control,
    /// Gets the old one, and is not looked at.
    Outside,
}

impl Cohort {
    /// The side of a bucket when the first `on` buckets get the new variant and the `off` after them
    /// the old one.
    pub fn of(bucket: u64, on: u64, off: u64) -> Self {
        let control = on.min(off);
        if bucket < on {
            Cohort::Exposed
        } else if bucket >= on.saturating_add(off) - control {
            Cohort::Control
        } else {
            Cohort::Outside
        }
    }

    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Cohort::Exposed => "exposed",
            Cohort::Control => "control",
            Cohort::Outside => "outside",
        }
    }
}

impl fmt::Display for Cohort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A variant that was served, or that the code's own default is.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The variant; none when the code's own default applies.
    pub variant: Option<String>,
    /// Its value; none when the code's own default applies.
    pub value: Option<Value>,
    /// How it came about.
    pub reason: Reason,
    /// On which side of a rollout the user is, when a draw between two decided.
    pub cohort: Option<Cohort>,
}

/// Why nothing was served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to evaluate: {details}")]
pub struct Failure {
    /// The kind.
    pub code: ErrorCode,
    /// For the log of whoever asked.
    pub details: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: ErrorCode, details: impl Into<String>) -> Self {
        Failure {
            code,
            details: details.into(),
        }
    }
}

/// The answer for one flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The flag.
    pub key: String,
    /// What was served, or why nothing was.
    pub outcome: Result<Served, Failure>,
    /// The set's metadata with the flag's over it.
    pub metadata: Map<String, Value>,
}
