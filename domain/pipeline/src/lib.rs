//! A pipeline run as a machine: which stage may run next, gates, approvals, ends.
//!
//! [`start`] makes the first state, [`step`] folds an event in and says what is newly owed, and
//! [`pending`] recomputes all that is owed, so that a crash loses nothing. The shell journals each
//! event, folds it, and carries out what is pending; it cancels whatever no longer is.

mod effect;
mod event;
mod machine;
mod plan;
mod state;
#[cfg(test)]
mod tests;
mod transition;

pub use effect::{Effect, Notice, TimerName};
pub use event::{Event, JobOutcome, Outcome, RolloutOutcome};
pub use machine::{EVENT_VERSION, JOB_ATTEMPTS_MAX, pending, start, step};
pub use plan::{Plan, Stage, StagePlan};
pub use state::{End, Phase, StageResult, State};
