//! The proxy as a program of its own, which outlives `serve` and is upgraded apart from it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use trimtab_api::{Done, Fault};
use trimtab_model::Actor;

use super::commands::done;
use super::{AppBackend, unavailable};

/// What the kernel adds to the name of a running program whose file was replaced.
const REPLACED: &[u8] = b" (deleted)";

impl AppBackend {
    /// A worker of the program that is installed now takes over; the one before drains.
    pub(super) async fn upgrade_proxy(&self, by: Actor, comment: &str) -> Result<Done, Fault> {
        let program = installed(&std::env::current_exe().map_err(unavailable)?);
        let proxy = self.world.traffic.proxy();
        let before = proxy.status().await.map_err(unavailable)?;
        proxy.upgrade(program.clone()).await.map_err(|error| {
            Fault::conflict(
                format!("{error}; worker {} serves on", before.worker_pid),
                "see `trimtab doctor`, and the proxy's log in the data folder",
            )
        })?;
        let after = proxy.status().await.map_err(unavailable)?;
        let body = serde_json::json!({
            "program": program, "version": after.worker_version, "worker": after.worker_pid,
            "before": {"version": before.worker_version, "worker": before.worker_pid}, "comment": comment,
        });
        self.write("proxy", "proxy.upgraded", by, body).await?;
        let message = format!(
            "worker {} (version {}) serves; worker {} (version {}) drains",
            after.worker_pid, after.worker_version, before.worker_pid, before.worker_version
        );
        Ok(done(message, &after.worker_pid.to_string(), "/services"))
    }
}

/// The file of a running program as it is called now, also when it was replaced meanwhile.
fn installed(running: &Path) -> PathBuf {
    let name = running.as_os_str().as_bytes();
    let name = name.strip_suffix(REPLACED).unwrap_or(name);
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_found_by_its_name() {
        let plain = Path::new("/usr/bin/trimtab");
        assert_eq!(installed(plain), plain);
        assert_eq!(installed(Path::new("/usr/bin/trimtab (deleted)")), plain);
    }
}
