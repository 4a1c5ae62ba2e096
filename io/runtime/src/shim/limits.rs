//! What the instance may use, and how that is kept.

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Group};
use crate::folder::SpecFile;

/// How long a process waits before its program to be taken into its group.
const TAKEN_IN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Keeps the limits of an instance from process to process.
pub(super) struct LimitKeeper {
    group: Option<Group>,
    stage: Stage,
    note: Option<String>,
    memory: Option<u64>,
}

/// What the stage before the program has to see to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Stage {
    /// The group to wait for, and in how many hierarchies.
    group: Option<(String, usize)>,
    /// Most bytes of data of each process, where no group keeps the memory.
    data_bytes: Option<u64>,
    /// Most processes of its user, where no group keeps them.
    processes: Option<u32>,
}

impl LimitKeeper {
    /// Sees to the limits of the spec as well as this machine allows.
    pub(super) fn new(file: &SpecFile, mark: &str) -> LimitKeeper {
        let spec = &file.spec;
        let mut keeper = LimitKeeper {
            group: None,
            stage: Stage::default(),
            note: None,
            memory: spec.limits.memory,
        };
        if spec.limits.is_empty() {
            return keeper;
        }
        let (how, missing) = match &file.cgroups {
            Some(hierarchy) => {
                let name = cgroup::name(spec.id.as_str(), mark);
                let (group, missing) = Group::make(hierarchy, &name, &spec.limits);
                keeper.stage.group = (group.count() > 0).then(|| (name, group.count()));
                keeper.group = Some(group);
                (format!("kept by {}", hierarchy.version()), missing)
            }
            None => {
                let reason = file.cgroups_missing.clone().unwrap_or_default();
                (format!("without control groups ({reason})"), wanted(spec))
            }
        };
        let mut note = vec![how];
        for missed in missing {
            note.push(keeper.fall_back(spec, &missed));
        }
        keeper.note = Some(note.join("; "));
        keeper
    }

    /// The next best for a limit that no group keeps; says what it is.
    fn fall_back(&mut self, spec: &crate::InstanceSpec, missed: &str) -> String {
        let own_user = spec
            .user
            .as_ref()
            .is_some_and(|user| user != "root" && !user.starts_with('0'));
        if missed.starts_with("memory") {
            self.stage.data_bytes = spec.limits.memory;
            format!("{missed}: each process's data is held below it")
        } else if missed.starts_with("processes") && own_user {
            self.stage.processes = spec.limits.processes;
            format!("{missed}: all processes of its user together are held below it")
        } else {
            format!("{missed}: NOT KEPT")
        }
    }

    pub(super) fn note(&self) -> Option<String> {
        self.note.clone()
    }

    pub(super) fn stage_word(&self) -> String {
        serde_json::to_string(&self.stage).unwrap_or_default()
    }

    pub(super) fn take_in(&self, pid: u32) -> std::io::Result<()> {
        self.group.as_ref().map_or(Ok(()), |group| group.take_in(pid))
    }

    /// Why the last process ended, if it was for a limit.
    pub(super) fn reason(&mut self) -> Option<String> {
        let killed = self.group.as_mut().is_some_and(Group::ran_out_of_memory);
        killed.then(|| {
            let megabytes = self.memory.unwrap_or(0) as f64 / 1e6;
            format!("out of memory: it went over its limit of {megabytes:.0} MB")
        })
    }
}

fn wanted(spec: &crate::InstanceSpec) -> Vec<String> {
    let limits = &spec.limits;
    [
        ("memory", limits.memory.is_some()),
        ("cpu", limits.cpu_millis.is_some()),
        ("processes", limits.processes.is_some()),
    ]
    .into_iter()
    .filter(|(_, wanted)| *wanted)
    .map(|(name, _)| name.to_owned())
    .collect()
}

impl Stage {
    pub(super) fn parse(word: &str) -> Stage {
        serde_json::from_str(word).unwrap_or_default()
    }

    /// Waits to be in the group and sets the limits of this process, which is about to become the program.
    pub(super) fn enter(&self) -> Result<(), String> {
        if let Some((group, count)) = &self.group {
            let deadline = std::time::Instant::now() + TAKEN_IN_PATIENCE;
            while !is_in(group, *count) {
                if std::time::Instant::now() > deadline {
                    return Err(format!("it was not taken into its control group {group}"));
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        let set = |resource, limit: Option<u64>| {
            let Some(limit) = limit else { return Ok(()) };
            let limit = Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            };
            setrlimit(resource, limit).map_err(|error| format!("a limit cannot be set: {error}"))
        };
        set(Resource::Data, self.data_bytes)?;
        set(Resource::Nproc, self.processes.map(u64::from))
    }
}

/// Whether this process is in that group in so many hierarchies.
fn is_in(group: &str, count: usize) -> bool {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let lines = text.lines();
    lines
        .filter(|line| line.rsplit('/').next() == Some(group))
        .count()
        >= count
}
