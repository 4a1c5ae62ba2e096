//! Receive, step, journal, carry out effects, for every machine.
//!
//! Control is the only room of `io` that knows its neighbours: it carries what one says to another.

pub mod blueprint;
pub mod clock;
pub mod evidence;
mod files;
pub mod fleet;
pub mod host;
pub mod identity;
pub mod machine;
pub mod machines;
pub mod releases;
mod rollout_hands;
mod run_hands;
pub mod run_log;
pub mod start_rollout;
pub mod traffic;
pub mod world;
