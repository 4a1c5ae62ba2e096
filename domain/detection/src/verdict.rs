//! Is the candidate release worse than the current one? An answer that may be read after every batch,
//! acted on at once, and is wrong no more often than alpha over the whole rollout.

mod batch;
mod config;
mod judge;
mod report;

pub use batch::{Assigned, Batch, Outcomes, Past};
pub use config::{Config, Lift, Metric, Mixture, Share};
pub use judge::Judge;
pub use report::{ArmEvidence, Decision, MetricEvidence, PastEvidence, SharedCause, Verdict};
