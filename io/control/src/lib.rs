//! Receive, step, journal, carry out effects, for every machine.
//!
//! Control is the only room of `io` that knows its neighbours: it carries what one says to another.

mod analysis;
pub mod blueprint;
mod certificates;
pub mod clock;
pub mod closures;
pub mod control;
pub mod disk_budget;
mod documents;
pub mod entrance;
pub mod evidence;
pub mod exposures;
mod files;
pub mod flag_book;
pub mod flag_trials;
pub mod fleet;
mod frames;
pub mod groups;
pub mod host;
pub mod identity;
mod incident_checks;
mod incident_hands;
mod judgement;
mod learning;
pub mod machine;
pub mod machines;
pub mod own_metrics;
pub mod projection;
pub mod proxy_spans;
pub mod releases;
mod rollout_hands;
mod rollout_jobs;
mod rollout_notices;
mod run_hands;
pub mod run_log;
pub mod runs;
mod silences;
pub mod start_rollout;
mod template_ids;
pub mod traffic;
mod usage;
pub mod workspaces;
pub mod world;
