//! Runs all machines of one kind: receive an event, step, journal it, carry out what is owed.
//!
//! The journal is written before anything is done about an event. After a restart each machine that has not
//! ended is folded from its stream again and whatever is pending is carried out, so no crash loses an effect.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use trimtab_journal::{Expected, Journal, JournalError, NewEvent, StoredEvent};
use trimtab_model::{Actor, Timestamp};

use crate::clock;
use crate::event_kind::event_name;
use crate::machine::{Hands, Machine};
use crate::told_ends;

/// Events that may wait for one machine before senders wait too.
const MAILBOX_EVENTS_MAX: usize = 256;
/// Version of the bodies that machines write to the journal.
const BODY_VERSION: u32 = 1;

/// Why a machine could not take an event.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no machine of that id.
    #[error("there is no {kind} {id}")]
    Unknown {
        /// Kind of machine.
        kind: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A journaled body could not be read back.
    #[error(
        "failed to read {stream} at {sequence} from the journal: {reason}; it was written by another version"
    )]
    Unreadable {
        /// The stream.
        stream: String,
        /// Place in the stream.
        sequence: u64,
        /// What the decoder said.
        reason: String,
    },
    /// The host is stopping.
    #[error("the control process is stopping; try again when it is back")]
    Stopping,
}

/// A machine at one moment.
pub struct Snapshot<M: Machine> {
    /// The machine's id.
    pub id: String,
    /// Its plan.
    pub plan: Arc<M::Plan>,
    /// Its state.
    pub state: M::State,
    /// Place of the last event in its stream.
    pub sequence: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

impl<M: Machine> Clone for Snapshot<M> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            plan: Arc::clone(&self.plan),
            state: self.state.clone(),
            sequence: self.sequence,
            created_at: self.created_at,
            changed_at: self.changed_at,
        }
    }
}

type Reply<M> = oneshot::Sender<Result<Snapshot<M>, HostError>>;

struct Mail<M: Machine> {
    event: M::Event,
    reply: Option<Reply<M>>,
}

struct Entry<M: Machine> {
    snapshot: watch::Sender<Snapshot<M>>,
    mailbox: mpsc::Sender<Mail<M>>,
    /// Taken by the machine's task when it starts.
    unread: Option<mpsc::Receiver<Mail<M>>>,
}

/// All machines of one kind.
pub struct Host<M: Machine> {
    journal: Journal,
    hands: OnceLock<Arc<dyn Hands<M>>>,
    entries: Mutex<BTreeMap<String, Entry<M>>>,
    made: tokio::sync::Mutex<u64>,
    changed: watch::Sender<u64>,
}

impl<M: Machine> Host<M> {
    /// Folds every machine of this kind from the journal. Nothing runs until [`Host::resume`].
    pub async fn open(journal: Journal) -> Result<Arc<Self>, HostError> {
        let prefix = format!("{}/", M::STREAM);
        let mut told = told_ends::read::<M>(&journal).await?;
        let mut untold: Vec<Snapshot<M>> = Vec::new();
        let mut entries = BTreeMap::new();
        let mut made = 0;
        for trimtab_journal::Stream { name: stream, .. } in journal.streams(&prefix).await? {
            let events = journal.read_stream(&stream, 0).await?;
            let id = id_of(&stream);
            let end = told.remove(id);
            let is_told = end.is_some();
            let Some(snapshot) = fold::<M>(&stream, &events, end)? else {
                continue;
            };
            if !is_told && M::ended(&snapshot.state) {
                untold.push(snapshot.clone());
            }
            made = made.max(number_of(&snapshot.id));
            entries.insert(snapshot.id.clone(), entry(snapshot));
        }
        let ends = untold
            .iter()
            .map(|one| (one.id.as_str(), &one.state, one.changed_at));
        told_ends::write::<M>(&journal, ends).await?;
        Ok(Arc::new(Self {
            journal,
            hands: OnceLock::new(),
            entries: Mutex::new(entries),
            made: tokio::sync::Mutex::new(made),
            changed: watch::Sender::new(0),
        }))
    }

    /// Gives the host its hands and starts every machine that has not ended.
    pub fn resume(self: &Arc<Self>, hands: Arc<dyn Hands<M>>) {
        // A second call keeps the first hands: machines are running with them already.
        let _ = self.hands.set(hands);
        let ids: Vec<String> = self.lock().keys().cloned().collect();
        for id in ids {
            self.start_task(&id);
        }
    }

