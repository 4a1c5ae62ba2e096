//! What an observer says of candidate against baseline, and the team's setting that it falls under.

use serde::{Deserialize, Serialize};

use crate::{OnInconclusive, OnRegressed};

/// What was seen of candidate against baseline.
///
/// `metric` names what decided, and `on` is the setting of that metric; without one the plan's own says what
/// follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[expect(missing_docs, reason = "metric and on mean the same in each variant")]
pub enum Verdict {
    /// The candidate is not worse by what matters; said at the end of a watch, or before.
    Healthy,
    /// The candidate is worse; said as soon as the evidence is there.
    Regressed {
        /// The evidence, for people.
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metric: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<OnRegressed>,
    },
    /// The watch ended without evidence for either.
    Inconclusive {
        /// What is lacking, for people.
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metric: Option<String>,
        /// What kept the metric from saying anything at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lack: Option<Lack>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<OnInconclusive>,
    },
}

/// The three ways in which a metric says nothing. None of them is evidence for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// One of the releases got no requests.
    NoTraffic,
    /// The query was answered, with no number for one of the releases.
    MissingMetric,
    /// The query was not answered.
    FailedQuery,
}

impl Verdict {
    /// A regression that the plan's own setting deals with.
    pub fn regressed(reason: impl Into<String>) -> Verdict {
        Verdict::Regressed {
            reason: reason.into(),
            metric: None,
            on: None,
        }
    }

    /// A want of evidence that the step's own setting deals with.
    pub fn inconclusive(reason: impl Into<String>) -> Verdict {
        Verdict::Inconclusive {
            reason: reason.into(),
            metric: None,
            lack: None,
            on: None,
        }
    }
}

impl OnInconclusive {
    /// How much it holds a candidate back: of several the greatest counts.
    pub fn strictness(self) -> u8 {
        match self {
            OnInconclusive::Pass => 0,
            OnInconclusive::Report => 1,
            OnInconclusive::Extend => 2,
            OnInconclusive::Ask => 3,
            OnInconclusive::RollBack => 4,
        }
    }
}
