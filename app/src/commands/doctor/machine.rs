//! What can be said of this machine without a server.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use trimtab_api::{Check, CheckState};
use trimtab_project::Server;

/// Less room than this is a failure: the next build or flush will not fit.
const ROOM_BYTES_MIN: u64 = 200 << 20;
/// Less than this is worth a word.
const ROOM_BYTES_WANTED: u64 = 2 << 30;
/// A file from further in the future means that the clock went back.
const AHEAD_MAX: Duration = Duration::from_secs(120);
/// The clock of a machine that never learnt the time is before this (2025-01-01).
const SENSIBLE: Duration = Duration::from_secs(1_735_689_600);

pub(super) fn check(name: &str, state: CheckState, text: impl Into<String>, mend: &str) -> Check {
    Check {
        name: name.to_owned(),
        state,
        text: text.into(),
        mend: mend.to_owned(),
    }
}

pub(super) fn git() -> Check {
    let answer = Command::new("git").arg("--version").output();
    match answer {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            check("git", CheckState::Ok, text, "")
        }
        Ok(output) => check(
            "git",
            CheckState::Failed,
            format!("git --version ended with {}", output.status),
            "install git again: apt install --reinstall git",
        ),
        Err(error) => check(
            "git",
            CheckState::Failed,
            format!("cannot be run: {error}"),
            "install it: apt install git",
        ),
    }
}

/// A clock before the newest file of the data folder went back, which confuses every deadline.
pub(super) fn clock(data: &Path) -> Check {
    let mend = "set the clock and keep it set: timedatectl set-ntp true";
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since < SENSIBLE {
        let text = format!("shows {} s since 1970, which is long past", since.as_secs());
        return check("clock", CheckState::Failed, text, mend);
    }
    let newest = ["journal.db", "journal.db-wal", "outbox.db-wal", "routing.json"]
        .iter()
        .filter_map(|name| fs::metadata(data.join(name)).ok()?.modified().ok())
        .max();
    match newest.and_then(|newest| newest.duration_since(now).ok()) {
        Some(ahead) if ahead > AHEAD_MAX => {
            let text = format!(
                "is {} s behind the newest file of the data folder",
                ahead.as_secs()
            );
            check("clock", CheckState::Failed, text, mend)
        }
        _ => check("clock", CheckState::Ok, "agrees with the data folder", ""),
    }
}

pub(super) fn folder(data: &Path) -> Vec<Check> {
    let shown = data.display();
    let name = "data folder";
    let metadata = match fs::metadata(data) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let text = format!("{shown} is no folder");
            return vec![check(
                name,
                CheckState::Failed,
                text,
                "name another one with --data",
            )];
        }
        Err(error) => {
            let text = format!("{shown}: {error}");
            let mend = "start the server, which makes it, or name another one with --data";
            return vec![check(name, CheckState::Warning, text, mend)];
        }
    };
    let mut checks = Vec::new();
    let trial = data.join(format!(".doctor-{}", std::process::id()));
    let written = fs::write(&trial, b"trial").and_then(|()| fs::remove_file(&trial));
    checks.push(match written {
        Ok(()) => check(name, CheckState::Ok, format!("{shown} can be written to"), ""),
        Err(error) => {
            let mend = format!(
                "chown -R \"$USER\" {shown}, or run as the user with number {}",
                metadata.uid()
            );
            let text = format!("{shown} cannot be written to: {error}");
            check(name, CheckState::Failed, text, &mend)
        }
    });
    checks.extend(keys(&data.join("keys")));
    checks
}

/// Keys that others may read are no keys.
fn keys(folder: &Path) -> Option<Check> {
    let mut open = Vec::new();
    for entry in fs::read_dir(folder).ok()?.filter_map(Result::ok) {
        let mode = entry.metadata().map_or(0, |file| file.permissions().mode());
        if mode & 0o077 != 0 {
            open.push(format!(
                "{} ({:o})",
                entry.file_name().to_string_lossy(),
                mode & 0o777
            ));
        }
    }
    open.sort();
    Some(if open.is_empty() {
        check("keys", CheckState::Ok, "readable by their owner alone", "")
    } else {
        let text = format!("others may read {}", open.join(", "));
        let mend = format!("chmod 600 {}/*", folder.display());
        check("keys", CheckState::Failed, text, &mend)
    })
}

