//! Ports for instances, and who listens on them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::process_table;

/// Lowest and highest port given. They lie below the kernel's range for outgoing connections (32768 and up), so
/// that none of those takes a port between its choice and its use.
pub(crate) const PORTS: (u16, u16) = (20_000, 31_999);

/// Ports tried before giving up.
const TRIES_MAX: usize = 2_000;

/// The loopback address of `port`.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Whether a server could listen on `port` now.
pub(crate) fn is_free(port: u16) -> bool {
    // All addresses: a service may bind to 0.0.0.0.
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// A port that is free now: `wish` if it is, else one by chance, so that several runtimes rarely meet.
pub(crate) fn find(wish: Option<u16>) -> Option<u16> {
    let fits = |port: &u16| (PORTS.0..=PORTS.1).contains(port) && is_free(*port);
    wish.filter(fits).or_else(|| {
        std::iter::repeat_with(|| fastrand::u16(PORTS.0..=PORTS.1))
            .take(TRIES_MAX)
            .find(fits)
    })
}

/// Whether a process of `group` listens on `port`.
pub(crate) fn is_listening(group: u32, port: u16) -> bool {
    let sockets = listeners(port);
    if sockets.is_empty() {
        return false;
    }
    let members: Vec<u32> = process_table::all()
        .into_iter()
        .filter(|stat| stat.group == group)
        .map(|stat| stat.pid)
        .collect();
    members
        .iter()
        .any(|pid| match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => entries
                .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                .any(|target| {
                    target
                        .to_str()
                        .is_some_and(|target| sockets.iter().any(|socket| socket == target))
                }),
            // Another user's process: its descriptors are hidden, so the port must do.
            Err(_) => true,
        })
}

/// Sockets that listen on `port`, as `/proc/PID/fd` names them.
fn listeners(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        // Listening sockets come first in the table, so that a busy machine's connections aren't looked at.
        let rows = text
            .lines()
            .skip(1)
            .map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
        for row in rows.take_while(|row| row.get(3) == Some(&LISTEN)) {
            let local = row
                .get(1)
                .and_then(|local| local.rsplit_once(':'))
                .map(|(_, port)| port);
            if local.and_then(|local| u16::from_str_radix(local, 16).ok()) == Some(port) {
                found.extend(row.get(9).map(|inode| format!("socket:[{inode}]")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn finds_free_ports_and_who_listens() {
        let port = find(None).unwrap();
        let group = process_table::Stat::of(std::process::id()).unwrap().group;
        assert!(!is_listening(group, port));
        let listener = TcpListener::bind(loopback(port)).unwrap();
        assert!(!is_free(port));
        assert!(is_listening(group, port));
        assert!(!is_listening(1, port), "another group's listener doesn't count");
        assert_ne!(
            find(Some(port)),
            Some(port),
            "a taken port is not given, though wished"
        );
        drop(listener);
    }
}
