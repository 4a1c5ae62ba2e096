//! Every release that was built, and which of them are quarantined.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;

use serde::{Deserialize, Serialize};
use trimtab_journal::{Expected, Journal, JournalError, NewEvent};
use trimtab_model::{Actor, Digest, Release, ReleaseId, RolloutId, RunId, ServiceName};

use crate::clock;

const RECORDED: &str = "release.recorded";
const QUARANTINED: &str = "release.quarantined";
const CLEARED: &str = "release.cleared";
const WITHDRAWN: &str = "release.withdrawn";

/// A release as it was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// The release.
    pub release: Release,
    /// The run that built it.
    pub run: RunId,
    /// The text of its `trimtab.yaml`.
    pub project: String,
}

/// Why an artifact is not deployed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Why it was put there.
    pub reason: String,
}

#[derive(Default)]
struct Known {
    releases: BTreeMap<ReleaseId, Recorded>,
    quarantined: BTreeMap<Digest, Quarantine>,
    withdrawn: BTreeSet<RolloutId>,
}

/// The releases, folded from the journal.
pub struct Releases {
    journal: Journal,
    known: RwLock<Known>,
    recording: tokio::sync::Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct QuarantineBody {
    digest: Digest,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct WithdrawnBody {
    rollout: RolloutId,
}

impl Releases {
    /// Reads all releases from the journal.
    pub async fn open(journal: Journal) -> Result<Self, JournalError> {
        let mut known = Known::default();
        for stream in journal.streams("release/").await? {
            for event in journal.read_stream(&stream.name, 0).await? {
                match event.kind.as_str() {
                    RECORDED => {
                        if let Ok(recorded) = serde_json::from_value::<Recorded>(event.body) {
                            known.releases.insert(recorded.release.id.clone(), recorded);
                        }
                    }
                    QUARANTINED => {
                        if let Ok(body) = serde_json::from_value::<QuarantineBody>(event.body) {
                            known
                                .quarantined
                                .insert(body.digest, Quarantine { reason: body.reason });
                        }
                    }
                    CLEARED => {
                        if let Ok(body) = serde_json::from_value::<QuarantineBody>(event.body) {
                            known.quarantined.remove(&body.digest);
                        }
                    }
                    WITHDRAWN => {
                        if let Ok(body) = serde_json::from_value::<WithdrawnBody>(event.body) {
                            known.withdrawn.insert(body.rollout);
                        }
                    }
                    other => tracing::warn!(
                        kind = other,
                        "skipped a release event of a kind this version does not know"
                    ),
                }
            }
        }
        Ok(Self {
            journal,
            known: RwLock::new(known),
            recording: tokio::sync::Mutex::new(()),
        })
    }

    /// Records the release that `run` built; asked again for the same run, answers with the one it
    /// recorded before.
    pub async fn record(
        &self,
        run: &RunId,
        service: &ServiceName,
        project: &str,
        make: impl FnOnce(ReleaseId) -> Release,
    ) -> Result<Release, JournalError> {
        let _one_at_a_time = self.recording.lock().await;
        let known = self.list(service);
        if let Some(made) = known.iter().find(|recorded| recorded.run == *run) {
            return Ok(made.release.clone());
        }
        let id = release_id(service, known.len() + 1);
        let recorded = Recorded {
            release: make(id),
            run: run.clone(),
            project: project.to_owned(),
        };
        self.append(&recorded.release.id, RECORDED, Actor::trimtab(), &recorded)
            .await?;
        self.write()
            .releases
            .insert(recorded.release.id.clone(), recorded.clone());
        Ok(recorded.release)
    }

    /// Keeps a release's artifact from being deployed until a person clears it.
    pub async fn quarantine(&self, id: &ReleaseId, reason: &str, by: Actor) -> Result<(), JournalError> {
        let Some(recorded) = self.get(id) else {
            return Ok(());
        };
        let digest = recorded.release.artifact;
        if self.quarantined(&digest).is_some() {
            return Ok(());
        }
        let body = QuarantineBody {
            digest: digest.clone(),
            reason: reason.to_owned(),
        };
        self.append(id, QUARANTINED, by, &body).await?;
        self.write().quarantined.insert(
            digest,
            Quarantine {
                reason: reason.to_owned(),
            },
        );
        Ok(())
    }

    /// Records that what a rollout deployed serves no more, with nothing in its place.
    pub async fn withdraw(&self, id: &ReleaseId, rollout: &RolloutId, by: Actor) -> Result<(), JournalError> {
        if self.is_withdrawn(rollout) {
            return Ok(());
        }
        let body = WithdrawnBody {
            rollout: rollout.clone(),
        };
        self.append(id, WITHDRAWN, by, &body).await?;
        self.write().withdrawn.insert(body.rollout);
        Ok(())
    }

    /// Whether what a rollout deployed was taken away again.
    pub fn is_withdrawn(&self, rollout: &RolloutId) -> bool {
        self.read().withdrawn.contains(rollout)
    }

    /// Lifts a quarantine.
    pub async fn clear(&self, id: &ReleaseId, reason: &str, by: Actor) -> Result<(), JournalError> {
        let Some(recorded) = self.get(id) else {
            return Ok(());
        };
        let body = QuarantineBody {
            digest: recorded.release.artifact,
            reason: reason.to_owned(),
        };
        self.append(id, CLEARED, by, &body).await?;
        self.write().quarantined.remove(&body.digest);
        Ok(())
    }

    /// Why an artifact is quarantined, if it is.
    pub fn quarantined(&self, digest: &Digest) -> Option<Quarantine> {
        self.read().quarantined.get(digest).cloned()
    }

    /// One release.
    pub fn get(&self, id: &ReleaseId) -> Option<Recorded> {
        self.read().releases.get(id).cloned()
    }

    /// All releases of a service, oldest first.
    pub fn list(&self, service: &ServiceName) -> Vec<Recorded> {
        let mut all: Vec<Recorded> = self
            .read()
            .releases
            .values()
            .filter(|recorded| recorded.release.service == *service)
            .cloned()
            .collect();
        all.sort_by_key(|recorded| (recorded.release.created_at, recorded.release.id.clone()));
        all
    }

    /// All releases.
    pub fn all(&self) -> Vec<Recorded> {
        self.read().releases.values().cloned().collect()
    }

    async fn append(
        &self,
        id: &ReleaseId,
        kind: &str,
        by: Actor,
        body: &impl Serialize,
    ) -> Result<(), JournalError> {
        let body = serde_json::to_value(body).unwrap_or_default();
        let event = NewEvent::new(format!("release/{id}"), kind, clock::now(), by, body);
        self.journal.append(Expected::Any, vec![event]).await?;
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// `<service>-r<number>`, the service's name cut where the id would be too long.
fn release_id(service: &ServiceName, number: usize) -> ReleaseId {
    let name: String = service.as_str().chars().take(40).collect();
    match ReleaseId::new(format!("{name}-r{number}")) {
        Ok(id) => id,
        // A name's first 40 characters with digits behind them follow the rules of names.
        Err(_) => unreachable!("{name}-r{number}"),
    }
}
