//! The folder of one instance: what the control process and the shim tell each other through the disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::{self, Hierarchy};
use crate::process_table::{ProcessId, kill_leftovers};
use crate::{Instance, InstanceSpec, InstanceState, RuntimeError};

/// Version of `spec.json` and `state.json`.
const FOLDER_VERSION: u32 = 1;

/// Marks every process of an instance, so that none is overlooked after a crash.
pub(crate) const MARK: &str = "TRIMTAB_SHIM";

/// What the control process wants; read by the shim at its start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SpecFile {
    pub(crate) version: u32,
    pub(crate) spec: InstanceSpec,
    /// The words that lead to [`crate::shim::main`] in the shim's own program.
    pub(crate) shim_args: Vec<String>,
    /// Where the control process finds programs.
    pub(crate) search_path: String,
    /// Where groups for its limits can be made, or why nowhere; neither when it has no limits.
    #[serde(default)]
    pub(crate) cgroups: Option<Hierarchy>,
    #[serde(default)]
    pub(crate) cgroups_missing: Option<String>,
}

/// What the shim does; written by it at each change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StateFile {
    pub(crate) version: u32,
    pub(crate) shim: ProcessId,
    pub(crate) child: Option<ProcessId>,
    /// The value of [`MARK`] in the environment of its processes.
    pub(crate) mark: String,
    pub(crate) instance: Instance,
}

/// A folder that may or may not exist.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Folder { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Where the shim's own standard output goes, which is empty unless it fails.
    pub(crate) fn shim_output(&self) -> PathBuf {
        self.path.join("shim.out")
    }

    pub(crate) fn create(&self) -> Result<(), RuntimeError> {
        // The spec holds the instance's tokens: nobody else may look.
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(RuntimeError::file("make", &self.path))
    }

    pub(crate) fn remove(&self) -> Result<(), RuntimeError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(RuntimeError::file("remove", &self.path)),
        }
    }

    pub(crate) fn spec(&self) -> Result<Option<SpecFile>, RuntimeError> {
        self.read("spec.json", |file: &SpecFile| file.version)
    }

    pub(crate) fn state(&self) -> Result<Option<StateFile>, RuntimeError> {
        self.read("state.json", |file: &StateFile| file.version)
    }

    pub(crate) fn write_spec(
        &self,
        spec: InstanceSpec,
        shim_args: Vec<String>,
        search_path: String,
    ) -> Result<(), RuntimeError> {
        let (cgroups, cgroups_missing) = match spec.limits.is_empty() {
            true => (None, None),
            false => match Hierarchy::find() {
                Ok(hierarchy) => (Some(hierarchy), None),
                Err(reason) => (None, Some(reason)),
            },
        };
        self.write(
            "spec.json",
            &SpecFile {
                version: FOLDER_VERSION,
                spec,
                shim_args,
                search_path,
                cgroups,
                cgroups_missing,
            },
        )
    }

    pub(crate) fn write_state(
        &self,
        shim: ProcessId,
        child: Option<ProcessId>,
        mark: String,
        instance: Instance,
    ) -> Result<(), RuntimeError> {
        self.write(
            "state.json",
            &StateFile {
                version: FOLDER_VERSION,
                shim,
                child,
                mark,
                instance,
            },
        )
    }

    fn read<T: DeserializeOwned>(
        &self,
        name: &str,
        version: fn(&T) -> u32,
    ) -> Result<Option<T>, RuntimeError> {
        let path = self.path.join(name);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(RuntimeError::file("read", &path))?,
        };
        let mend = "stop the instance's processes and remove its folder";
        match serde_json::from_slice::<T>(&text) {
            Ok(file) if version(&file) == FOLDER_VERSION => Ok(Some(file)),
            Ok(file) => Err(RuntimeError::Format {
                path,
                reason: format!(
                    "it has version {}, this trimtab knows {FOLDER_VERSION}; {mend}",
                    version(&file)
                ),
            }),
            Err(error) => Err(RuntimeError::Format {
                path,
                reason: format!("{error}; {mend}"),
            }),
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), RuntimeError> {
        let path = self.path.join(name);
        // The shim and the control process may both write: each by a file of its own.
        let temporary = self.path.join(format!("{name}.{}", std::process::id()));
        let bytes = serde_json::to_vec(value).map_err(|error| RuntimeError::Format {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let mut options = OpenOptions::new();
        let opened = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary);
        opened
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(RuntimeError::file("write", path))
    }

    /// Whether a shim keeps this folder.
    pub(crate) fn is_kept(&self) -> bool {
        let Ok(file) = File::open(self.path.join("lock")) else {
            return false;
        };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// Takes the folder for this process; none while another keeps it.
    pub(crate) fn keep(&self) -> std::io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills what a shim that is gone left running; whether there was anything.
    pub(crate) fn kill_leftovers(&self) -> bool {
        let Ok(Some(state)) = self.state() else {
            return false;
        };
        let found = kill_leftovers(state.child.as_ref(), &format!("{MARK}={}", state.mark));
        if let Ok(Some(SpecFile {
            cgroups: Some(hierarchy),
            ..
        })) = self.spec()
        {
            cgroup::remove(&hierarchy, &cgroup::name(state.instance.id.as_str(), &state.mark));
        }
        found
    }

    /// The instance as it is now; none when the folder holds no spec.
    pub(crate) fn instance(&self) -> Result<Option<Instance>, RuntimeError> {
        // Whether it is kept must be asked first: a shim that ends in between has written its last state.
        let kept = self.is_kept();
        let Some(file) = self.spec()? else { return Ok(None) };
        let Some(state) = self.state()? else {
            return Ok(Some(unstarted(&file.spec)));
        };
        let mut instance = state.instance;
        if !kept && instance.state != InstanceState::Stopped {
            instance.state = InstanceState::Lost;
            instance.pid = None;
        }
        Ok(Some(instance))
    }

    /// The path of the shim's socket through a descriptor of the folder, short enough for the 108 bytes that a socket's
    /// address may have. Valid while the file is open.
    pub(crate) fn socket(&self) -> std::io::Result<(File, PathBuf)> {
        let folder = File::open(&self.path)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/shim.sock", folder.as_raw_fd()));
        Ok((folder, path))
    }
}

/// An instance whose shim has written nothing yet.
pub(crate) fn unstarted(spec: &InstanceSpec) -> Instance {
    Instance {
        id: spec.id.clone(),
        release: spec.release.clone(),
        environment: spec.environment.clone(),
        service: spec.service.clone(),
        generation: spec.generation,
        address: crate::port::loopback(0),
        pid: None,
        state: InstanceState::Lost,
        restarts: 0,
        started_at: None,
        last_exit: None,
        lines_dropped: 0,
        lines_cut: 0,
        problem: None,
        limits: None,
    }
}
