//! What the place that keeps the code tells: pushes, merge requests, reviews (A.D2 to A.D5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GitHookKind {
    /// A ref moved.
    Push {
        /// The full ref, for example `refs/heads/main`.
        #[serde(rename = "ref")]
        reference: String,
        /// The commit it points to now, 40 hex digits.
        commit: String,
        /// Where it pointed before.
        #[serde(default)]
        before: Option<String>,
    },
    /// A merge request was opened, merged or closed.
    MergeRequest {
        /// Its id at the forge.
        id: String,
        /// Its title.
        title: String,
        /// The branch it comes from.
        source: String,
        /// The branch it goes to.
        target: String,
        /// Its head commit.
        commit: String,
        /// How it stands.
        state: MergeRequestState,
    },
    /// Somebody reviewed a merge request.
    Review {
        /// The merge request's id.
        merge_request: String,
        /// The verdict.
        verdict: ReviewVerdict,
        /// What the reviewer says.
        #[serde(default)]
        comment: String,
    },
}

/// Body of `POST /api/v1/hooks/git`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitHook {
    /// The service.
    pub service: String,
    /// Who did it, as the forge knows them.
    pub actor: String,
    /// What happened.
    #[serde(flatten)]
    pub what: GitHookKind,
}

/// How a merge request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergeRequestState {
    /// Open.
    Open,
    /// Merged.
    Merged,
    /// Closed without merging.
    Closed,
}

/// What a reviewer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReviewVerdict {
    /// Good to merge.
    Approved,
    /// Not yet.
    ChangesRequested,
    /// A remark.
    Commented,
}

/// A review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// Who.
    pub author: String,
    /// What.
    pub verdict: ReviewVerdict,
    /// In words.
    #[serde(default)]
    pub comment: String,
    /// When.
    pub at: Moment,
}

/// A merge request with its reviews.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeRequest {
    /// Its id at the forge.
    pub id: String,
    /// The service.
    pub service: String,
    /// Its title.
    pub title: String,
    /// Who opened it.
    pub author: String,
    /// From.
    pub source: String,
    /// To.
    pub target: String,
    /// Its head commit.
    pub commit: String,
    /// How it stands.
    pub state: MergeRequestState,
    /// Its reviews.
    #[serde(default)]
    pub reviews: Vec<Review>,
    /// When it was opened.
    pub opened_at: Moment,
    /// When it was merged.
    #[serde(default)]
    pub merged_at: Option<Moment>,
}
