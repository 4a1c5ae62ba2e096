//! Is the candidate release worse than the current one? An answer that may be read after every batch,
//! acted on at once, and is wrong no more often than alpha over the whole rollout.
//!
//! [`Judge`] takes [`Batch`]es of exact counts from the proxy and keeps a few numbers. Each metric (failed
//! requests, 4xx, requests over the baseline's own p50, p95, p99) has an e-process; their weighted mean is
//! the one that alpha is spent on. Beside it stand the check that the arms get the shares they should, the
//! tested claim that the candidate is healthy, and, with a [`Past`], the faster comparison with it.

mod batch;
mod compared;
mod config;
mod custom;
mod explain;
mod forecast;
mod healthy;
mod history;
mod interval;
mod judge;
mod panel;
mod past;
pub(crate) mod process;
mod ratio;
mod report;
mod strata;

pub use batch::{Assigned, Batch, Outcomes, Past};
pub use config::{Config, Lift, Metric, Mixture, Share, Unit};
pub use custom::{Absence, Counters, CustomConfig, CustomEvidence, CustomKind, Reading, Tolerance};
pub use forecast::{Before, Forecast, StepForecast, expected_units, expected_with_past, returning_weight};
pub use judge::Judge;
pub use panel::{Call, Lanes, Open, Panel, Standing, Subject};
pub use process::Tally;
pub use report::{ArmEvidence, Decision, MetricEvidence, PastEvidence, SharedCause, Verdict};
