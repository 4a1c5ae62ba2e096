//! How much an anomaly matters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much a problem matters, least first; see the ladder of reactions in `trimtab-incident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Information: kept on the timeline.
    Low,
    /// A warning: watched until it clears or grows.
    Medium,
    /// Important: a person plans a fix.
    High,
    /// Acted on at once, by Trimtab itself.
    Critical,
}

impl Severity {
    /// The severity's name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
