//! Where an artifact comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimtab_model::{RunId, ServiceName, Timestamp};

/// Version of the provenance file's format.
pub const PROVENANCE_VERSION: u32 = 1;

/// Where an artifact comes from and what was tested; kept as JSON beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Format version, [`PROVENANCE_VERSION`].
    pub version: u32,
    /// The service.
    pub service: ServiceName,
    /// The run that built it.
    pub run: RunId,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// First line of the commit's message.
    pub title: String,
    /// Who wrote the commit.
    pub author: String,
    /// The paths packed, relative to the checkout.
    pub paths: Vec<String>,
    /// What else went in, name to value: lock file digests, tool versions. Never secrets.
    pub inputs: BTreeMap<String, String>,
    /// How the steps before it ended, in order.
    pub steps: Vec<StepResult>,
    /// When it was built.
    pub built_at: Timestamp,
}

/// How one step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The step, for example `unit`.
    pub name: String,
    /// The shell line that ran.
    pub command: String,
    /// Whether it passed.
    pub passed: bool,
    /// How it ended, for people.
    pub end: String,
    /// How long it took in milliseconds.
    pub millis: u64,
}
