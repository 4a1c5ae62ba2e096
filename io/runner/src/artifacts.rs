//! What was built, kept by its digest.

mod error;
mod pack;
mod unpack;

pub use error::ArtifactError;
use error::failed;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};
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
    /// Opens or makes the folder and deletes what a crash left half written.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ArtifactError> {
        let artifacts = Artifacts {
            dir: dir.into(),
            limits: ArtifactLimits::default(),
        };
        fs::create_dir_all(&artifacts.dir).map_err(failed("make", &artifacts.dir))?;
        for name in artifacts.names()? {
            if name.starts_with(PARTIAL) {
                let path = artifacts.dir.join(name);
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(artifacts)
    }

    /// The same folder with other limits.
    pub fn with_limits(self, limits: ArtifactLimits) -> Self {
        Artifacts { limits, ..self }
    }

    /// Packs `paths` (relative to `root`; folders with all within) deterministically and keeps the archive: the
    /// same files give the same digest. Provenance is written beside it; that of an archive already there stays.
    ///
    /// # Errors
    /// When a path is missing or leads outside `root`, limits are passed, or the disk is full.
    pub async fn pack(
        &self,
        root: &Path,
        paths: &[String],
        provenance: &Provenance,
    ) -> Result<ArtifactInfo, ArtifactError> {
        let (artifacts, root, paths) = (self.clone(), root.to_owned(), paths.to_vec());
        let provenance = provenance.clone();
        away(move || artifacts.pack_now(&root, &paths, &provenance)).await
    }

    fn pack_now(
        &self,
        root: &Path,
        paths: &[String],
        provenance: &Provenance,
    ) -> Result<ArtifactInfo, ArtifactError> {
        let partial = Partial(self.dir.join(format!("{PARTIAL}{:016x}", fastrand::u64(..))));
        let digest = pack::pack(root, paths, self.limits, &partial.0)?;
        if !self.archive(&digest).is_file() {
            // First the provenance: an archive that is there has one.
            self.write_provenance(&digest, provenance)?;
            fs::rename(&partial.0, self.archive(&digest)).map_err(failed("write", self.archive(&digest)))?;
            sync_folder(&self.dir)?;
        }
        self.info(digest)
    }

    fn write_provenance(&self, digest: &Digest, provenance: &Provenance) -> Result<(), ArtifactError> {
        let path = self.provenance_path(digest);
        let partial = Partial(self.dir.join(format!("{PARTIAL}{:016x}", fastrand::u64(..))));
        let text = serde_json::to_vec_pretty(provenance).map_err(|error| ArtifactError::Provenance {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let write = || {
            let mut file = File::create(&partial.0)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&partial.0, &path)
        };
        write().map_err(failed("write", &path))
    }

    /// Unpacks an artifact beneath `into`, verifying its digest. `into` is complete or absent; one that is there
    /// already is left as it is and counted as zero entries.
    ///
    /// # Errors
    /// When the artifact is missing, damaged or breaks the limits, or the disk is full.
    pub async fn unpack(&self, digest: &Digest, into: &Path) -> Result<Unpacked, ArtifactError> {
        let (artifacts, digest, into) = (self.clone(), digest.clone(), into.to_owned());
        away(move || artifacts.unpack_now(&digest, &into)).await
    }

    fn unpack_now(&self, digest: &Digest, into: &Path) -> Result<Unpacked, ArtifactError> {
        if into.is_dir() {
            return Ok(Unpacked { entries: 0, bytes: 0 });
        }
        self.verify(digest)?;
        let parent = into.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
        let partial = Partial(parent.join(format!("{PARTIAL}{:016x}", fastrand::u64(..))));
        let unpacked = unpack::unpack(&self.archive(digest), &partial.0, self.limits)?;
        match fs::rename(&partial.0, into) {
            // Another was quicker, with the same bytes.
            Err(_) if into.is_dir() => Ok(unpacked),
            result => result.map(|()| unpacked).map_err(failed("write", into)),
        }
    }

    /// Reads an artifact whole and compares its digest.
    ///
    /// # Errors
    /// When the artifact is missing or damaged.
    pub fn verify(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let mut file = self.find(digest)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; 256 * 1024];
        loop {
            match file
                .read(&mut chunk)
                .map_err(failed("read", self.archive(digest)))?
            {
                0 => break,
                read => hash.update(&chunk[..read]),
            }
        }
        let found = Digest(hex::encode(hash.finalize()));
        if found == *digest {
            Ok(())
        } else {
            Err(ArtifactError::Damaged {
                digest: digest.clone(),
                found,
            })
        }
    }

    /// Reads where an artifact comes from.
    ///
    /// # Errors
    /// When the artifact is missing or its provenance unreadable.
    pub fn provenance(&self, digest: &Digest) -> Result<Provenance, ArtifactError> {
        self.find(digest)?;
        let path = self.provenance_path(digest);
        let text = fs::read(&path).map_err(failed("read", &path))?;
        let unreadable = |reason: String| ArtifactError::Provenance {
            path: path.clone(),
            reason,
        };
        let provenance: Provenance =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        match provenance.version {
            crate::PROVENANCE_VERSION => Ok(provenance),
            other => Err(unreadable(format!(
                "its version {other} is unknown to this trimtab; use a newer one"
            ))),
        }
    }

    /// All artifacts, by digest.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<ArtifactInfo>, ArtifactError> {
        let mut found = Vec::new();
        for name in self.names()? {
            let digest = name.strip_suffix(ARCHIVE).map(|digest| Digest(digest.to_owned()));
            if let Some(digest) = digest.filter(is_digest) {
                found.push(self.info(digest)?);
            }
        }
        found.sort_by(|a, b| a.digest.cmp(&b.digest));
        Ok(found)
    }

    /// Deletes an artifact and its provenance; whether it was there.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn remove(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        let mut was_there = false;
        if is_digest(digest) {
            for path in [self.archive(digest), self.provenance_path(digest)] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => {
                        result.map_err(failed("remove", &path))?;
                        was_there = true;
                    }
                }
            }
        }
        Ok(was_there)
    }

    fn archive(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}{ARCHIVE}"))
    }

    fn provenance_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}.json"))
    }

    fn find(&self, digest: &Digest) -> Result<File, ArtifactError> {
        // A digest that is none could be a path.
        if !is_digest(digest) {
            return Err(ArtifactError::Missing(digest.clone()));
        }
        match File::open(self.archive(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ArtifactError::Missing(digest.clone()))
            }
            result => result.map_err(failed("read", self.archive(digest))),
        }
    }

    fn info(&self, digest: Digest) -> Result<ArtifactInfo, ArtifactError> {
        let path = self.archive(&digest);
        let meta = fs::metadata(&path).map_err(failed("read", &path))?;
        let stored = meta
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default();
        let stored_at = Timestamp(i64::try_from(stored.as_millis()).unwrap_or(i64::MAX));
        Ok(ArtifactInfo {
            digest,
            bytes: meta.len(),
            stored_at,
        })
    }

    fn names(&self) -> Result<Vec<String>, ArtifactError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed("read", &self.dir))? {
            let entry = entry.map_err(failed("read", &self.dir))?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }
}

/// Ends of archives' names.
const ARCHIVE: &str = ".tar.zst";
/// Begins the names of what is not complete yet.
const PARTIAL: &str = ".partial-";

/// A file or folder that goes with its owner, unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = if self.0.is_dir() {
            fs::remove_dir_all(&self.0)
        } else {
            fs::remove_file(&self.0)
        };
    }
}

fn is_digest(digest: &Digest) -> bool {
    digest.0.len() == 64
        && digest
            .0
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn sync_folder(dir: &Path) -> Result<(), ArtifactError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("write", dir))
}

/// Runs what blocks on a thread for it.
async fn away<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result,
        Err(error) => Err(ArtifactError::File {
            doing: "work on",
            path: PathBuf::new(),
            source: io::Error::other(error),
        }),
    }
}
