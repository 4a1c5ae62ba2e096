//! How many instances people want of a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// Body of `POST /api/v1/services/{id}/scale`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScaleRequest {
    /// Where; `production` when absent.
    pub environment: Option<String>,
    /// How many instances from now on, also of later releases; absent: as many as the project file says.
    pub instances: Option<u32>,
    /// Why; kept in the audit log.
    pub comment: String,
}

/// What a person made of the number of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScaleState {
    /// How many are wanted.
    pub instances: u32,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Moment,
}
