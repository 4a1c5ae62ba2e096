//! Gives each stored log line the id of its template, by one miner per service.
//!
//! A template's id is the hash of its text as first seen, so a miner that begins anew gives most lines the ids
//! they had; what it learnt is written down all the same, because a template that grew general keeps the id of
//! its first line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trimtab_detection::templates::{Miner, OTHER};
use trimtab_model::ServiceName;
use trimtab_telemetry::LogRecord;

/// Version of the file.
const FILE_VERSION: u32 = 1;
/// How often what was learnt is written down.
const SAVE_PAUSE: Duration = Duration::from_secs(10);
/// Services whose lines are told apart; lines of further ones get no template.
const SERVICES_MAX: usize = 100;
/// Bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 2_048;

/// The miners of all services.
pub(crate) struct TemplateIds {
    path: PathBuf,
    miners: Mutex<Miners>,
}

#[derive(Default)]
struct Miners {
    of: BTreeMap<ServiceName, Miner>,
    /// Templates that were known when the miners were written down.
    saved: usize,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    miners: BTreeMap<ServiceName, Miner>,
}

impl TemplateIds {
    /// Goes on from what `path` holds; a file that cannot be read is as good as none.
    pub(crate) fn open(path: &Path) -> Self {
        let file = std::fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<File>(&bytes).ok())
            .filter(|file| file.version == FILE_VERSION);
        let of = file.map(|file| file.miners).unwrap_or_default();
        let miners = Miners {
            saved: count(&of),
            of,
        };
        Self {
            path: path.to_owned(),
            miners: Mutex::new(miners),
        }
    }

    /// The template of a line; none without a service.
    pub(crate) fn of(&self, log: &LogRecord) -> Option<String> {
        let service = log.identity.service.as_ref()?;
        let line = &log.body[..log.body.floor_char_boundary(LINE_BYTES_MAX)];
        let mut miners = self.miners.lock().unwrap_or_else(PoisonError::into_inner);
        if !miners.of.contains_key(service) {
            if miners.of.len() >= SERVICES_MAX {
                return None;
            }
            miners.of.insert(service.clone(), Miner::default());
        }
        let miner = miners.of.get_mut(service)?;
        let Some(number) = miner.observe(line) else {
            return Some(OTHER.to_owned());
        };
        let template = miner.template(miner.current(number))?;
        Some(template.id.0.clone())
    }

    /// Writes the miners down now and then, for as long as the process lives.
    pub(crate) async fn keep(self: std::sync::Arc<Self>) {
        loop {
            tokio::time::sleep(SAVE_PAUSE).await;
            if let Err(error) = self.save() {
                tracing::warn!(%error, "failed to write down the templates of log lines");
            }
        }
    }

    /// Writes the miners down if they learnt a template since.
    pub(crate) fn save(&self) -> std::io::Result<()> {
        let file = {
            let mut miners = self.miners.lock().unwrap_or_else(PoisonError::into_inner);
            let now = count(&miners.of);
            if now == miners.saved {
                return Ok(());
            }
            miners.saved = now;
            File {
                version: FILE_VERSION,
                miners: miners.of.clone(),
            }
        };
        let bytes = serde_json::to_vec(&file).map_err(std::io::Error::other)?;
        crate::files::replace(&self.path, &bytes)
    }
}

fn count(miners: &BTreeMap<ServiceName, Miner>) -> usize {
    miners.values().map(|miner| miner.templates().len()).sum()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use trimtab_ingest::log_batch;
    use trimtab_model::Identity;
    use trimtab_store::{LogQuery, SignalStore, Store, StoreConfig, TEMPLATE_ATTRIBUTE};

    use super::*;

    fn identity(service: &str) -> Identity {
        Identity {
            service: Some(ServiceName::new(service).unwrap()),
            ..Identity::default()
        }
    }

    async fn ids(store: &Store) -> Vec<Option<String>> {
        let mut logs = store.scan_logs(LogQuery::default()).await.unwrap();
        logs.sort_by(|a, b| a.body.cmp(&b.body));
        logs.iter()
            .map(|log| log.attributes.get(TEMPLATE_ATTRIBUTE).map(ToString::to_string))
            .collect()
    }

    #[tokio::test]
    async fn stored_lines_carry_their_template_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("templates.json");
        let mut seen = Vec::new();
        for run in 0..2 {
            let templates = Arc::new(TemplateIds::open(&path));
            let asked = templates.clone();
            let config = StoreConfig {
                template_of: Some(Arc::new(move |log| asked.of(log))),
                ..StoreConfig::default()
            };
            let store = Store::open(folder.path().join(format!("store-{run}")), config).unwrap();
            // In another order after the restart, with users that make the name a value.
            let mut lines: Vec<String> = ["ann", "bob", "eve", "kim", "lea", "max", "zoe"]
                .iter()
                .map(|user| format!("a sync failed for user {user} after 7 tries"))
                .collect();
            lines.push("z plugin 17 loaded".to_owned());
            if run == 1 {
                lines.reverse();
            }
            for line in &lines {
                let batch = log_batch([line.as_str()], &identity("blocks"));
                store.append(batch, "").await.unwrap();
            }
            seen.push(ids(&store).await);
            templates.save().unwrap();
        }
        let (before, after) = (&seen[0], &seen[1]);
        assert_eq!(before.len(), 8);
        assert!(before.iter().all(Option::is_some));
        assert_ne!(before[0], before[7], "two kinds of lines");
        assert_eq!(before[6], before[0], "the name was found to be a value");
        assert_eq!(after[7], before[7]);
        assert!(after[..7].iter().all(|id| *id == before[0]), "{after:?}");
    }

    #[test]
    fn services_are_bounded_and_a_broken_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("templates.json");
        std::fs::write(&path, "{").unwrap();
        let templates = TemplateIds::open(&path);
        for number in 0..SERVICES_MAX + 1 {
            let batch = log_batch(["hello"], &identity(&format!("s{number}")));
            assert_eq!(templates.of(&batch.logs[0]).is_some(), number < SERVICES_MAX);
        }
        let long = "ж".repeat(LINE_BYTES_MAX);
        let batch = log_batch([long.as_str()], &identity("s1"));
        assert!(templates.of(&batch.logs[0]).is_some());
        let nobody = log_batch(["hello"], &Identity::default());
        assert_eq!(templates.of(&nobody.logs[0]), None);
    }
}
