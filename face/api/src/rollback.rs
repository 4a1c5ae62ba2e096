//! The way back: what it would take, asked before it is gone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /api/v1/rollback`, and query of `GET`: go back to a release, or undo a rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RollBackRequest {
    /// The rollout to undo; or give a service.
    pub rollout: Option<String>,
    /// The service, with or without a release.
    pub service: Option<String>,
    /// Where; `production` when absent.
    pub environment: Option<String>,
    /// The release to go back to; the previous one when absent.
    pub release: Option<String>,
    /// Why; kept in the audit log.
    pub comment: String,
}

/// Answer of `GET /api/v1/rollback`: where the way back leads, and how long it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RollBackForecast {
    /// The service.
    pub service: String,
    /// Where.
    pub environment: String,
    /// The release that would serve; none when there is nothing to return to.
    pub release: Option<String>,
    /// The rollout under way that would be undone.
    #[serde(default)]
    pub rollout: Option<String>,
    /// True when its instances run: the way back is a change of traffic alone.
    pub warm: bool,
    /// How long its instances take to start, in seconds, by what earlier starts took; none when there was
    /// no start, or nothing is to be started.
    pub seconds: Option<f64>,
    /// All that in one sentence.
    pub text: String,
}
