//! Things that happened once: deployments, changes, words from outside.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trimtab_model::Identity;

use crate::Attributes;

/// Something that happened at one instant, from the journal or from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What it concerns.
    #[serde(with = "crate::shared")]
    pub identity: Arc<Identity>,
    /// When it happened, nanoseconds since the epoch.
    pub at_nanos: u64,
    /// Its own id, unique within its source; empty when the source gives none.
    pub id: String,
    /// Who says so, for example `journal` or a CloudEvents source.
    pub source: String,
    /// What kind of thing happened, for example `rollout.traffic_shifted`.
    pub kind: String,
    /// A line for people.
    pub title: String,
    /// Everything else.
    #[serde(default)]
    pub attributes: Attributes,
}
