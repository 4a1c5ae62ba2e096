//! Every release that was built, and which of them are quarantined.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;

use serde::{Deserialize, Serialize};
use trimtab_journal::{Expected, Journal, JournalError, NewEvent};
use trimtab_model::{Actor, Digest, Release, ReleaseId, RolloutId, RunId, ServiceName};

use crate::blueprint;
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

impl Recorded {
    /// Whether the same would run: the same artifact by the same `run` settings. A bad setting that was mended
    /// is another release, though it has the artifact of the bad one; so is another image.
    fn runs_as(&self, other: &Recorded) -> bool {
        if self.release.service != other.release.service || self.release.artifact != other.release.artifact {
            return false;
        }
        if self.project == other.project {
            return true;
        }
        match (blueprint::parse(&self.project), blueprint::parse(&other.project)) {
            (Ok(one), Ok(two)) => one.run == two.run,
            // What cannot be read is not let through.
            _ => true,
        }
    }
}

/// Why a release is not deployed any more, nor another that would run the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Why it was put there.
    pub reason: String,
}

#[derive(Default)]
struct Known {
    releases: BTreeMap<ReleaseId, Recorded>,
    quarantined: BTreeMap<ReleaseId, Quarantine>,
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
            let id = stream
                .name
                .strip_prefix("release/")
                .and_then(|id| id.parse().ok());
            let Some(id): Option<ReleaseId> = id else { continue };
            for event in journal.read_stream(&stream.name, 0).await? {
                match event.kind.as_str() {
                    RECORDED => {
                        if let Ok(recorded) = serde_json::from_value::<Recorded>(event.body) {
                            known.releases.insert(recorded.release.id.clone(), recorded);
                        }
                    }
                    QUARANTINED => {
                        if let Ok(body) = serde_json::from_value::<QuarantineBody>(event.body) {
                            let reason = body.reason;
                            known.quarantined.insert(id.clone(), Quarantine { reason });
                        }
                    }
                    CLEARED => {
                        known.quarantined.remove(&id);
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

    /// Keeps a release, and whatever would run the same, from being deployed until a person clears it.
    pub async fn quarantine(&self, id: &ReleaseId, reason: &str, by: Actor) -> Result<(), JournalError> {
        let Some(recorded) = self.get(id) else {
            return Ok(());
        };
        if self.quarantined(id).is_some() {
            return Ok(());
        }
        let reason = reason.to_owned();
        let body = QuarantineBody {
            digest: recorded.release.artifact,
            reason: reason.clone(),
        };
        self.append(id, QUARANTINED, by, &body).await?;
        self.write().quarantined.insert(id.clone(), Quarantine { reason });
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

    /// Lifts whatever quarantine holds a release.
    pub async fn clear(&self, id: &ReleaseId, reason: &str, by: Actor) -> Result<(), JournalError> {
        for held in self.holding(id) {
            let body = QuarantineBody {
                digest: held.release.artifact,
                reason: reason.to_owned(),
            };
            self.append(&held.release.id, CLEARED, by.clone(), &body).await?;
            self.write().quarantined.remove(&held.release.id);
        }
        Ok(())
    }

    /// Why a release is quarantined, if it or one that runs the same is.
    pub fn quarantined(&self, id: &ReleaseId) -> Option<Quarantine> {
        let holding = self.holding(id);
        let first = holding.first()?;
        self.read().quarantined.get(&first.release.id).cloned()
    }

    /// The quarantined releases that a release would run as.
    fn holding(&self, id: &ReleaseId) -> Vec<Recorded> {
        let known = self.read();
        let Some(wanted) = known.releases.get(id) else {
            return Vec::new();
        };
        let held = known
            .quarantined
            .keys()
            .filter_map(|held| known.releases.get(held));
        held.filter(|held| held.runs_as(wanted)).cloned().collect()
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use trimtab_model::Timestamp;

    use super::*;

    fn project(env: &str, watch: &str) -> String {
        format!(
            "service: notes\npipeline: {{artifact: {{paths: [notes]}}}}\nrun: {{command: ./notes, env: {{{env}}}}}\n\
             production: {{watch: {watch}}}\n"
        )
    }

    #[tokio::test]
    async fn what_ran_is_quarantined_and_a_mended_setting_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("journal.db")).await.unwrap();
        let releases = Releases::open(journal.clone()).await.unwrap();
        let service: ServiceName = "notes".parse().unwrap();
        let projects = [
            project("SIZE: '1'", "1m"),
            project("SIZE: '1'", "2m"),
            project("SIZE: '2'", "1m"),
        ];
        for (number, project) in projects.iter().enumerate() {
            let run = RunId::new(format!("run-{}", number + 1)).unwrap();
            let recorded = releases.record(&run, &service, project, |id| Release {
                id,
                service: service.clone(),
                commit: "ab".repeat(20),
                title: String::new(),
                artifact: Digest("cd".repeat(32)),
                created_at: Timestamp(number as i64),
            });
            recorded.await.unwrap();
        }
        let [first, second, third] =
            ["notes-r1", "notes-r2", "notes-r3"].map(|id| ReleaseId::new(id).unwrap());
        let by = Actor::trimtab;
        releases.quarantine(&first, "it fails", by()).await.unwrap();
        for releases in [&releases, &Releases::open(journal.clone()).await.unwrap()] {
            let held = |id| releases.quarantined(id).map(|quarantine| quarantine.reason);
            assert_eq!(held(&first).as_deref(), Some("it fails"));
            assert_eq!(held(&second).as_deref(), Some("it fails"), "the same would run");
            assert_eq!(held(&third), None, "a setting was mended");
        }
        releases.clear(&second, "good after all", by()).await.unwrap();
        let again = Releases::open(journal).await.unwrap();
        assert_eq!([&first, &second].map(|id| again.quarantined(id)), [None, None]);
    }
}
