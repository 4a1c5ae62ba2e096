//! An archive becomes files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use tar::{Archive, Entry, EntryType};

use super::pack::{normal, stays_within};
use super::{ArtifactError, ArtifactLimits, Unpacked, failed};

/// Bytes of an archive beside its files' own, for each entry: headers, padding and long names.
const OVERHEAD_BYTES_MAX: u64 = 16 * 1024;
/// Largest window of the compression that is accepted, as a power of two: bounds memory.
const WINDOW_LOG_MAX: u32 = 27;

/// Unpacks `archive` into the new folder `into`.
pub(super) fn unpack(archive: &Path, into: &Path, limits: ArtifactLimits) -> Result<Unpacked, ArtifactError> {
    let read = || failed("read", archive);
    let file = File::open(archive).map_err(read())?;
    let mut decoder = zstd::Decoder::new(file).map_err(read())?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(read())?;
    // Whatever the headers claim, no more than this is ever decoded.
    let bytes_max = limits
        .bytes_max
        .saturating_add(limits.entries_max.saturating_mul(OVERHEAD_BYTES_MAX));
    let mut archive_reader = Archive::new(decoder.take(bytes_max));
    fs::create_dir(into).map_err(failed("make", into))?;
    let mut unpacked = Unpacked { entries: 0, bytes: 0 };
    for entry in archive_reader.entries().map_err(read())? {
        let mut entry = entry.map_err(read())?;
        unpacked.entries += 1;
        let path = entry.path().map_err(read())?.into_owned();
        let refuse = |reason: &str| ArtifactError::Refused {
            doing: "unpack",
            path: path.display().to_string(),
            reason: reason.to_owned(),
        };
        if unpacked.entries > limits.entries_max {
            return Err(refuse("the archive has too many entries"));
        }
        unpacked.bytes = unpacked.bytes.saturating_add(entry.size());
        if unpacked.bytes > limits.bytes_max {
            return Err(refuse("the archive unpacks to too many bytes"));
        }
        let relative = normal(&path).filter(|path| !path.as_os_str().is_empty());
        let relative = relative.ok_or_else(|| refuse("it leads out of the folder"))?;
        let parent = relative.parent().unwrap_or(Path::new(""));
        if !make_folders(into, parent)? {
            return Err(refuse("a link or file is on its way"));
        }
        if !place(&mut entry, into, &relative)? {
            return Err(refuse("it is neither file, folder nor link within the folder"));
        }
    }
    Ok(unpacked)
}

/// Makes the folders of `relative` beneath `base`; whether all of them are folders, not links.
fn make_folders(base: &Path, relative: &Path) -> Result<bool, ArtifactError> {
    let mut path = base.to_owned();
    for part in relative.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&path).map_err(failed("make", &path))?;
            }
            Err(error) => return Err(failed("make", &path)(error)),
        }
    }
    Ok(true)
}

/// Makes one entry; whether it is of a kind that is allowed.
fn place<R: Read>(entry: &mut Entry<'_, R>, into: &Path, relative: &Path) -> Result<bool, ArtifactError> {
    let path = into.join(relative);
    match entry.header().entry_type() {
        EntryType::Directory => make_folders(into, relative),
        EntryType::Symlink => {
            let target = entry
                .link_name()
                .map_err(failed("read the link", &path))?
                .unwrap_or_default()
                .into_owned();
            if !stays_within(relative, &target) {
                return Ok(false);
            }
            symlink(target, &path).map_err(failed("write", &path))?;
            Ok(true)
        }
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            // Never an existing file: a second entry of a name would write through what the first one made.
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(mode).open(&path);
            let size = entry.size();
            let copied = file
                .and_then(|mut file| io::copy(entry, &mut file))
                .map_err(failed("write", &path))?;
            if copied != size {
                return Err(failed("read", &path)(io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}
