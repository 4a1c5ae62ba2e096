//! What closed incidents change in the models, shown before it is accepted, and measured on recordings.
//!
//! Learned are the verdict's shares over metrics and lifts, which may be any as long as they are fixed before
//! a rollout, so that alpha stays exact whatever is learned; how often the release was at fault, which sets how
//! surely the holdback must be fine before it alone is blamed; and the log templates that came with incidents.
//! A change is accepted only if it finds the recorded incidents and seeded variants of them sooner or more
//! surely, and raises no more false alarms on recorded clean traffic.

mod accept;
mod episode;
mod learn;
mod replay;

use serde::{Deserialize, Serialize};

use crate::anomaly::Class;
use crate::templates::TemplateId;
use crate::verdict::{Config, Mixture};

pub use accept::{Accepted, Outcome, Refused, accept};
pub use episode::{Episode, RecordedLine, variant};
pub use learn::{Proposal, learn};
pub use replay::{Replayed, Run, replay};

/// However often releases were at fault, the holdback must be fine at these odds.
const FINE_ODDS_MIN: f64 = 20.0;
/// However seldom, these are enough.
const FINE_ODDS_MAX: f64 = 1_000.0;
/// Templates that are remembered; the least often met go first.
const TEMPLATES_MAX: usize = 500;

/// A log template that came with an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownTemplate {
    /// The template's stable id.
    pub id: TemplateId,
    /// Its text.
    pub text: String,
    /// The class of the incident it came with.
    pub class: Class,
    /// How many incidents it came with.
    pub incidents: u32,
}

/// Everything that is learned, as one versioned document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Models {
    /// Version of this document's form.
    pub version: u32,
    /// How many incidents were learned.
    pub incidents: u32,
    /// The verdict's shares over metrics and lifts.
    pub mixture: Mixture,
    /// Incidents of rollouts in which the release was at fault.
    pub at_fault: u32,
    /// Incidents of rollouts in which the cause lay elsewhere.
    pub elsewhere: u32,
    /// Log templates known from incidents.
    pub templates: Vec<KnownTemplate>,
}

impl Models {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;

    /// `config` with what was learned.
    pub fn config(&self, config: &Config) -> Config {
        Config {
            mixture: self.mixture.clone(),
            fine_odds: self.fine_odds(config),
            ..config.clone()
        }
    }

    /// How surely the holdback must be fine before the release alone is blamed: by how often releases were
    /// at fault in earlier incidents (Laplace's rule of succession).
    fn fine_odds(&self, config: &Config) -> f64 {
        let elsewhere = f64::from(1 + self.elsewhere) / f64::from(1 + self.at_fault);
        (config.fine_odds * elsewhere).clamp(FINE_ODDS_MIN.min(config.fine_odds), FINE_ODDS_MAX)
    }
}

impl Default for Models {
    fn default() -> Self {
        Models {
            version: Self::VERSION,
            incidents: 0,
            mixture: Mixture::default(),
            at_fault: 0,
            elsewhere: 0,
            templates: Vec::new(),
        }
    }
}

/// One change to the models, as it is shown to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What changes, in words.
    pub what: String,
    /// Its number before.
    pub before: f64,
    /// Its number after.
    pub after: f64,
}
