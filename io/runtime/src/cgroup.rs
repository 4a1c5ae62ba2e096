//! Control groups: what an instance may use, kept by the kernel.
//!
//! Version 2 where its controllers are to be had, else version 1. Groups lie beneath the group of the control process,
//! which must be its to divide: root, or a unit with `Delegate=yes`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Limits;

/// Microseconds over which processor time is shared out.
const PERIOD_US: u64 = 100_000;
/// Where version 2 moves the control process to: a group with groups beneath has no processes of its own.
const OWN_GROUP: &str = "trimtab-serve";
const NOTHING: &str = "this machine has no control groups that may be divided; run trimtab as root, or as a systemd \
    unit with Delegate=yes";
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Where groups can be made on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hierarchy {
    /// One tree; the controllers that it has.
    V2 { base: PathBuf, controllers: Vec<String> },
    /// A tree for each controller: its name and the folder.
    V1 { bases: Vec<(String, PathBuf)> },
}

impl Hierarchy {
    /// What this machine has; the reason for people when it has nothing.
    pub(crate) fn find() -> Result<Hierarchy, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let refused = match v2_base(&mounts, &groups).map(prepare_v2) {
            Some(Ok(hierarchy)) => return Ok(hierarchy),
            Some(Err(reason)) => Some(reason),
            None => None,
        };
        let bases: Vec<_> = v1_bases(&mounts, &groups)
            .into_iter()
            .filter(|(_, base)| is_writable(base))
            .collect();
        if !bases.is_empty() {
            return Ok(Hierarchy::V1 { bases });
        }
        Err(refused.unwrap_or_else(|| NOTHING.to_owned()))
    }

    /// Which version [`Hierarchy::find`] would choose, without making anything ready.
    pub(crate) fn offered() -> Result<&'static str, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let offers = |base: &PathBuf| {
            let offered = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
            is_writable(base)
                && CONTROLLERS
                    .iter()
                    .any(|name| offered.split_whitespace().any(|have| have == *name))
        };
        if v2_base(&mounts, &groups).is_some_and(|base| offers(&base)) {
            return Ok("cgroup v2");
        }
        if v1_bases(&mounts, &groups)
            .iter()
            .any(|(_, base)| is_writable(base))
        {
            return Ok("cgroup v1");
        }
        Err(NOTHING.to_owned())
    }

    pub(crate) fn version(&self) -> &'static str {
        match self {
            Hierarchy::V2 { .. } => "cgroup v2",
            Hierarchy::V1 { .. } => "cgroup v1",
        }
    }

    fn base(&self, controller: &str) -> Option<&Path> {
        match self {
            Hierarchy::V2 { base, controllers } => controllers
                .iter()
                .any(|have| have == controller)
                .then_some(base.as_path()),
            Hierarchy::V1 { bases } => bases
                .iter()
                .find(|(name, _)| name == controller)
                .map(|(_, base)| base.as_path()),
        }
    }
}

/// The group of version 2 that this process is in.
fn v2_base(mounts: &str, groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, point, _) = mounts
        .lines()
        .filter_map(mount)
        .find(|(_, _, kind)| kind.starts_with("cgroup2 "))?;
    Some(beneath(&point, &root, path))
}

fn v1_bases(mounts: &str, groups: &str) -> Vec<(String, PathBuf)> {
    let find = |controller: &str| {
        let path = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            names.split(',').any(|name| name == controller).then_some(path)
        })?;
        let (root, point, _) = mounts.lines().filter_map(mount).find(|(_, _, kind)| {
            kind.strip_prefix("cgroup ")
                .is_some_and(|options| options.split([',', ' ']).any(|option| option == controller))
        })?;
        Some((controller.to_owned(), beneath(&point, &root, path)))
    };
    CONTROLLERS.into_iter().filter_map(find).collect()
}

/// Root, mount point, and kind with its options, of a line of `/proc/self/mountinfo`.
fn mount(line: &str) -> Option<(String, String, String)> {
    let (front, back) = line.split_once(" - ")?;
    let fields: Vec<&str> = front.split(' ').collect();
    let (kind, rest) = back.split_once(' ')?;
    let options = rest.split_once(' ').map_or("", |(_, options)| options);
    Some((
        (*fields.get(3)?).to_owned(),
        (*fields.get(4)?).to_owned(),
        format!("{kind} {options}"),
    ))
}

/// A group's folder. In a container the mount may show a part of the tree alone.
fn beneath(point: &str, root: &str, path: &str) -> PathBuf {
    let inside = if root == "/" {
        Some(path)
    } else {
        path.strip_prefix(root)
    };
    Path::new(point).join(inside.unwrap_or("").trim_start_matches('/'))
}

