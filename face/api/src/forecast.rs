//! What a rollout's steps are expected to tell, said before it starts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Strategy;

/// Query of `GET /api/v1/forecast`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ForecastQuery {
    /// The service.
    pub service: String,
    /// Where; `production` when absent.
    pub environment: Option<String>,
}

/// What a rollout can tell in its steps, by the latest traffic of its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutForecast {
    /// The service.
    pub service: String,
    /// Where.
    pub environment: String,
    /// How it is rolled out to.
    pub strategy: Strategy,
    /// How long traffic was looked at, in seconds: an hour at most.
    pub window_seconds: f64,
    /// Requests a second in that time.
    pub requests_per_second: f64,
    /// Errors per request in that time, in per cent.
    pub error_percent: f64,
    /// Chance of a false rollback that is allowed, for example 0.01.
    pub alpha: f64,
    /// The fault by which waits are told: this share of failing requests, in per cent.
    pub typical_percent: f64,
    /// Each step that is watched.
    pub steps: Vec<StepForecast>,
    /// The traffic in one sentence.
    pub text: String,
}

/// What one step can tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepForecast {
    /// The candidate's share in per cent; of users, in a step of a flag.
    pub percent: f64,
    /// How long it is watched, in seconds.
    pub watch_seconds: f64,
    /// Requests of the candidate in that time; none where nothing can be compared.
    pub candidate_requests: Option<u64>,
    /// The least share of failing requests, in per cent, that is expected to be called in that time; none when
    /// even a release that fails all of them is not.
    pub least_percent: Option<f64>,
    /// Seconds until a release that fails the typical share is called.
    pub typical_seconds: Option<f64>,
    /// In words.
    pub text: String,
}
