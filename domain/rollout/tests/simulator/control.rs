//! What the simulator asks of control.

use std::collections::BTreeSet;

use trimtab_rollout::{Effect, Event, State};

/// Journals events, steps, and carries out what is owed.
pub(crate) trait Control {
    /// What was begun since this was last asked; `owed` is what the state owes.
    fn begun(&mut self, owed: &BTreeSet<Effect>) -> Vec<Effect>;

    /// An effect that is being carried out reports; where the rollout stands then.
    fn answer(&mut self, effect: &Effect, event: Event) -> Result<State, String>;

    /// Somebody says something.
    fn say(&mut self, event: Event) -> Result<State, String>;

    /// Dies at rest and starts again from its journal.
    fn crash(&mut self) -> Result<State, String>;

    /// Dies `when` moments after an effect began to report, and starts again.
    fn crash_amid(&mut self, effect: &Effect, event: Event, when: u64) -> Result<State, String>;
}
