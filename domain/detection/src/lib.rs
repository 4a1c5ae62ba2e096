//! Verdicts and anomalies from series, logs, traces and changes.
//!
//! Pure: counts, lines and spans go in, evidence comes out. Nothing here knows an incident, a
//! rollout or a store, reads a clock or draws a random number; whoever calls carries the results on.
//!
//! - [`verdict`]: is the candidate release worse than the current one? Safe to ask after every batch.
//! - [`anomaly`]: the one shape in which every detector reports.
//! - [`templates`]: which kinds of log lines a release brings or multiplies.
//! - [`spans`]: which calls became slow, fail, are new or are gone.
//! - [`series`]: outliers and change points in metric series.
//! - [`steady`]: one service watched for as long as it serves: objectives, levels, signs of life.
//! - [`changes`]: changes near an onset, and signs of life that stopped.
//! - [`fusion`] groups anomalies into problems; [`classify`] names their class, [`severity`] weighs their impact,
//!   [`causes`] ranks what may have caused them, [`health`] sums up a system.
//! - [`learning`]: what closed incidents change, shown before it is accepted.

pub mod anomaly;
pub mod causes;
pub mod changes;
pub mod classify;
mod evidence;
pub mod fusion;
pub mod health;
pub mod learning;
pub mod series;
pub mod severity;
pub mod spans;
pub mod steady;
pub mod templates;
pub mod verdict;
mod words;

pub use anomaly::{Anomaly, Class, Kind, Scope, Signal};
