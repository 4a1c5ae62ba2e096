//! What an event says about the work of the present phase.

use crate::{Event, Outcome, Plan, State, TimerName, machine::work};

/// What an event says about the work of the present phase.
pub(crate) enum Said {
    /// It is done.
    Done,
    /// It failed, and why.
    Failed(String),
    /// It is to be tried again now.
    Retry,
    /// It outlasted its limit.
    Deadline,
    /// Nothing.
    Nothing,
}

/// Reads `event` as an answer to what is owed now; an answer to an older generation says nothing.
pub(crate) fn said(plan: &Plan, state: &State, event: &Event) -> Said {
    let waits = state.retry_at.is_some();
    let answers =
        !state.ready && !waits && work(plan, state).is_some_and(|effect| effect.is_discharged_by(event));
    match event {
        Event::Started { outcome, .. }
        | Event::HookRan { outcome, .. }
        | Event::Tested { outcome, .. }
        | Event::Shifted { outcome, .. }
        | Event::FlagSet { outcome, .. }
        | Event::HealthChecked { outcome, .. }
        | Event::Stopped { outcome, .. }
        | Event::Quarantined { outcome, .. }
            if answers =>
        {
            match outcome {
                Outcome::Done => Said::Done,
                Outcome::Failed { reason } => Said::Failed(reason.clone()),
            }
        }
        Event::Drained { .. } if answers => Said::Done,
        Event::TimerFired {
            name: TimerName::Retry,
            generation,
            ..
        } if waits && *generation == state.generation => Said::Retry,
        Event::TimerFired {
            name: TimerName::Deadline,
            generation,
            ..
        } if !waits && !state.ready && *generation == state.generation => Said::Deadline,
        // Answers to other phases and generations. Verdicts, notices and commands are the guard's.
        Event::Started { .. }
        | Event::HookRan { .. }
        | Event::Approved { .. }
        | Event::Restarted { .. }
        | Event::Retried { .. }
        | Event::Tested { .. }
        | Event::Shifted { .. }
        | Event::FlagSet { .. }
        | Event::HealthChecked { .. }
        | Event::Stopped { .. }
        | Event::Quarantined { .. }
        | Event::Drained { .. }
        | Event::TimerFired { .. }
        | Event::Observed { .. }
        | Event::Notified { .. }
        | Event::Paused { .. }
        | Event::Resumed { .. }
        | Event::Promoted { .. }
        | Event::Aborted { .. }
        | Event::RolledBack { .. }
        | Event::Protected { .. }
        | Event::Condemned { .. }
        | Event::Cleared { .. }
        | Event::Recalled { .. }
        | Event::Superseded { .. } => Said::Nothing,
    }
}