    /// Makes a machine: `plan` gets the number that its id ends with. The plan is journaled before
    /// this returns.
    pub async fn create(
        self: &Arc<Self>,
        actor: &Actor,
        plan: impl FnOnce(u64) -> M::Plan,
    ) -> Result<Snapshot<M>, HostError> {
        let mut made = self.made.lock().await;
        let number = *made + 1;
        let id = format!("{}-{number}", M::STREAM);
        let plan = plan(number);
        let now = clock::now();
        let planned = NewEvent {
            stream: format!("{}/{id}", M::STREAM),
            kind: format!("{}.planned", M::STREAM),
            version: BODY_VERSION,
            at: now,
            actor: actor.clone(),
            body: encode(&plan),
        };
        self.journal.append(Expected::NoStream, vec![planned]).await?;
        *made = number;
        let state = M::start(&plan);
        let snapshot = Snapshot {
            id: id.clone(),
            plan: Arc::new(plan),
            state,
            sequence: 1,
            created_at: now,
            changed_at: now,
        };
        self.lock().insert(id.clone(), entry(snapshot.clone()));
        drop(made);
        self.changed.send_modify(|count| *count += 1);
        self.start_task(&id);
        Ok(snapshot)
    }

    /// Hands `event` to a machine; returns its state after the event was journaled.
    pub async fn send(&self, id: &str, event: M::Event) -> Result<Snapshot<M>, HostError> {
        let mailbox = self.lock().get(id).map(|entry| entry.mailbox.clone());
        let mailbox = mailbox.ok_or_else(|| HostError::Unknown {
            kind: M::STREAM,
            id: id.to_owned(),
        })?;
        let (reply, answer) = oneshot::channel();
        mailbox
            .send(Mail {
                event,
                reply: Some(reply),
            })
            .await
            .map_err(|_| HostError::Stopping)?;
        answer.await.map_err(|_| HostError::Stopping)?
    }

    /// One machine as it stands.
    pub fn get(&self, id: &str) -> Option<Snapshot<M>> {
        self.lock().get(id).map(|entry| entry.snapshot.borrow().clone())
    }

    /// Follows one machine.
    pub fn watch(&self, id: &str) -> Option<watch::Receiver<Snapshot<M>>> {
        self.lock().get(id).map(|entry| entry.snapshot.subscribe())
    }

    /// All machines, oldest first.
    pub fn list(&self) -> Vec<Snapshot<M>> {
        let mut all: Vec<_> = self
            .lock()
            .values()
            .map(|entry| entry.snapshot.borrow().clone())
            .collect();
        all.sort_by_key(|snapshot| number_of(&snapshot.id));
        all
    }

    /// Counts changes of any machine of this kind.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry<M>>> {
        self.entries
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn start_task(self: &Arc<Self>, id: &str) {
        let Some(hands) = self.hands.get().cloned() else {
            return;
        };
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(id) else { return };
        let Some(unread) = entry.unread.take() else { return };
        let task = Task {
            snapshot: entry.snapshot.clone(),
            journal: self.journal.clone(),
            hands,
            changed: self.changed.clone(),
            running: JoinSet::new(),
            effects: HashMap::new(),
        };
        tokio::spawn(task.run(unread));
    }
}

/// One machine at work.
struct Task<M: Machine> {
    snapshot: watch::Sender<Snapshot<M>>,
    journal: Journal,
    hands: Arc<dyn Hands<M>>,
    changed: watch::Sender<u64>,
    running: JoinSet<M::Event>,
    effects: HashMap<Id, (M::Effect, tokio::task::AbortHandle)>,
}

