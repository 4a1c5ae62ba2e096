//! Rollouts as machines: one file per strategy, guards that work in every phase, one way back.
//!
//! [`start`] makes the first state, [`step`] folds an event in and says what is newly owed, and
//! [`pending`] recomputes all that is owed, so that a crash loses nothing. The shell journals each
//! event, folds it, and carries out what is pending; it cancels whatever no longer is.
//!
//! A strategy ([`blue_green`], [`canary`], [`rolling`], [`flag`], [`direct`]) only says in which traffic steps a
//! candidate goes forward, and what gates each.
//! What takes it back (`guard`, `backward`) is shared by all of them: the weight to zero acknowledged,
//! drained, quarantined, stopped, the team told.

mod answer;
mod backward;
pub mod blue_green;
pub mod canary;
mod cause;
pub mod direct;
mod effect;
mod event;
pub mod flag;
mod forward;
mod gates;
pub mod group;
mod guard;
pub mod hook_answer;
mod machine;
mod phase;
mod plan;
mod replace;
pub mod rolling;
mod starts;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

pub use cause::Cause;
pub use effect::{Effect, Notice, TimerName};
pub use event::{Event, Outcome};
pub use machine::{EVENT_VERSION, pending, start, step};
pub use phase::{End, Hook, Phase, Way};
pub use plan::{Freeze, Hooks, Limits, OnInconclusive, OnRegressed, Plan, Strategy, TrafficBefore};
pub use starts::{Start, expected_ms, starts};
pub use state::{Owed, Pause, Protection, State, Traffic, Watch};
pub use steps::{Gate, Instances, Replacement, TrafficStep};
pub use verdict::{Lack, Verdict};
