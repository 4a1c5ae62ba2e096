//! Ends as they were told. A machine that has ended is never decided about again: a later program, whose rules
//! are others, would fold its events to another end, or to none, and act on that.
//!
//! A stream `ended/<kind of machine>` has one event for each machine that ended, with its last state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimtab_journal::{Expected, Journal, JournalError, NewEvent};
use trimtab_model::{Actor, Timestamp};

use crate::machine::Machine;

/// First word of the streams.
pub(crate) const STREAM: &str = "ended";
/// Version of the bodies.
const BODY_VERSION: u32 = 1;
/// Ends that are written down at once.
const ENDS_PER_APPEND: usize = 100;

#[derive(Serialize, Deserialize)]
struct Body<S> {
    id: String,
    state: S,
}

fn stream<M: Machine>() -> String {
    format!("{STREAM}/{}", M::STREAM)
}

/// The end of a machine, to be written down with the event that ended it.
pub(crate) fn told<M: Machine>(id: &str, state: &M::State, at: Timestamp) -> NewEvent {
    let body = Body {
        id: id.to_owned(),
        state,
    };
    NewEvent {
        stream: stream::<M>(),
        kind: format!("{}.settled", M::STREAM),
        version: BODY_VERSION,
        at,
        actor: Actor::trimtab(),
        // States are plain data with string keys; they always encode.
        body: serde_json::to_value(body).unwrap_or_default(),
    }
}

/// The ends of a kind of machine by id. One that cannot be read is left out: it is folded again.
pub(crate) async fn read<M: Machine>(journal: &Journal) -> Result<BTreeMap<String, M::State>, JournalError> {
    let mut ends = BTreeMap::new();
    for event in journal.read_stream(&stream::<M>(), 0).await? {
        match serde_json::from_value::<Body<M::State>>(event.body) {
            Ok(body) => {
                ends.insert(body.id, body.state);
            }
            Err(error) => {
                tracing::warn!(kind = M::STREAM, sequence = event.sequence, %error, "failed to read how a machine ended; its events are read instead");
            }
        }
    }
    Ok(ends)
}

/// Writes down the ends of machines that ended before ends were written down.
pub(crate) async fn write<'s, M: Machine>(
    journal: &Journal,
    ended: impl Iterator<Item = (&'s str, &'s M::State, Timestamp)>,
) -> Result<(), JournalError> {
    let events: Vec<NewEvent> = ended.map(|(id, state, at)| told::<M>(id, state, at)).collect();
    for some in events.chunks(ENDS_PER_APPEND) {
        journal.append(Expected::Any, some.to_vec()).await?;
    }
    Ok(())
}
