//! Why work on an artifact failed; each finishes the sentence "failed to …".

use std::io;
use std::path::PathBuf;

use trimtab_model::Digest;

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

/// Makes an error of the system's; a full disk is told with its free space.
pub(super) fn failed(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.into();
    move |source| {
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        if !full {
            return ArtifactError::File { doing, path, source };
        }
        let room = path
            .ancestors()
            .find_map(|folder| rustix::fs::statvfs(folder).ok());
        let free_bytes = room.map_or(0, |room| room.f_bavail.saturating_mul(room.f_frsize));
        ArtifactError::DiskFull { path, free_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_its_free_space() {
        // ENOSPC
        let error = failed("write", "/tmp/no/such/folder/x")(io::Error::from_raw_os_error(28));
        assert!(
            matches!(&error, ArtifactError::DiskFull { free_bytes, .. } if *free_bytes > 0),
            "{error}"
        );
        let error = failed("write", "/tmp/x")(io::Error::from_raw_os_error(13));
        assert!(matches!(error, ArtifactError::File { .. }), "{error}");
    }
}
