//! Scores that users give (D.Q5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /api/v1/feedback`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NewFeedback {
    /// The service.
    pub service: String,
    /// 1 to 5.
    pub score: f64,
    /// What the user says, at most 2,000 characters.
    #[serde(default)]
    pub comment: String,
    /// Where; `production` when absent.
    #[serde(default)]
    pub environment: Option<String>,
}
