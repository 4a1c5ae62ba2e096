//! What is kept of evidence on disk: for the time after a restart, and after a rollout's end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use trimtab_detection::learning::Episode;
use trimtab_detection::verdict::{Judge, Panel};
use trimtab_model::{Generation, RolloutId, Timestamp};

use super::{Arms, Evidence, FILE_VERSION, Kept, Subject, verdict_of};

/// What survives a restart of the control process, beside the frames that were not acknowledged.
#[derive(Serialize, Deserialize)]
pub(super) struct File {
    pub(super) version: u32,
    pub(super) subject: Subject,
    pub(super) judge: Judge,
    #[serde(default)]
    pub(super) panel: Panel,
    #[serde(default)]
    pub(super) answered: BTreeMap<String, Timestamp>,
    pub(super) episode: Episode,
    #[serde(default)]
    pub(super) arms: Arms,
    /// The newest frame that is in it; the proxy gives those behind it again.
    #[serde(default)]
    pub(super) sequence: u64,
    #[serde(default)]
    pub(super) generation: Option<Generation>,
    #[serde(default)]
    pub(super) requests: BTreeMap<u16, u64>,
}

impl Evidence {
    /// Writes down every running trial, so that frames up to here may be acknowledged.
    pub fn save(&self) -> std::io::Result<()> {
        let files: Vec<(PathBuf, Vec<u8>)> = {
            let books = self.lock();
            books
                .trials
                .values()
                .map(|trial| {
                    let file = File {
                        version: FILE_VERSION,
                        subject: trial.subject.clone(),
                        judge: trial.judge.clone(),
                        panel: trial.panel.clone(),
                        answered: trial.answered.clone(),
                        episode: trial.episode.clone(),
                        arms: trial.arms.clone(),
                        sequence: trial.sequence,
                        generation: trial.generation,
                        requests: trial.requests.clone(),
                    };
                    (
                        self.file(&trial.subject.rollout),
                        serde_json::to_vec(&file).unwrap_or_default(),
                    )
                })
                .collect()
        };
        for (path, bytes) in files {
            crate::files::replace(&path, &bytes)?;
        }
        Ok(())
    }

    /// What is kept of a rollout's evidence, also of one that is over; none when it was never compared.
    pub fn kept(&self, rollout: &RolloutId) -> Option<Kept> {
        let kept = |subject: &Subject, (judge, panel): (&Judge, &Panel), arms: &Arms| Kept {
            verdict: verdict_of(subject, panel.verdict(judge), arms),
            arms: arms.clone(),
            // What was called before there were panels is the judge's to know.
            onset: panel.onset().or_else(|| judge.onset()),
        };
        let running = self
            .lock()
            .trials
            .get(rollout)
            .map(|trial| kept(&trial.subject, (&trial.judge, &trial.panel), &trial.arms));
        running.or_else(|| {
            self.load(rollout)
                .map(|file| kept(&file.subject, (&file.judge, &file.panel), &file.arms))
        })
    }

    /// The recordings of rollouts that are kept, by rollout.
    pub fn recorded(&self) -> Vec<RolloutId> {
        let entries = std::fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        entries
            .filter_map(|entry| RolloutId::new(entry.path().file_stem()?.to_str()?).ok())
            .collect()
    }

    /// A kept recording, also of a rollout that is over.
    pub fn recording(&self, rollout: &RolloutId) -> Option<Episode> {
        self.episode(rollout)
            .or_else(|| self.load(rollout).map(|file| file.episode))
    }

    pub(super) fn load(&self, rollout: &RolloutId) -> Option<File> {
        let bytes = std::fs::read(self.file(rollout)).ok()?;
        serde_json::from_slice::<File>(&bytes)
            .ok()
            .filter(|file| file.version == FILE_VERSION)
    }

    fn file(&self, rollout: &RolloutId) -> PathBuf {
        self.dir.join(format!("{rollout}.json"))
    }
}
