//! Several files appear and disappear together: what to rename and remove is written down first, in
//! `commit.json`, and done afterwards, again after a crash if need be.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::StoreError;

const VERSION: u32 = 1;
const FILE_NAME: &str = "commit.json";

/// A change of the set of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commit {
    version: u32,
    /// What the log held before this checkpoint is in the files added.
    pub(crate) checkpoint: Option<u64>,
    /// Files to get their final name; they bear it with `.tmp` behind.
    pub(crate) add: Vec<PathBuf>,
    /// Files to remove.
    pub(crate) remove: Vec<PathBuf>,
}

impl Commit {
    pub(crate) fn new(checkpoint: Option<u64>, add: Vec<PathBuf>, remove: Vec<PathBuf>) -> Self {
        Commit {
            version: VERSION,
            checkpoint,
            add,
            remove,
        }
    }

    /// The change that was decided and perhaps not carried out.
    pub(crate) fn read(root: &Path) -> Result<Option<Self>, StoreError> {
        let path = root.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let damaged = |reason: String| StoreError::Damaged {
            path: path.clone(),
            reason,
        };
        let commit: Commit = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if commit.version != VERSION {
            return Err(StoreError::Version {
                path,
                version: commit.version.to_string(),
            });
        }
        Ok(Some(commit))
    }

    /// Decides: from here on the change happens, whatever fails.
    pub(crate) fn decide(&self, root: &Path) -> Result<(), StoreError> {
        let path = root.join(FILE_NAME);
        let temporary = path.with_added_extension("tmp");
        let text = serde_json::to_vec(self).map_err(|error| StoreError::Encode(error.to_string()))?;
        File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync_folder(root))
            .map_err(StoreError::io("write", &path))
    }

    /// Renames and removes; does no harm when done again.
    pub(crate) fn carry_out(&self, root: &Path) -> Result<(), StoreError> {
        for relative in &self.add {
            let path = root.join(relative);
            let temporary = path.with_added_extension("tmp");
            match fs::rename(&temporary, &path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("rename", &temporary)(error));
                }
                _ => {}
            }
        }
        for folder in self.add.iter().filter_map(|relative| relative.parent()) {
            let folder = root.join(folder);
            sync_folder(&folder).map_err(StoreError::io("sync", &folder))?;
        }
        for relative in &self.remove {
            remove(&root.join(relative))?;
        }
        Ok(())
    }

    /// Forgets a change that was carried out.
    pub(crate) fn forget(root: &Path) -> Result<(), StoreError> {
        remove(&root.join(FILE_NAME))
    }
}

pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    // The folder may be new itself.
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
