//! The folders that runs are built in.
//!
//! A run keeps its folder from its first step to the last gate of staging, so that what one step makes the
//! next one finds. Runs of one service that overlap get folders of their own; a folder that is free again
//! goes to the next run with its build caches in it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use trimtab_model::{RunId, ServiceName};
use trimtab_pipeline::Plan;
use trimtab_runner::{CheckedOut, checkout_keeping};

use crate::files;
use crate::world::Repository;

/// Build caches that a checkout leaves in place.
const KEPT: [&str; 2] = ["/target", "/node_modules"];
/// Runs of one service that build at the same time; the next waits.
const BUILDING_MAX: usize = 4;
/// Version of the file that says whose a folder is.
const HOLDER_VERSION: u32 = 1;

/// A commit laid out for a run.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// First line of the commit's message.
    pub(crate) title: String,
    /// The commit's author.
    pub(crate) author: String,
}

/// Whose a folder is, beside the folder.
#[derive(Serialize, Deserialize)]
struct Holder {
    version: u32,
    run: RunId,
    title: String,
    author: String,
}

/// All folders of all services.
pub struct Workspaces {
    dir: PathBuf,
    giving: Mutex<()>,
    reading: Mutex<()>,
}

impl Workspaces {
    /// Folders beneath `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            giving: Mutex::default(),
            reading: Mutex::default(),
        }
    }

    /// The folder of a run, with its commit in it; none while all are held by runs that are `building`.
    pub(crate) async fn of(
        &self,
        repository: &Repository,
        plan: &Plan,
        building: impl Fn(&RunId) -> bool,
    ) -> Result<Option<Workspace>, String> {
        let _one_at_a_time = self.giving.lock().await;
        let mut free = None;
        for number in 1..=BUILDING_MAX {
            let (folder, file) = self.place(&plan.service, number);
            match holder(&file) {
                Some(holder) if holder.run == plan.run => {
                    return Ok(Some(Workspace {
                        folder,
                        title: holder.title,
                        author: holder.author,
                    }));
                }
                Some(holder) if building(&holder.run) => {}
                _ => free = free.or(Some((folder, file))),
            }
        }
        let Some((folder, file)) = free else {
            return Ok(None);
        };
        let failed = |error: std::io::Error| format!("failed to note whose {} is: {error}", folder.display());
        // Until the checkout is whole the folder is nobody's.
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let done = checkout_keeping(&repository.path, &plan.commit, &folder, &KEPT)
            .await
            .map_err(|error| format!("failed to {error}"))?;
        let holder = Holder {
            version: HOLDER_VERSION,
            run: plan.run.clone(),
            title: done.title.clone(),
            author: done.author.clone(),
        };
        files::replace(&file, &serde_json::to_vec(&holder).unwrap_or_default()).map_err(failed)?;
        Ok(Some(Workspace {
            folder,
            title: done.title,
            author: done.author,
        }))
    }

    /// The `trimtab.yaml` of a commit or branch, with what the commit is.
    pub(crate) async fn project_file(
        &self,
        repository: &Repository,
        commit: &str,
    ) -> Result<(CheckedOut, String), String> {
        let _one_at_a_time = self.reading.lock().await;
        let folder = self.dir.join(format!("{}.read", repository.service));
        let done = checkout_keeping(&repository.path, commit, &folder, &[])
            .await
            .map_err(|error| format!("failed to {error}"))?;
        let text = std::fs::read_to_string(folder.join("trimtab.yaml")).map_err(|error| {
            format!("failed to read trimtab.yaml of {commit}: {error}; add one (`trimtab init`)")
        })?;
        Ok((done, text))
    }

    fn place(&self, service: &ServiceName, number: usize) -> (PathBuf, PathBuf) {
        let name = match number {
            1 => service.to_string(),
            _ => format!("{service}.{number}"),
        };
        (self.dir.join(&name), self.dir.join(format!("{name}.holder.json")))
    }
}

fn holder(file: &Path) -> Option<Holder> {
    let bytes = std::fs::read(file).ok()?;
    let holder: Holder = serde_json::from_slice(&bytes).ok()?;
    (holder.version == HOLDER_VERSION).then_some(holder)
}