impl<M: Machine> Task<M> {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Mail<M>>) {
        self.reconcile(None);
        loop {
            tokio::select! {
                mail = mailbox.recv() => {
                    let Some(mail) = mail else { return };
                    let outcome = self.take(mail.event).await;
                    if let Some(reply) = mail.reply {
                        // The sender may have gone; the event is journaled all the same.
                        let _ = reply.send(outcome);
                    }
                    self.reconcile(None);
                }
                Some(done) = self.running.join_next_with_id() => self.effect_ended(done).await,
            }
        }
    }

    async fn effect_ended(&mut self, done: Result<(Id, M::Event), tokio::task::JoinError>) {
        let (id, event) = match done {
            Ok((id, event)) => (id, Some(event)),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(machine = M::STREAM, %error, "an effect ended in a panic; it is carried out again");
                }
                (error.id(), None)
            }
        };
        let Some((effect, _)) = self.effects.remove(&id) else {
            return;
        };
        if let Some(event) = event
            && let Err(error) = self.take(event).await
        {
            tracing::error!(machine = M::STREAM, %error, ?effect, "failed to journal what an effect reported");
        }
        self.reconcile(Some(effect));
    }

    /// Journals `event` if it changes the state, then takes the new state.
    async fn take(&mut self, event: M::Event) -> Result<Snapshot<M>, HostError> {
        let before = self.snapshot.borrow().clone();
        let state = M::step(&before.plan, before.state.clone(), event.clone());
        if state == before.state {
            return Ok(before);
        }
        let now = clock::now();
        let body = encode(&event);
        let happened = NewEvent {
            stream: format!("{}/{}", M::STREAM, before.id),
            kind: format!("{}.{}", M::STREAM, event_name(&body)),
            version: BODY_VERSION,
            at: now,
            actor: M::actor(&event).map_or_else(Actor::trimtab, Actor),
            body,
        };
        let mut groups = vec![(Expected::Exactly(before.sequence), vec![happened])];
        if M::ended(&state) && !M::ended(&before.state) {
            groups.push((Expected::Any, vec![told_ends::told::<M>(&before.id, &state, now)]));
        }
        self.journal.append_many(groups).await?;
        let after = Snapshot {
            state,
            sequence: before.sequence + 1,
            changed_at: now,
            ..before
        };
        self.snapshot.send_replace(after.clone());
        self.changed.send_modify(|count| *count += 1);
        Ok(after)
    }

    /// Starts what is owed and not running, stops what runs and is no longer owed. An effect that
    /// `just_ended` and is owed still waits a little, so that a failing one does not spin.
    fn reconcile(&mut self, just_ended: Option<M::Effect>) {
        let snapshot = self.snapshot.borrow().clone();
        let owed: BTreeSet<M::Effect> = M::pending(&snapshot.plan, &snapshot.state).into_iter().collect();
        self.effects.retain(|_, (effect, abort)| {
            let keep = owed.contains(effect);
            if !keep {
                abort.abort();
            }
            keep
        });
        let running: BTreeSet<M::Effect> = self.effects.values().map(|(effect, _)| effect.clone()).collect();
        for effect in owed.difference(&running) {
            let work = self
                .hands
                .carry_out(&snapshot.id, &snapshot.plan, &snapshot.state, effect.clone());
            let pause = if just_ended.as_ref() == Some(effect) {
                self.hands.retry_pause()
            } else {
                Duration::ZERO
            };
            let abort = self.running.spawn(async move {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                work.await
            });
            self.effects.insert(abort.id(), (effect.clone(), abort));
        }
    }
}

fn entry<M: Machine>(snapshot: Snapshot<M>) -> Entry<M> {
    let (mailbox, unread) = mpsc::channel(MAILBOX_EVENTS_MAX);
    Entry {
        snapshot: watch::Sender::new(snapshot),
        mailbox,
        unread: Some(unread),
    }
}

fn id_of(stream: &str) -> &str {
    stream.split_once('/').map_or(stream, |(_, id)| id)
}

/// Folds a stream: its first event is the plan, the rest are events. A machine whose `end` was told stands
/// there, whatever its events come to by today's rules.
fn fold<M: Machine>(
    stream: &str,
    events: &[StoredEvent],
    end: Option<M::State>,
) -> Result<Option<Snapshot<M>>, HostError> {
    let Some((planned, rest)) = events.split_first() else {
        return Ok(None);
    };
    let unreadable = |event: &StoredEvent, error: serde_json::Error| HostError::Unreadable {
        stream: stream.to_owned(),
        sequence: event.sequence,
        reason: error.to_string(),
    };
    let plan: M::Plan =
        serde_json::from_value(planned.body.clone()).map_err(|error| unreadable(planned, error))?;
    let state = match end {
        Some(end) => end,
        None => {
            let mut state = M::start(&plan);
            for event in rest {
                let happened: M::Event =
                    serde_json::from_value(event.body.clone()).map_err(|error| unreadable(event, error))?;
                state = M::step(&plan, state, happened);
            }
            state
        }
    };
    let changed_at = events.last().map_or(planned.at, |event| event.at);
    Ok(Some(Snapshot {
        id: id_of(stream).to_owned(),
        plan: Arc::new(plan),
        state,
        sequence: events.last().map_or(0, |event| event.sequence),
        created_at: planned.at,
        changed_at,
    }))
}

/// The number that an id ends with.
pub(crate) fn number_of(id: &str) -> u64 {
    id.rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn encode<T: serde::Serialize>(value: &T) -> serde_json::Value {
    // Plans and events are plain data with string keys; they always encode.
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}

#[cfg(test)]
mod tests;
