//! Rollouts as machines: one file per strategy, guards that work in every phase, one way back.
//!
//! [`start`] makes the first state, [`step`] folds an event in and says what is newly owed, and
//! [`pending`] recomputes all that is owed, so that a crash loses nothing. The shell journals each
//! event, folds it, and carries out what is pending; it cancels whatever no longer is.
//!
//! A strategy ([`blue_green`], [`direct`]) only says in which traffic steps a candidate goes forward.
//! What takes it back (`guard`, `backward`) is shared by all of them: the weight to zero acknowledged,
//! drained, quarantined, stopped, the team told.

mod answer;
mod backward;
pub mod blue_green;
pub mod direct;
mod effect;
mod event;
mod forward;
mod guard;
mod machine;
mod plan;
mod state;
#[cfg(test)]
mod tests;

pub use effect::{Effect, Notice, TimerName};
pub use event::{Event, Outcome, Verdict};
pub use machine::{EVENT_VERSION, pending, start, step};
pub use plan::{Limits, OnInconclusive, OnRegressed, Plan, Strategy, TrafficStep};
pub use state::{Cause, End, Owed, Pause, Phase, Protection, State, Traffic, Watch};
