//! The outbox: what was sent to whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trimtab_model::Severity;

use crate::Moment;

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits for its first or next attempt.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Given up after the last attempt: a dead letter.
    Dead,
}

/// One message on one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Its id; retry by it.
    pub id: String,
    /// `slack`, `email`, `sms` or `webhook`.
    pub channel: String,
    /// Who gets it, without secrets.
    pub receiver: String,
    /// How much it matters; none for what is no alert.
    #[schemars(with = "Option<String>")]
    pub severity: Option<Severity>,
    /// Its title.
    pub title: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// What the last failed attempt said.
    #[serde(default)]
    pub last_error: Option<String>,
    /// When it was enqueued.
    pub created_at: Moment,
    /// When it was delivered.
    pub delivered_at: Option<Moment>,
    /// When it is tried next.
    pub next_attempt_at: Option<Moment>,
    /// Path of the page it is about.
    #[serde(default)]
    pub link: Option<String>,
}

/// Which deliveries to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NotificationQuery {
    /// Only dead letters.
    pub dead: Option<bool>,
    /// At most so many; 100 when absent.
    pub limit: Option<usize>,
}
