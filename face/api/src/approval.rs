//! Gates that wait for a named person (A.S7, A.S8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trimtab_model::Role;

use crate::Moment;

/// A gate that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The run that waits; approve or reject by it.
    pub run: String,
    /// The service.
    pub service: String,
    /// The release to judge.
    pub release: Option<String>,
    /// What is asked, for example `Deploy blocks-r2 to production?`.
    pub question: String,
    /// Least role that may answer.
    #[schemars(with = "String")]
    pub role: Role,
    /// Where the release can be tried.
    #[serde(default)]
    pub url: Option<String>,
    /// Since when it waits.
    pub since: Moment,
    /// When it counts as rejected.
    pub until: Option<Moment>,
}
