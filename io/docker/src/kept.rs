//! What is remembered of each container beyond what the engine knows: one file each, mode 0600.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trimtab_model::InstanceId;
use trimtab_runtime::{InstanceSpec, RuntimeError};

/// Version of the files.
const VERSION: u32 = 1;

/// A container as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    pub(crate) spec: InstanceSpec,
    /// Where it listens, or will, on loopback.
    pub(crate) port: u16,
    /// Whether it was stopped by command.
    pub(crate) stopped: bool,
    /// Starts by command after the first.
    pub(crate) restarts: u32,
    /// Why it was last restarted, when that was for its liveness.
    pub(crate) dead: Option<String>,
}

impl Kept {
    pub(crate) fn new(spec: InstanceSpec, port: u16) -> Self {
        Kept {
            version: VERSION,
            spec,
            port,
            stopped: false,
            restarts: 0,
            dead: None,
        }
    }
}

/// The folder of these files.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    pub(crate) fn open(dir: &Path) -> Result<Shelf, RuntimeError> {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(dir);
        made.map_err(file("make", dir))?;
        Ok(Shelf { dir: dir.to_owned() })
    }

    /// The word that tells this folder's containers from those of others on the same engine.
    pub(crate) fn owner(&self) -> Result<String, RuntimeError> {
        let path = self.dir.join("owner");
        match fs::read_to_string(&path) {
            Ok(owner) if owner.len() == 8 => Ok(owner),
            _ => {
                let owner = format!("{:08x}", fastrand::u32(..));
                fs::write(&path, &owner).map_err(file("write", &path))?;
                Ok(owner)
            }
        }
    }

    fn path(&self, id: &InstanceId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Result<Option<Kept>, RuntimeError> {
        let path = self.path(id);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(file("read", &path))?,
        };
        match serde_json::from_slice::<Kept>(&text) {
            Ok(kept) if kept.version == VERSION => Ok(Some(kept)),
            Ok(kept) => Err(format(
                path,
                format!("it has version {}, this trimtab knows {VERSION}", kept.version),
            )),
            Err(error) => Err(format(path, error.to_string())),
        }
    }

    pub(crate) fn put(&self, kept: &Kept) -> Result<(), RuntimeError> {
        let path = self.path(&kept.spec.id);
        let temporary = path.with_extension("new");
        let bytes = serde_json::to_vec(kept).map_err(|error| format(path.clone(), error.to_string()))?;
        let mut options = fs::OpenOptions::new();
        let opened = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary);
        opened
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(file("write", &path))
    }

    pub(crate) fn forget(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(file("remove", &path)),
        }
    }

    pub(crate) fn ids(&self) -> Result<Vec<InstanceId>, RuntimeError> {
        let entries = fs::read_dir(&self.dir).map_err(file("read", &self.dir))?;
        let mut ids: Vec<InstanceId> = entries
            .flatten()
            .filter_map(|entry| InstanceId::new(entry.file_name().to_str()?.strip_suffix(".json")?).ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RuntimeError {
    let path = path.to_owned();
    move |source| RuntimeError::File { doing, path, source }
}

fn format(path: PathBuf, reason: String) -> RuntimeError {
    let reason = format!("{reason}; remove the instance's container and this file");
    RuntimeError::Format { path, reason }
}
