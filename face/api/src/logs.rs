//! Log search.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// Which lines to find, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogQuery {
    /// Only of this service.
    pub service: Option<String>,
    /// Only of this environment.
    pub environment: Option<String>,
    /// Only of this release.
    pub release: Option<String>,
    /// Only of this instance.
    pub instance: Option<String>,
    /// At least so severe: `trace`, `debug`, `info`, `warn`, `error`, `fatal`.
    pub level: Option<String>,
    /// Only lines that contain this text.
    pub text: Option<String>,
    /// Only lines of this trace.
    pub trace_id: Option<String>,
    /// Only lines of this template.
    pub template: Option<String>,
    /// From then on; an hour ago when absent.
    pub from: Option<Moment>,
    /// Until then; now when absent.
    pub to: Option<Moment>,
    /// At most so many; 200 when absent, 5,000 at most.
    pub limit: Option<usize>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When, to the millisecond.
    pub at: Moment,
    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal`; empty when unknown.
    pub level: String,
    /// What it says.
    pub body: String,
    /// Service, as stamped.
    pub service: Option<String>,
    /// Environment, as stamped.
    pub environment: Option<String>,
    /// Release, as stamped.
    pub release: Option<String>,
    /// Instance, as stamped.
    pub instance: Option<String>,
    /// The trace it belongs to, 32 hex digits.
    pub trace_id: Option<String>,
    /// The span it belongs to, 16 hex digits.
    pub span_id: Option<String>,
    /// Its mined template's id.
    pub template: Option<String>,
    /// Whatever else it carries.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// Answer of a log search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogPage {
    /// The lines, newest first.
    pub lines: Vec<LogLine>,
    /// There are more within the time asked for.
    pub truncated: bool,
}
