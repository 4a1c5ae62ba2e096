//! One line of a log.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trimtab_model::Identity;

use crate::{Attributes, SpanId, TraceId};

/// How loud a log line is, quietest first. (How much a *problem* matters is `trimtab_model::Severity`.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Steps inside a function.
    Trace,
    /// For who debugs.
    Debug,
    /// Normal news; also what says nothing about itself.
    #[default]
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
    /// The program cannot go on.
    Fatal,
}

impl Level {
    /// The level's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// From OpenTelemetry's severity number (1 to 24, four to a level); 0 means unsaid.
    pub fn from_severity_number(number: i32) -> Option<Self> {
        match number {
            1..=4 => Some(Level::Trace),
            5..=8 => Some(Level::Debug),
            9..=12 => Some(Level::Info),
            13..=16 => Some(Level::Warn),
            17..=20 => Some(Level::Error),
            21..=24 => Some(Level::Fatal),
            _ => None,
        }
    }

    /// The lowest of the level's OpenTelemetry severity numbers: 1, 5, 9, 13, 17 or 21.
    pub fn severity_number(self) -> u8 {
        1 + 4 * (self as u8)
    }

    /// From a level's name in any case, with the names that loggers use (`warning`, `err`,
    /// `critical`, `notice`, …).
    pub fn from_name(name: &str) -> Option<Self> {
        const NAMES: [(&str, Level); 18] = [
            ("trace", Level::Trace),
            ("verbose", Level::Trace),
            ("debug", Level::Debug),
            ("dbg", Level::Debug),
            ("info", Level::Info),
            ("inf", Level::Info),
            ("information", Level::Info),
            ("notice", Level::Info),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("wrn", Level::Warn),
            ("error", Level::Error),
            ("err", Level::Error),
            ("severe", Level::Error),
            ("fatal", Level::Fatal),
            ("critical", Level::Fatal),
            ("panic", Level::Fatal),
            ("emerg", Level::Fatal),
        ];
        NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, level)| *level)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One log record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Who said it, as Trimtab knows.
    #[serde(with = "crate::shared")]
    pub identity: Arc<Identity>,
    /// When it was said, nanoseconds since the epoch (when it arrived, if the sender gave no time).
    pub at_nanos: u64,
    /// When it arrived, nanoseconds since the epoch.
    pub observed_nanos: u64,
    /// How loud it is.
    pub level: Level,
    /// The text. Structured bodies are kept as JSON text.
    pub body: String,
    /// The trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// The name of the logger or instrumentation scope; empty when unsaid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Attributes of this record.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Attributes of its sender, with the identity stamped over them.
    #[serde(with = "crate::shared", default)]
    pub resource: Arc<Attributes>,
}
