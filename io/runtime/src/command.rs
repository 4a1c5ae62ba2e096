//! The program that a command names.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a program cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is in none of these places.
    Missing { looked: String },
    /// It is there and not executable.
    NotExecutable { path: PathBuf },
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unusable::Missing { looked } => write!(f, "it is not there ({looked})"),
            Unusable::NotExecutable { path } => write!(f, "{} is not executable", path.display()),
        }
    }
}

/// Finds the program as the kernel and a shell would: with a `/` relative to `dir`, else in the folders of `search`.
pub(crate) fn find(program: &str, dir: &Path, search: &str) -> Result<PathBuf, Unusable> {
    if program.contains('/') {
        let path = dir.join(program);
        return match check(&path) {
            None => Err(Unusable::Missing {
                looked: format!("looked at {}", path.display()),
            }),
            Some(false) => Err(Unusable::NotExecutable { path }),
            Some(true) => Ok(path),
        };
    }
    let mut refused = None;
    for folder in search.split(':').filter(|folder| !folder.is_empty()) {
        let path = dir.join(folder).join(program);
        match check(&path) {
            Some(true) => return Ok(path),
            Some(false) => refused = Some(path),
            None => {}
        }
    }
    Err(match refused {
        Some(path) => Unusable::NotExecutable { path },
        None => Unusable::Missing {
            looked: format!("looked in PATH: {search}"),
        },
    })
}

/// None: no such file. Else whether it may be run.
fn check(path: &Path) -> Option<bool> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn programs_are_found_beside_and_on_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let server = dir.path().join("server");
        std::fs::write(&server, "#!/bin/sh\n").unwrap();
        assert_eq!(
            find("./server", dir.path(), ""),
            Err(Unusable::NotExecutable {
                path: dir.path().join("./server")
            })
        );
        std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(find("./server", dir.path(), "").is_ok());
        assert!(find("sh", dir.path(), "/nowhere:/bin").is_ok());
        assert!(matches!(
            find("sh", dir.path(), "/nowhere"),
            Err(Unusable::Missing { .. })
        ));
        assert!(matches!(
            find("./other", dir.path(), "/bin"),
            Err(Unusable::Missing { .. })
        ));
    }
}
