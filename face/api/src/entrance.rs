//! Whether users get through to a service: open, held for a moment, closed with a page.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// What users meet at a service's entrance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntranceMode {
    /// The service.
    #[default]
    Open,
    /// Requests wait; they are served when it is opened again, and refused when they waited too long.
    Held,
    /// A page that says so, with status 503.
    Closed,
}

/// Body of `POST /api/v1/services/{id}/entrance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EntranceRequest {
    /// Where; `production` when absent.
    pub environment: Option<String>,
    /// What users shall meet.
    pub mode: EntranceMode,
    /// Held: for how long at most, in seconds (30 when absent). Closed: after how many clients may ask
    /// again (60 when absent).
    pub seconds: Option<u32>,
    /// Closed: the page as HTML; a plain one with the comment when absent.
    pub page: Option<String>,
    /// Why; kept in the audit log.
    pub comment: String,
}

/// What a person made of a service's entrance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntranceState {
    /// What users meet.
    pub mode: EntranceMode,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Moment,
    /// Held: when it opens by itself.
    #[serde(default)]
    pub until: Option<Moment>,
}
