//! A folder of one test: its repository, data and ports. Whatever ran there is ended with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Project;

/// Ports below those that the system gives to outgoing connections, so that none is taken in between.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A folder of one test.
pub(crate) struct Place {
    traffic: u16,
    folder: tempfile::TempDir,
}

impl Place {
    /// A new folder with an empty repository.
    pub(crate) fn make() -> Place {
        let place = Place {
            traffic: Place::free_port(),
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(place.repository()).unwrap();
        git(&place.repository(), &["init", "-q", "-b", "main"]);
        place
    }

    /// A port that nothing listens on, and that no other test of this process gets.
    pub(crate) fn free_port() -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let seed = u16::try_from(std::process::id() % 997).unwrap_or(0) * 12;
        loop {
            let at = seed.wrapping_add(NEXT.fetch_add(1, Relaxed));
            let port = PORTS.start + at % (PORTS.end - PORTS.start);
            if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Control's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// Where the service's code is.
    pub(crate) fn repository(&self) -> PathBuf {
        self.root().join("repository")
    }

    /// Where users' requests go.
    pub(crate) fn traffic(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.traffic))
    }

    /// Commits `project` to the branch that is checked out.
    pub(crate) fn commit(&self, project: &Project, title: &str) -> String {
        self.commit_text(&project.yaml(&self.faults_file()), title)
    }

    /// Commits a `trimtab.yaml` of any text.
    pub(crate) fn commit_text(&self, yaml: &str, title: &str) -> String {
        let repository = self.repository();
        std::fs::write(repository.join("trimtab.yaml"), yaml).unwrap();
        git(&repository, &["add", "-A"]);
        git(&repository, &["commit", "-q", "--allow-empty", "-m", title]);
        git(&repository, &["rev-parse", "HEAD"])
    }

    /// The file by which running instances are broken.
    pub(crate) fn faults_file(&self) -> PathBuf {
        self.root().join("faults")
    }

    /// Breaks running instances, in the words of `testing/service.rs`.
    pub(crate) fn break_instances(&self, faults: &str) {
        std::fs::write(self.faults_file(), faults).unwrap();
    }

    /// Mends what `break_instances` broke.
    pub(crate) fn mend_instances(&self) {
        self.break_instances("");
    }

    /// Processes that were started with this folder in their words, or work beneath it.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        let here = std::process::id();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            let works = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let root = self.root().to_str().unwrap();
            if pid != here && !words.is_empty() && (words.contains(root) || works.starts_with(self.root())) {
                found.push((pid, words));
            }
        }
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed leaves shims, a proxy and instances: what starts others may need a second round.
        for _ in 0..20 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for (pid, _) in left {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs git as `dev`; returns what it said.
pub(crate) fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=dev", "-c", "user.email=dev@example.org"])
        .args(["-c", "commit.gpgsign=false"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
