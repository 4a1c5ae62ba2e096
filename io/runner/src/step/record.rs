//! What is written down of a running step, so that it is found when nobody waits for it any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// Version of the record's format.
const RECORD_VERSION: u32 = 1;
/// Marks every process of a step, whatever group or session it moves to.
pub(super) const MARK: &str = "TRIMTAB_STEP";
/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    step: String,
    mark: String,
    pid: Option<u32>,
    start_ticks: Option<u64>,
}

/// A step's record; whoever drops it kills what is left of the step.
#[derive(Debug)]
pub(super) struct Recorded {
    path: PathBuf,
    record: Record,
}

impl Recorded {
    /// Written before the process is started, so that no moment is without one.
    pub(super) fn begin(records: &Path, step: &str) -> io::Result<Self> {
        fs::create_dir_all(records)?;
        let mark = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let record = Record {
            version: RECORD_VERSION,
            step: step.to_owned(),
            mark,
            pid: None,
            start_ticks: None,
        };
        let recorded = Recorded {
            path: records.join(format!("step-{}.json", record.mark)),
            record,
        };
        recorded.write()?;
        Ok(recorded)
    }

    fn write(&self) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec(&self.record)?)?;
        fs::rename(temporary, &self.path)
    }

    pub(super) fn mark(&self) -> &str {
        &self.record.mark
    }

    /// Adds the process that leads the step's group.
    pub(super) fn started(&mut self, pid: u32) -> io::Result<()> {
        self.record.pid = Some(pid);
        self.record.start_ticks = start_ticks(pid);
        self.write()
    }

    /// Signals the step's group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.record.pid.and_then(as_pid) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        for pid in marked(&self.record.mark) {
            kill(pid);
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// See [`crate::reap_stale`].
pub(super) fn reap(records: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(records) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut steps = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if !name.starts_with("step-") {
            continue;
        }
        // Half a record names no process: it was being written before one was started.
        if let Ok(record) = serde_json::from_slice::<Record>(&fs::read(&path)?) {
            kill_all(&record);
            steps.push(record.step);
        }
        fs::remove_file(&path)?;
    }
    steps.sort();
    Ok(steps)
}

fn kill_all(record: &Record) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let leader = record
            .pid
            .filter(|pid| start_ticks(*pid).is_some() && start_ticks(*pid) == record.start_ticks);
        let rest = marked(&record.mark);
        if (leader.is_none() && rest.is_empty()) || Instant::now() > deadline {
            return;
        }
        if let Some(group) = leader.and_then(as_pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        rest.into_iter().for_each(kill);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok().filter(|pid| *pid > 1)?)
}

fn kill(pid: u32) {
    if let Some(pid) = as_pid(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// When a living process was started, in ticks since the machine was.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let lives = !matches!(fields.first(), Some(&("Z" | "X")));
    lives.then(|| fields.get(19)?.parse().ok())?
}

/// Living processes that bear the mark in their environment.
fn marked(mark: &str) -> Vec<u32> {
    let entry = format!("{MARK}={mark}");
    let bears = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ
                .split(|byte| *byte == 0)
                .any(|have| have == entry.as_bytes())
        })
    };
    let pids = fs::read_dir("/proc").into_iter().flatten();
    pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(bears)
        .filter(|pid| start_ticks(*pid).is_some())
        .collect()
}
