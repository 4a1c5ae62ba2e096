//! Self-examination.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// In order.
    Ok,
    /// Works, but should be looked at.
    Warning,
    /// Does not work.
    Failed,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// How it ended.
    pub state: CheckState,
    /// What was found.
    pub text: String,
    /// What to do; empty when in order.
    #[serde(default)]
    pub mend: String,
}

/// `GET /api/v1/doctor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// Every check.
    pub checks: Vec<Check>,
    /// When they were made.
    pub as_of: Moment,
}
