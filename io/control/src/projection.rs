//! The journal's events, projected into the store's fourth signal: charts and searches find deployments and
//! incidents beside logs and spans, and never ask the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use trimtab_journal::{Journal, JournalError, StoredEvent};
use trimtab_model::{Actor, EnvironmentName, Identity, ReleaseId, RolloutId, ServiceName, Timestamp};
use trimtab_store::{EventQuery, Order, ROWS_MAX, SignalStore, StoreError, TimeRange};
use trimtab_telemetry::{Attributes, Batch, Event};

use crate::clock;
use crate::told_ends;

/// The source of projected events.
pub const SOURCE: &str = "journal";
/// Events read from the journal and stored at once.
const EVENTS_PER_STEP: u64 = 200;
/// Streams whose subject is remembered; further ones are looked up again.
const SUBJECTS_MAX: usize = 1_000;
/// Bytes of a body that are kept with the event; the journal has the whole.
const BODY_BYTES_MAX: usize = 4_096;
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Streams that say who may sign in, which is nobody's business in a chart, and what other streams say too.
const PRIVATE: [&str; 3] = ["token", "session", told_ends::STREAM];

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is the error of the room it names")]
pub enum ProjectionError {
    #[error("failed to read the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to store events of the journal: {0}")]
    Store(#[from] StoreError),
    #[error("failed to write down how far the journal was projected: {0}")]
    Mark(#[from] std::io::Error),
}

/// Projects one journal into one store.
pub struct Projector {
    journal: Journal,
    store: Arc<dyn SignalStore>,
    mark: PathBuf,
    after: u64,
    /// Whether the store may hold events beyond the mark: after a start, and after a failure.
    unsure: bool,
    subjects: BTreeMap<String, Identity>,
}

impl Projector {
    /// Goes on behind the position that the file `mark` names.
    pub fn new(journal: Journal, store: Arc<dyn SignalStore>, mark: PathBuf) -> Self {
        let marked = std::fs::read_to_string(&mark)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0u64);
        let last = journal.last_position();
        if marked > last {
            tracing::warn!(
                marked,
                last,
                "the journal is shorter than it was: an older or salvaged one was put in its place"
            );
        }
        Self {
            journal,
            store,
            mark,
            after: marked.min(last),
            unsure: true,
            subjects: BTreeMap::new(),
        }
    }

    /// Projects for as long as the journal is open.
    pub async fn run(mut self) {
        let mut positions = self.journal.subscribe();
        loop {
            match self.step().await {
                Ok(0) => {
                    if positions.changed().await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(ProjectionError::Journal(JournalError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(%error, "trying again");
                    self.unsure = true;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Projects the next events; returns how many were read.
    ///
    /// # Errors
    /// The journal's, the store's, the file system's; the same events are then projected again, each once.
    pub async fn step(&mut self) -> Result<usize, ProjectionError> {
        let read = self.journal.read_all(self.after, EVENTS_PER_STEP).await?;
        let Some(last) = read.last().map(|event| event.position) else {
            return Ok(0);
        };
        let now = clock::now();
        let mut events = Vec::new();
        for stored in &read {
            if !PRIVATE.contains(&split(&stored.stream).0) {
                let subject = self.subject(stored).await?;
                events.push(project(stored, subject, now));
            }
        }
        if self.unsure {
            let ahead = read.iter().any(|stored| stored.at > now);
            let known = self.known(&events, now, ahead).await?;
            events.retain(|event| !known.contains(&event.id));
        }
        let batch = Batch {
            events,
            ..Batch::default()
        };
        if !batch.is_empty() {
            self.store.append(batch, "").await?;
        }
        // A crash before this is why the first step asks the store what it has.
        crate::files::replace(&self.mark, last.to_string().as_bytes())?;
        (self.after, self.unsure) = (last, false);
        Ok(read.len())
    }

    /// Ids of events that an interrupted step stored already. Those `ahead` of the clock were stored as of that
    /// step, which was lately.
    async fn known(
        &self,
        events: &[Event],
        now: Timestamp,
        ahead: bool,
    ) -> Result<BTreeSet<String>, StoreError> {
        let Some(least) = events.iter().map(|event| event.at_nanos).min() else {
            return Ok(BTreeSet::new());
        };
        let (from_nanos, order) = if ahead {
            (0, Order::NewestFirst)
        } else {
            (least, Order::OldestFirst)
        };
        let to_nanos = nanos(now).saturating_add(1);
        let query = EventQuery {
            range: TimeRange { from_nanos, to_nanos },
            order,
            limit: ROWS_MAX,
            ..EventQuery::default()
        };
        let found = self.store.events(query).await?;
        Ok(found
            .into_iter()
            .filter(|event| event.source == SOURCE)
            .map(|event| event.id)
            .collect())
    }

    /// What a stream is about, by its first event.
    async fn subject(&mut self, event: &StoredEvent) -> Result<Identity, JournalError> {
        if let Some(known) = self.subjects.get(&event.stream) {
            return Ok(known.clone());
        }
        let subject = if event.sequence == 1 {
            subject_of(&event.body)
        } else {
            let stream = self.journal.read_stream(&event.stream, 0).await?;
            stream
                .first()
                .map(|first| subject_of(&first.body))
                .unwrap_or_default()
        };
        if self.subjects.len() >= SUBJECTS_MAX {
            self.subjects.clear();
        }
        self.subjects.insert(event.stream.clone(), subject.clone());
        Ok(subject)
    }
}

fn split(stream: &str) -> (&str, &str) {
    stream.split_once('/').unwrap_or((stream, ""))
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000)
}

/// The plan of a machine, or the record of a release, names its subject in these fields.
fn subject_of(body: &Value) -> Identity {
    let record = body.get("release").filter(|release| release.is_object());
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let own = |name: &str| record.and_then(|record| record.get(name)).and_then(Value::as_str);
    let release = text("candidate")
        .or_else(|| text("suspect"))
        .or_else(|| own("id"));
    Identity {
        service: text("service")
            .or_else(|| own("service"))
            .and_then(|name| ServiceName::new(name).ok()),
        environment: text("environment").and_then(|name| EnvironmentName::new(name).ok()),
        release: release.and_then(|name| ReleaseId::new(name).ok()),
        instance: None,
        rollout: text("rollout").and_then(|name| RolloutId::new(name).ok()),
        cohort: None,
    }
}

fn project(stored: &StoredEvent, subject: Identity, now: Timestamp) -> Event {
    let (_, id) = split(&stored.stream);
    let mut body = stored.body.to_string();
    if body.len() > BODY_BYTES_MAX {
        body.truncate(body.floor_char_boundary(BODY_BYTES_MAX));
        body.push('…');
    }
    let attributes = Attributes::from([
        ("trimtab.stream".to_owned(), stored.stream.as_str().into()),
        (
            "trimtab.sequence".to_owned(),
            i64::try_from(stored.sequence).unwrap_or(i64::MAX).into(),
        ),
        ("trimtab.actor".to_owned(), stored.actor.0.as_str().into()),
        ("trimtab.body".to_owned(), body.as_str().into()),
    ]);
    Event {
        title: title(stored, id, &subject),
        identity: Arc::new(subject),
        // The clock may have been ahead when the event was written; the store refuses the future.
        at_nanos: nanos(stored.at.min(now)),
        id: stored.position.to_string(),
        source: SOURCE.to_owned(),
        kind: stored.kind.clone(),
        attributes,
    }
}

fn title(stored: &StoredEvent, id: &str, subject: &Identity) -> String {
    let happened = stored.kind.rsplit('.').next().unwrap_or(&stored.kind);
    let text = |name: &str| stored.body.get(name).and_then(Value::as_str);
    let mut words = match (happened, &subject.release, &subject.environment) {
        ("planned", Some(release), Some(environment)) if stored.kind.starts_with("rollout.") => {
            format!("{id}: {release} to {environment}")
        }
        ("planned", _, _) if text("title").is_some() => {
            format!("{id}: {}", text("title").unwrap_or_default())
        }
        _ => format!("{id}: {}", happened.replace('_', " ")),
    };
    if let Some(reason) = text("reason").filter(|reason| !reason.is_empty()) {
        words = format!("{words}, {reason}");
    }
    if stored.actor != Actor::trimtab() {
        words = format!("{words} (by {})", stored.actor);
    }
    words
}

#[cfg(test)]
mod tests;
