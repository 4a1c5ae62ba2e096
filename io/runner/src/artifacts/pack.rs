//! Files become an archive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use trimtab_model::Digest;

use super::{ArtifactError, ArtifactLimits, failed};

/// zstd's level: quick, and the archive is read more often than written.
const LEVEL: i32 = 3;

/// Packs `paths` beneath `root` into the file `archive`; its digest.
pub(super) fn pack(
    root: &Path,
    paths: &[String],
    limits: ArtifactLimits,
    archive: &Path,
) -> Result<Digest, ArtifactError> {
    let root = fs::canonicalize(root).map_err(failed("pack", root))?;
    let entries = collect(&root, paths, limits)?;
    let file = File::create(archive).map_err(failed("write", archive))?;
    let sink = Hashing {
        file,
        hash: Sha256::new(),
    };
    let packed = zstd::Encoder::new(sink, LEVEL)
        .map_err(failed("write", archive))
        .and_then(|encoder| {
            let mut builder = Builder::new(encoder);
            let mut left = limits.bytes_max;
            for entry in &entries {
                append(&mut builder, &root, entry, &mut left, archive)?;
            }
            builder
                .into_inner()
                .and_then(zstd::Encoder::finish)
                .map_err(failed("write", archive))
        });
    let sink = packed?;
    sink.file.sync_all().map_err(failed("write", archive))?;
    Ok(Digest(hex::encode(sink.hash.finalize())))
}

struct Hashing {
    file: File,
    hash: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn refused(path: &Path, reason: impl Into<String>) -> ArtifactError {
    ArtifactError::Refused {
        doing: "pack",
        path: path.display().to_string(),
        reason: reason.into(),
    }
}

/// All entries, relative to the root and sorted: folders come before what is in them.
fn collect(
    root: &Path,
    paths: &[String],
    limits: ArtifactLimits,
) -> Result<BTreeSet<PathBuf>, ArtifactError> {
    let mut entries = BTreeSet::new();
    let mut waiting = Vec::new();
    for path in paths {
        let relative = normal(Path::new(path))
            .ok_or_else(|| refused(Path::new(path), "it leads out of the checkout"))?;
        if fs::symlink_metadata(root.join(&relative)).is_err() {
            return Err(ArtifactError::NoSuchPath { path: path.clone() });
        }
        // A folder on the way may be a link to elsewhere.
        let parent = root.join(&relative).parent().map(fs::canonicalize);
        let within = parent.is_none_or(|parent| parent.is_ok_and(|parent| parent.starts_with(root)));
        if !within && !relative.as_os_str().is_empty() {
            return Err(refused(
                Path::new(path),
                "a link on its way leads out of the checkout",
            ));
        }
        waiting.push(relative);
    }
    while let Some(relative) = waiting.pop() {
        let path = root.join(&relative);
        let meta = fs::symlink_metadata(&path).map_err(failed("pack", &path))?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path).map_err(failed("pack", &path))? {
                waiting.push(relative.join(entry.map_err(failed("pack", &path))?.file_name()));
            }
        }
        if !relative.as_os_str().is_empty() {
            entries.insert(relative);
        }
        if entries.len() as u64 > limits.entries_max {
            return Err(refused(
                &path,
                format!("there are more than {} files; pack fewer", limits.entries_max),
            ));
        }
    }
    Ok(entries)
}

fn append(
    builder: &mut Builder<impl Write>,
    root: &Path,
    relative: &Path,
    left: &mut u64,
    archive: &Path,
) -> Result<(), ArtifactError> {
    let path = root.join(relative);
    let meta = fs::symlink_metadata(&path).map_err(failed("pack", &path))?;
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mode(0o755);
    if meta.is_dir() {
        header.set_entry_type(EntryType::Directory);
        builder
            .append_data(&mut header, relative, io::empty())
            .map_err(failed("write", archive))
    } else if meta.is_symlink() {
        let target = fs::read_link(&path).map_err(failed("pack", &path))?;
        if !stays_within(relative, &target) {
            return Err(refused(
                relative,
                format!("it is a link to {}, out of the checkout", target.display()),
            ));
        }
        header.set_entry_type(EntryType::Symlink);
        builder
            .append_link(&mut header, relative, target)
            .map_err(failed("write", archive))
    } else if meta.is_file() {
        *left = left
            .checked_sub(meta.len())
            .ok_or_else(|| refused(relative, "the artifact is too large; pack less"))?;
        header.set_size(meta.len());
        header.set_mode(if meta.permissions().mode() & 0o111 == 0 {
            0o644
        } else {
            0o755
        });
        let file = File::open(&path).map_err(failed("pack", &path))?;
        // Exactly the size in the header, also when the file grows; tar itself notices one that shrinks.
        builder
            .append_data(&mut header, relative, file.take(meta.len()))
            .map_err(failed("write", archive))
    } else {
        Err(refused(
            relative,
            "it is neither file, folder nor link; remove it in the build",
        ))
    }
}

/// The path without `.`; none when it is absolute or has `..`.
pub(super) fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

/// Whether a link at `link` (relative to the root) to `target` stays within the root. `..` counts at the beginning only: behind a
/// name it could be the parent of wherever another link leads.
pub(super) fn stays_within(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count() - 1;
    let mut named = false;
    target.components().all(|component| match component {
        Component::Normal(_) => {
            named = true;
            true
        }
        Component::CurDir => true,
        Component::ParentDir if depth > 0 && !named => {
            depth -= 1;
            true
        }
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_may_not_leave() {
        for (link, target, within) in [
            ("a/b", "c", true),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a", "..", false),
            ("a", "/etc/passwd", false),
            ("a/b/c", "./../../d/e", true),
            ("a/b/c", "../d/../e", false),
        ] {
            assert_eq!(
                stays_within(Path::new(link), Path::new(target)),
                within,
                "{link} -> {target}"
            );
        }
        assert_eq!(normal(Path::new("./a//b/.")), Some(PathBuf::from("a/b")));
        assert_eq!(normal(Path::new("a/../b")), None);
        assert_eq!(normal(Path::new("/a")), None);
    }
}
