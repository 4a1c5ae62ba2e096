//! Several services released together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// Body of `POST /api/v1/groups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GroupRequest {
    /// The releases, one of each service; what others need comes first, so that it goes back last.
    pub members: Vec<GroupWish>,
    /// Where; `production` when absent.
    pub environment: Option<String>,
    /// Why; kept in the audit log.
    pub comment: String,
}

/// One release that is to go out with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupWish {
    /// The service.
    pub service: String,
    /// The release.
    pub release: String,
    /// How much its evidence counts against the others'; 1 when absent.
    #[serde(default)]
    pub weight: Option<u32>,
}

/// Services released together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// `group-3`.
    pub id: String,
    /// Where.
    pub environment: String,
    /// One sentence for people.
    pub state_text: String,
    /// Nothing more will happen.
    pub over: bool,
    /// Every member serves.
    pub deployed: bool,
    /// Chance that all are taken back by mistake; the members share it.
    pub alpha: f64,
    /// The weighted mean of the members' evidence; all go back at 1 / alpha.
    #[serde(default)]
    pub e_value: Option<f64>,
    /// The members in order.
    pub members: Vec<GroupMember>,
    /// Who wanted it.
    pub by: String,
    /// When it began.
    pub created_at: Moment,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupMember {
    /// The service.
    pub service: String,
    /// The release on trial.
    pub release: String,
    /// Its rollout, once it is started.
    pub rollout: Option<String>,
    /// The barrier that it reached last, from 1.
    pub barrier: Option<usize>,
    /// Its share of alpha and of the evidence.
    pub share: f64,
    /// Where its rollout stands.
    pub state_text: String,
}