fn is_writable(base: &Path) -> bool {
    rustix::fs::access(base, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Makes `base` ready to be divided.
fn prepare_v2(base: PathBuf) -> Result<Hierarchy, String> {
    // The control process and shims that it started before are in the group made for them.
    let base = match base.file_name() {
        Some(name) if name == OWN_GROUP => base.parent().map_or(base.clone(), Path::to_owned),
        _ => base,
    };
    let offered = fs::read_to_string(base.join("cgroup.controllers"))
        .map_err(|error| format!("{} cannot be read: {error}", base.display()))?;
    let controllers: Vec<String> = CONTROLLERS
        .iter()
        .filter(|name| offered.split_whitespace().any(|have| have == **name))
        .map(|name| (*name).to_owned())
        .collect();
    if controllers.is_empty() {
        return Err(format!(
            "{} offers none of {}",
            base.display(),
            CONTROLLERS.join(", ")
        ));
    }
    let refused = |error: std::io::Error| {
        format!(
            "{} may not be divided ({error}); run trimtab as root, or as a systemd unit with Delegate=yes",
            base.display()
        )
    };
    let enabled = fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
    let missing: Vec<&String> = controllers
        .iter()
        .filter(|name| !enabled.split_whitespace().any(|have| have == name.as_str()))
        .collect();
    if !missing.is_empty() {
        let own = base.join(OWN_GROUP);
        fs::create_dir_all(&own).map_err(refused)?;
        for pid in fs::read_to_string(base.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
        {
            // One that ended meanwhile is fine; the root group keeps what cannot be moved.
            let _ = fs::write(own.join("cgroup.procs"), pid);
        }
        for name in missing {
            fs::write(base.join("cgroup.subtree_control"), format!("+{name}")).map_err(refused)?;
        }
    }
    Ok(Hierarchy::V2 { base, controllers })
}

/// The groups of one instance; their folders are removed with it.
#[derive(Debug)]
pub(crate) struct Group {
    folders: Vec<PathBuf>,
    memory: Option<PathBuf>,
    v2: bool,
    kills: u64,
}

/// A group's name: told apart from those of another data folder by the instance's mark.
pub(crate) fn name(instance: &str, mark: &str) -> String {
    format!("trimtab-{instance}-{}", mark.get(..8).unwrap_or(mark))
}

impl Group {
    /// Makes the groups for `limits`, and tells which of them cannot be kept, and why.
    pub(crate) fn make(hierarchy: &Hierarchy, name: &str, limits: &Limits) -> (Group, Vec<String>) {
        let v2 = matches!(hierarchy, Hierarchy::V2 { .. });
        let mut group = Group {
            folders: Vec::new(),
            memory: None,
            v2,
            kills: 0,
        };
        let mut missing = Vec::new();
        let wanted = [
            ("memory", limits.memory.map(|bytes| memory(v2, bytes))),
            ("cpu", limits.cpu_millis.map(|millis| cpu(v2, millis))),
            (
                "pids",
                limits
                    .processes
                    .map(|count| vec![("pids.max", count.to_string(), true)]),
            ),
        ];
        for (controller, writes) in wanted {
            let Some(writes) = writes else { continue };
            let label = if controller == "pids" {
                "processes"
            } else {
                controller
            };
            let Some(base) = hierarchy.base(controller) else {
                missing.push(format!("{label} (no such controller here)"));
                continue;
            };
            let folder = base.join(name);
            if let Err(error) = write_all(&folder, &writes) {
                missing.push(format!("{label} ({error})"));
                continue;
            }
            if controller == "memory" {
                group.memory = Some(folder.clone());
            }
            if !group.folders.contains(&folder) {
                group.folders.push(folder);
            }
        }
        group.kills = group.kills_so_far();
        (group, missing)
    }

    /// In how many hierarchies it is.
    pub(crate) fn count(&self) -> usize {
        self.folders.len()
    }

    /// Moves a process in; what it starts from then on is in as well.
    pub(crate) fn take_in(&self, pid: u32) -> std::io::Result<()> {
        for folder in &self.folders {
            fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Whether the kernel killed a process of it for want of memory since this was last asked.
    pub(crate) fn ran_out_of_memory(&mut self) -> bool {
        let kills = self.kills_so_far();
        let before = std::mem::replace(&mut self.kills, kills);
        kills > before
    }

    fn kills_so_far(&self) -> u64 {
        let Some(folder) = &self.memory else { return 0 };
        let file = if self.v2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Refused while a process is in it; the next start of the control process tries again.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Removes the groups of an instance whose shim is gone.
pub(crate) fn remove(hierarchy: &Hierarchy, name: &str) {
    for base in CONTROLLERS
        .iter()
        .filter_map(|controller| hierarchy.base(controller))
    {
        let _ = fs::remove_dir(base.join(name));
    }
}

/// A file of a group, what is written there, and whether the limit stands and falls with it.
type Write = (&'static str, String, bool);

fn memory(v2: bool, bytes: u64) -> Vec<Write> {
    let bytes = bytes.to_string();
    if v2 {
        vec![
            ("memory.max", bytes, true),
            // Swapping would hide that it needs more.
            ("memory.swap.max", "0".to_owned(), false),
            // A service whose worker was killed under it is seldom whole.
            ("memory.oom.group", "1".to_owned(), false),
        ]
    } else {
        vec![
            ("memory.limit_in_bytes", bytes.clone(), true),
            ("memory.memsw.limit_in_bytes", bytes, false),
        ]
    }
}

fn cpu(v2: bool, millis: u32) -> Vec<Write> {
    // The kernel takes no less than a millisecond.
    let quota = (u64::from(millis) * PERIOD_US / 1000).max(1000);
    if v2 {
        vec![("cpu.max", format!("{quota} {PERIOD_US}"), true)]
    } else {
        vec![
            ("cpu.cfs_period_us", PERIOD_US.to_string(), true),
            ("cpu.cfs_quota_us", quota.to_string(), true),
        ]
    }
}

fn write_all(folder: &Path, writes: &[Write]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (file, text, needed) in writes {
        match fs::write(folder.join(file), text) {
            Err(error) if *needed => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
