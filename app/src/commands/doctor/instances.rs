//! What instances find on this machine: control groups for their limits, an engine for their images.

use std::os::unix::net::UnixStream;
use std::path::Path;

use trimtab_api::{Check, CheckState};

use super::machine::check;

/// How limits are kept.
pub(super) fn limits() -> Check {
    match trimtab_runtime::limits_kept_by() {
        Ok(how) => check(
            "limits",
            CheckState::Ok,
            format!("`run.limits` are kept by {how}"),
            "",
        ),
        Err(reason) => check(
            "limits",
            CheckState::Warning,
            format!("`run.limits` are kept in part alone: {reason}"),
            "run trimtab serve as root, or as a systemd unit with Delegate=yes",
        ),
    }
}

/// The engine, if the server's file names one.
pub(super) fn engine(config: &Path, named: bool) -> Option<Check> {
    let server = crate::serve::settings::read(config, named).ok()?;
    let socket = server.docker?.socket;
    Some(match UnixStream::connect(&socket) {
        Ok(_) => check("docker", CheckState::Ok, format!("{socket} answers"), ""),
        Err(error) => check(
            "docker",
            CheckState::Failed,
            format!("{socket}: {error}"),
            "start the engine, or let this user use its socket",
        ),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn an_engine_is_looked_at_when_the_file_names_one() {
        let dir = tempfile::tempdir().unwrap();
        let (config, socket) = (dir.path().join("server.yaml"), dir.path().join("engine.sock"));
        std::fs::write(&config, "{}").unwrap();
        assert!(engine(&config, true).is_none());
        std::fs::write(&config, format!("docker: {{socket: {socket:?}}}")).unwrap();
        assert_eq!(engine(&config, true).unwrap().state, CheckState::Failed);
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(engine(&config, true).unwrap().state, CheckState::Ok);
        assert!(limits().text.contains("`run.limits`"));
    }
}