pub(super) fn room(data: &Path) -> Check {
    let name = "disk space";
    match rustix::fs::statvfs(data) {
        Ok(found) => of_room(found.f_bavail.saturating_mul(found.f_frsize)),
        Err(error) => check(name, CheckState::Warning, format!("is not known: {error}"), ""),
    }
}

fn of_room(bytes: u64) -> Check {
    let text = format!("{} MB free", bytes / 1_000_000);
    let mend = "free some space, or set retention.size_max in trimtab-server.yaml";
    match bytes {
        ..ROOM_BYTES_MIN => check("disk space", CheckState::Failed, text, mend),
        ROOM_BYTES_MIN..ROOM_BYTES_WANTED => check("disk space", CheckState::Warning, text, mend),
        ROOM_BYTES_WANTED.. => check("disk space", CheckState::Ok, text, ""),
    }
}

/// Reads the whole journal, also while a server has it open.
pub(super) async fn journal(path: &Path) -> Check {
    let name = "journal";
    if !path.exists() {
        return check(name, CheckState::Ok, "there is none yet; the server makes it", "");
    }
    let mend = "restore a backup, or save what is readable: trimtab doctor --salvage journal-salvaged.db (docs/journal.md)";
    match trimtab_journal::examine(path).await {
        Ok(found) if found.problem_count == 0 => {
            let text = format!("{} events in {} streams, all whole", found.events, found.streams);
            check(name, CheckState::Ok, text, "")
        }
        Ok(found) => {
            let mut text = format!(
                "{} problems, {} events are readable: {}",
                found.problem_count,
                found.events,
                found.problems.join("; ")
            );
            text.truncate(text.floor_char_boundary(1_000));
            check(name, CheckState::Failed, text, mend)
        }
        Err(error) => check(name, CheckState::Failed, error.to_string(), mend),
    }
}

/// The proxy outlives the server, so it is asked for by itself.
pub(super) fn proxy(data: &Path) -> Check {
    let socket = data.join("proxy").join("control.sock");
    if !socket.exists() {
        return check(
            "proxy",
            CheckState::Ok,
            "was not started yet; the server starts it",
            "",
        );
    }
    match UnixStream::connect(&socket) {
        Ok(_) => check("proxy", CheckState::Ok, "its worker answers", ""),
        Err(error) => check(
            "proxy",
            CheckState::Failed,
            format!("{}: {error}", socket.display()),
            "start the server: it adopts the proxy, or starts it anew",
        ),
    }
}

/// Whether a server could listen where its configuration says; what a running one holds is its own.
pub(super) fn ports(config: &Path, named: bool, serves: bool) -> Vec<Check> {
    let server = match crate::serve::settings::read(config, named) {
        Ok(server) => server,
        Err(error) => {
            let mend = format!("mend {}", config.display());
            return vec![check(
                "configuration",
                CheckState::Failed,
                format!("{error:#}"),
                &mend,
            )];
        }
    };
    let mut checks = vec![check("configuration", CheckState::Ok, "has no mistakes", "")];
    if !serves {
        checks.extend(
            addresses(&server)
                .into_iter()
                .map(|(field, address)| port(field, address)),
        );
    }
    checks
}

fn addresses(server: &Server) -> Vec<(&'static str, SocketAddr)> {
    let mut addresses = vec![
        ("listen", server.listen),
        ("otlp_grpc", server.otlp_grpc),
        ("otlp_http", server.otlp_http),
        ("traffic", server.traffic),
    ];
    addresses.extend(server.traffic_tls.map(|address| ("traffic_tls", address)));
    addresses
}

fn port(field: &str, address: SocketAddr) -> Check {
    let name = format!("port {}", address.port());
    match TcpListener::bind(address) {
        Ok(_) => check(&name, CheckState::Ok, format!("is free for {field}"), ""),
        // The proxy serves users on while there is no server.
        Err(error) if field.starts_with("traffic") && error.kind() == std::io::ErrorKind::AddrInUse => check(
            &name,
            CheckState::Warning,
            format!("is in use, by Trimtab's own proxy or by another program, and {field} needs it"),
            &format!("ss -ltnp 'sport = :{}' says whose it is", address.port()),
        ),
        Err(error) => check(
            &name,
            CheckState::Failed,
            format!("cannot be listened on for {field}: {error}"),
            &format!(
                "see whose it is (ss -ltnp 'sport = :{}'), or set {field} in trimtab-server.yaml",
                address.port()
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
