//! What closed incidents change in the models.

use serde::{Deserialize, Serialize};

use crate::anomaly::Class;
use crate::templates::TemplateId;
use crate::verdict::Mixture;

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
    /// Log templates known from incidents.
    pub templates: Vec<KnownTemplate>,
}

impl Models {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;
}

impl Default for Models {
    fn default() -> Self {
        Models {
            version: Self::VERSION,
            incidents: 0,
            mixture: Mixture::default(),
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
