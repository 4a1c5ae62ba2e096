//! Processes as the kernel lists them in `/proc`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// What `/proc/PID/stat` says of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) state: u8,
    /// User and system time of itself and of the children it waited for.
    pub(crate) cpu_ticks: u64,
    pub(crate) threads: u32,
    pub(crate) start_ticks: u64,
    pub(crate) rss_pages: u64,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Stat> {
        // The name is in parentheses and may hold anything, also spaces and parentheses.
        let (head, tail) = text.rsplit_once(')')?;
        let pid = head.split('(').next()?.trim().parse().ok()?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        Some(Stat {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            parent: number(1)? as u32,
            group: number(2)? as u32,
            cpu_ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            threads: number(17)? as u32,
            start_ticks: number(19)?,
            rss_pages: number(21).unwrap_or(0),
        })
    }

    /// Neither a zombie nor dead.
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// All processes that this one may see.
pub(crate) fn all() -> Vec<Stat> {
    pids().into_iter().filter_map(Stat::of).collect()
}

fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// A process for ever: its number alone is used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) boot: String,
}

impl ProcessId {
    /// None when it is gone already.
    pub(crate) fn of(pid: u32) -> Option<ProcessId> {
        let stat = Stat::of(pid)?;
        Some(ProcessId {
            pid,
            start_ticks: stat.start_ticks,
            boot: boot(),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.boot == boot()
            && Stat::of(self.pid).is_some_and(|stat| stat.lives() && stat.start_ticks == self.start_ticks)
    }
}

fn boot() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Signals one process; a process that is gone is fine.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Signals a process group; a group that is gone is fine.
pub(crate) fn signal_group(group: u32, signal: Signal) {
    // Never 0 or 1: those would mean our own group or every process.
    if let Some(pid) = as_pid(group).filter(|_| group > 1) {
        let _ = kill_process_group(pid, signal);
    }
}

/// Living processes whose environment holds `entry` (`NAME=value`), whatever group or session they moved to.
pub(crate) fn marked(entry: &str) -> Vec<u32> {
    let bears = |pid: &u32| {
        fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).is_ok_and(|environ| {
            environ
                .split(|byte| *byte == 0)
                .any(|have| have == entry.as_bytes())
        })
    };
    pids()
        .into_iter()
        .filter(bears)
        .filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.lives()))
        .collect()
}

/// Kills the group that `leader` leads, if it is still the process it was, and all that bear `mark`; whether any were
/// found. Returns when they are gone, at most a few seconds later.
pub(crate) fn kill_leftovers(leader: Option<&ProcessId>, mark: &str) -> bool {
    const PATIENCE: Duration = Duration::from_secs(3);
    let deadline = Instant::now() + PATIENCE;
    let mut found = false;
    loop {
        let led = leader.filter(|leader| leader.is_alive());
        let rest = marked(mark);
        if led.is_none() && rest.is_empty() {
            return found;
        }
        found = true;
        if let Some(leader) = led {
            signal_group(leader.pid, Signal::KILL);
        }
        for pid in rest {
            signal(pid, Signal::KILL);
        }
        if Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn reads_itself() {
        let me = std::process::id();
        let stat = Stat::of(me).unwrap();
        assert_eq!(stat.pid, me);
        assert!(stat.lives() && stat.threads >= 1 && stat.rss_pages > 0);
        assert!(ProcessId::of(me).unwrap().is_alive());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = "7 (a) R 1 (b) S 3 7 7 0 -1 0 0 0 0 0 5 6 7 8 20 0 2 0 99 1000 42 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.group, stat.state), (7, 3, 7, b'S'));
        assert_eq!(
            (stat.cpu_ticks, stat.threads, stat.start_ticks, stat.rss_pages),
            (26, 2, 99, 42)
        );
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let mut id = ProcessId::of(std::process::id()).unwrap();
        id.start_ticks += 1;
        assert!(!id.is_alive());
    }
}
