//! The folder the story plays in: a repository, a data folder, a server's configuration.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::getuid;

use super::receivers::Inboxes;
use super::repository::Repository;
use super::way::Way;

/// What marks a folder as a demo's, and is locked while one plays.
const LOCK: &str = "demo.lock";
/// What a demo makes in its folder.
const MADE: [&str; 4] = ["data", "work", "blocks.git", "serve.log"];
/// Ports of the server by default: API, OTLP by gRPC and by HTTP, users' traffic.
const PORTS: [u16; 4] = [7700, 4317, 4318, 7780];

/// Where everything of one demo lies.
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) data: PathBuf,
    pub(super) repository: Repository,
    pub(super) traffic: u16,
    /// How releases go out.
    pub(super) way: Way,
    listen: u16,
    /// Nobody named the folder: nothing of it is kept.
    passing: bool,
    _lock: File,
}

impl Place {
    pub(super) async fn make(dir: Option<PathBuf>, way: Way, inboxes: &Inboxes) -> Result<Place> {
        let passing = dir.is_none();
        let uid = getuid();
        let root = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("trimtab-demo-{}", uid.as_raw())));
        let (root, lock) = take(&root)?;
        let data = root.join("data");
        std::fs::create_dir(&data)?;
        let repository = Repository::make(&root, way).await?;
        let [listen, grpc, http, traffic] = free_ports()?;
        std::fs::write(data.join("secret"), "demo-secret-of-no-value\n")?;
        let inbox = inboxes.http;
        std::fs::write(data.join("slack"), format!("http://127.0.0.1:{inbox}/slack\n"))?;
        let configuration = format!(
            "listen: 127.0.0.1:{listen}\notlp_grpc: 127.0.0.1:{grpc}\notlp_http: 127.0.0.1:{http}\n\
             traffic: 127.0.0.1:{traffic}\nrepositories:\n  - {{service: blocks, path: {bare:?}, branch: main}}\n\
             notify:\n  slack: {{webhook: {{file: {slack:?}}}}}\n  \
             email: {{smtp: \"127.0.0.1:{smtp}\", from: \"trimtab@example.com\", to: [\"team@example.com\"], \
             starttls: false}}\n  \
             sms: {{base_url: \"http://127.0.0.1:{inbox}\", account: demo, token: {{file: {secret:?}}}, \
             from: \"+10000000000\", to: [\"+10000000001\"]}}\n  \
             webhook: {{url: \"http://127.0.0.1:{inbox}/webhook\", secret: {{file: {secret:?}}}}}\n",
            bare = repository.bare(),
            slack = data.join("slack"),
            smtp = inboxes.smtp,
            secret = data.join("secret"),
        );
        std::fs::write(data.join("trimtab-server.yaml"), configuration)?;
        Ok(Place {
            root,
            data,
            repository,
            traffic,
            way,
            listen,
            passing,
            _lock: lock,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.listen)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("serve.log")
    }

    /// Removes the folder if nobody named it.
    pub(super) fn leave(&self) {
        if self.passing
            && let Err(error) = std::fs::remove_dir_all(&self.root)
        {
            eprintln!("trimtab: failed to remove {}: {error}", self.root.display());
        }
    }
}

/// The folder, made or emptied, and its lock. Only what a demo made is ever removed.
fn take(root: &Path) -> Result<(PathBuf, File)> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .with_context(|| format!("failed to make {}", root.display()))?;
    let found = std::fs::symlink_metadata(root)?;
    // In a temporary folder that all share, somebody else may have been first.
    if !found.is_dir() || found.uid() != getuid().as_raw() {
        bail!(
            "failed to begin: {} is not a folder of this user\n  give another one: --dir FOLDER",
            root.display()
        );
    }
    let root = root.canonicalize()?;
    let strange = std::fs::read_dir(&root)?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name() != LOCK && !root.join(LOCK).exists());
    if let Some(strange) = strange {
        bail!(
            "failed to begin: {} holds {}, which no demo made\n  give an empty folder: --dir FOLDER",
            root.display(),
            strange.file_name().to_string_lossy()
        );
    }
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(root.join(LOCK))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!(
            "failed to begin: another demo plays in {}\n  stop it, or give another folder: --dir FOLDER",
            root.display()
        );
    }
    for name in MADE {
        let path = root.join(name);
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        removed.with_context(|| format!("failed to clear {} of an earlier demo", path.display()))?;
    }
    Ok((root, lock))
}

/// The server's own ports, or else ones that were free a moment ago.
fn free_ports() -> Result<[u16; 4]> {
    let mut held = Vec::new();
    let mut ports = PORTS;
    for port in &mut ports {
        let listener = match TcpListener::bind(("127.0.0.1", *port)) {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("127.0.0.1:0")?,
        };
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_demos_folder_is_used_again_and_nobody_elses_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("demo");
        let (root, lock) = take(&root).unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        std::fs::write(root.join("data/journal.db"), "old").unwrap();
        std::fs::write(root.join("serve.log"), "old").unwrap();
        let second = take(&root).unwrap_err().to_string();
        assert!(second.contains("another demo plays"), "{second}");
        drop(lock);
        // A child that another test starts at this moment holds the lock until it runs its program.
        let (root, _lock) = (0..100)
            .find_map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                take(&root).ok()
            })
            .unwrap();
        assert!(!root.join("data").exists() && !root.join("serve.log").exists());

        let precious = dir.path().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("work"), "mine").unwrap();
        let refusal = take(&precious).unwrap_err().to_string();
        assert!(refusal.contains("holds work, which no demo made"), "{refusal}");
        assert!(precious.join("work").exists());
    }
}
