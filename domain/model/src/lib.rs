//! Nouns that two or more rooms use: names and ids, releases, weights, severities, actors, time.
//!
//! Nothing here decides anything. A type enters this crate only when two domain crates need it.

mod actor;
mod calendar;
mod latency;
mod name;
mod release;
mod severity;
mod timestamp;
mod weight;

pub use actor::{Actor, Role};
pub use calendar::civil_from_days;
pub use latency::LatencyHistogram;
pub use name::{
    EnvironmentName, IncidentId, InstanceId, NameError, ReleaseId, RolloutId, RunId, ServiceName,
};
pub use release::{Arm, Digest, Generation, Identity, Release};
pub use severity::Severity;
pub use timestamp::Timestamp;
pub use weight::{Weight, WeightError};
