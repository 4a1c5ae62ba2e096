//! Instances as processes on this machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use trimtab_model::{Generation, InstanceId};

use crate::check::check;
use crate::folder::Folder;
use crate::shim::protocol::{Reply, Request, ask};
use crate::{
    Ask, HealthCheck, Instance, InstanceSpec, InstanceState, LogLine, LogStream, ProbeResult, Runtime,
    RuntimeError, Usage,
};
use crate::{log, process_table, shim};

/// How long a shim may take to start and to answer beyond what it was told to wait.
const SHIM_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between looks at a shim that starts or ends.
const POLL: Duration = Duration::from_millis(5);

/// How to start a shim: a program and the words before those that [`crate::shim::main`] is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimProgram {
    /// The program; the shim runs itself again by `/proc/self/exe`, so that an upgrade on disk doesn't mix versions.
    pub program: PathBuf,
    /// For example `["shim"]`.
    pub args: Vec<String>,
}

type Locks = Arc<Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>>;

/// Runs each instance as a process kept by a shim, in a folder of its own beneath one folder. All knowledge is in these
/// folders: another `ProcessRuntime` on the same folder, in this process or the next, sees and steers the same instances.
#[derive(Debug, Clone)]
pub struct ProcessRuntime {
    dir: PathBuf,
    shim: ShimProgram,
    locks: Locks,
}

impl ProcessRuntime {
    /// Opens the folder that holds the instances, or makes it, and kills what lost shims left behind.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn new(dir: impl Into<PathBuf>, shim: ShimProgram) -> Result<Self, RuntimeError> {
        let dir =
            std::path::absolute(dir.into()).map_err(RuntimeError::file("find", "the instances' folder"))?;
        fs::create_dir_all(&dir).map_err(RuntimeError::file("make", &dir))?;
        let runtime = ProcessRuntime {
            dir,
            shim,
            locks: Locks::default(),
        };
        for folder in runtime.folders()? {
            if !folder.is_kept() && folder.kill_leftovers() {
                tracing::warn!(folder = %folder.path().display(), "killed processes of an instance whose shim was lost");
            }
        }
        Ok(runtime)
    }

    /// Stops every instance at once, each as by its newest decision: for a control process that leaves nothing behind.
    ///
    /// # Errors
    /// The first of the failures; the others are stopped all the same.
    pub async fn stop_all(&self, grace: Duration) -> Result<(), RuntimeError> {
        let instances = self.list().await?;
        let stops = instances
            .iter()
            .map(|instance| self.stop(&instance.id, grace, instance.generation));
        futures_util::future::join_all(stops)
            .await
            .into_iter()
            .try_for_each(|stopped| stopped.map(drop))
    }

    fn folder(&self, id: &InstanceId) -> Folder {
        Folder::new(self.dir.join(id.as_str()))
    }

    fn folders(&self) -> Result<Vec<Folder>, RuntimeError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(RuntimeError::file("read", &self.dir))? {
            let entry = entry.map_err(RuntimeError::file("read", &self.dir))?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| InstanceId::new(name).is_ok())
            {
                found.push(Folder::new(entry.path()));
            }
        }
        found.sort_by(|a, b| a.path().cmp(b.path()));
        Ok(found)
    }

    /// One change at a time to each instance.
    async fn lock(&self, id: &InstanceId) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            // Instances come and go: forget the locks that nobody holds.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(id.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }

    fn known(&self, id: &InstanceId) -> Result<(Folder, Instance), RuntimeError> {
        let folder = self.folder(id);
        match folder.instance()? {
            Some(instance) => Ok((folder, instance)),
            None => Err(RuntimeError::NoInstance(id.clone())),
        }
    }

    async fn tell(
        &self,
        id: &InstanceId,
        request: Request,
        patience: Duration,
    ) -> Result<Instance, RuntimeError> {
        let refused = |reason| {
            Err(RuntimeError::Shim {
                instance: id.clone(),
                reason,
            })
        };
        let given = request.generation().unwrap_or_default();
        match ask(&self.folder(id), &request, patience).await {
            Ok(Reply::Done(instance)) => Ok(*instance),
            Ok(Reply::Older { newest }) => Err(RuntimeError::OlderGeneration {
                instance: id.clone(),
                given,
                newest,
            }),
            Ok(Reply::Refused { reason }) | Err(reason) => refused(reason),
        }
    }

    /// Starts a shim for the spec, which replaces that of the folder.
    async fn launch(&self, folder: &Folder, spec: InstanceSpec) -> Result<Instance, RuntimeError> {
        let id = spec.id.clone();
        let search = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        folder.create()?;
        folder.write_spec(spec, self.shim.args.clone(), search.clone())?;
        let output =
            File::create(folder.shim_output()).map_err(RuntimeError::file("make", folder.shim_output()))?;
        let error_output = output
            .try_clone()
            .map_err(RuntimeError::file("open", folder.shim_output()))?;
        let mut command = Command::new(&self.shim.program);
        command.args(&self.shim.args).arg("run").arg(folder.path());
        command.env_clear().env("PATH", search).current_dir("/");
        command.stdin(Stdio::null()).stdout(output).stderr(error_output);
        let mut shim = command
            .spawn()
            .map_err(RuntimeError::file("run", &self.shim.program))?;
        let pid = shim.id();
        // Waited for by a thread that ends with it, so that none stays a zombie. Not a thread of tokio's: its runtime
        // would wait for it at its end.
        let ended = std::thread::spawn(move || shim.wait());
        let deadline = Instant::now() + SHIM_PATIENCE;
        loop {
            if let Some(state) = folder.state()?.filter(|state| state.shim.pid == pid) {
                let instance = state.instance;
                return match instance.problem.clone() {
                    Some(reason) if instance.started_at.is_none() => {
                        Err(RuntimeError::Shim { instance: id, reason })
                    }
                    _ => Ok(instance),
                };
            }
            if ended.is_finished() || Instant::now() > deadline {
                let words = fs::read_to_string(folder.shim_output()).unwrap_or_default();
                let reason = format!("it didn't start: {}", words.trim());
                return Err(RuntimeError::Shim { instance: id, reason });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn stop_locked(
        &self,
        id: &InstanceId,
        grace: Duration,
        generation: Generation,
    ) -> Result<Instance, RuntimeError> {
        let (folder, instance) = self.known(id)?;
        refuse_older(&instance, generation)?;
        if folder.is_kept() {
            let told = self
                .tell(id, Request::Stop { grace, generation }, grace + SHIM_PATIENCE)
                .await;
            let deadline = Instant::now() + SHIM_PATIENCE;
            while folder.is_kept() && told.is_ok() && Instant::now() < deadline {
                tokio::time::sleep(POLL).await;
            }
            if folder.is_kept() {
                return told;
            }
        }
        folder.kill_leftovers();
        if let Some(mut state) = folder.state()? {
            state.instance.state = InstanceState::Stopped;
            state.instance.generation = generation;
            state.instance.pid = None;
            folder.write_state(state.shim, None, state.mark, state.instance.clone())?;
            return Ok(state.instance);
        }
        // The shim died before it wrote anything: nothing ran.
        Ok(instance)
    }
}

fn refuse_older(instance: &Instance, given: Generation) -> Result<(), RuntimeError> {
    if given < instance.generation {
        let newest = instance.generation;
        return Err(RuntimeError::OlderGeneration {
            instance: instance.id.clone(),
            given,
            newest,
        });
    }
    Ok(())
}

/// Whether two specs describe the same process.
fn same_process(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    InstanceSpec {
        generation: b.generation,
        ..a.clone()
    } == *b
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn ensure(&self, spec: InstanceSpec) -> Result<Instance, RuntimeError> {
        let _guard = self.lock(&spec.id).await;
        check(&spec)?;
        let folder = self.folder(&spec.id);
        let generation = spec.generation;
        if let Some(instance) = folder.instance()? {
            refuse_older(&instance, generation)?;
            let before = folder.spec()?.map(|file| file.spec);
            let same = before.as_ref().is_some_and(|before| same_process(before, &spec));
            if folder.is_kept() && same && instance.state != InstanceState::Stopping {
                let request = match instance.state {
                    InstanceState::Exited => Request::Restart { generation },
                    _ => Request::Advance { generation },
                };
                return self.tell(&spec.id, request, SHIM_PATIENCE).await;
            }
            let grace = before.map_or(Duration::ZERO, |before| before.stop_grace);
            self.stop_locked(&spec.id, grace, generation).await?;
        }
        self.launch(&folder, spec).await
    }

    async fn stop(
        &self,
        id: &InstanceId,
        grace: Duration,
        generation: Generation,
    ) -> Result<Instance, RuntimeError> {
        let _guard = self.lock(id).await;
        self.stop_locked(id, grace, generation).await
    }

    async fn restart(&self, id: &InstanceId, generation: Generation) -> Result<Instance, RuntimeError> {
        let _guard = self.lock(id).await;
        let (folder, before) = self.known(id)?;
        refuse_older(&before, generation)?;
        let Some(file) = folder.spec()? else {
            return Err(RuntimeError::NoInstance(id.clone()));
        };
        if !folder.is_kept() {
            folder.kill_leftovers();
            return self
                .launch(
                    &folder,
                    InstanceSpec {
                        generation,
                        ..file.spec
                    },
                )
                .await;
        }
        let told = self
            .tell(
                id,
                Request::Restart { generation },
                file.spec.stop_grace + SHIM_PATIENCE,
            )
            .await?;
        let deadline = Instant::now() + SHIM_PATIENCE;
        loop {
            let (_, instance) = self.known(id)?;
            let anew = instance.started_at != before.started_at || instance.problem.is_some();
            if (anew && instance.restarts >= told.restarts) || Instant::now() > deadline {
                return Ok(instance);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn recover(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        let _guard = self.lock(id).await;
        let (folder, instance) = self.known(id)?;
        if instance.state != InstanceState::Lost || folder.is_kept() {
            return Ok(());
        }
        let Some(file) = folder.spec()? else {
            return Err(RuntimeError::NoInstance(id.clone()));
        };
        folder.kill_leftovers();
        self.launch(&folder, file.spec).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<Instance>, RuntimeError> {
        let mut instances = Vec::new();
        for folder in self.folders()? {
            instances.extend(folder.instance()?);
        }
        Ok(instances)
    }

    async fn get(&self, id: &InstanceId) -> Result<Instance, RuntimeError> {
        Ok(self.known(id)?.1)
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), RuntimeError> {
        let _guard = self.lock(id).await;
        let folder = self.folder(id);
        if let Some(instance) = folder.instance()? {
            self.stop_locked(id, Duration::ZERO, instance.generation).await?;
        }
        folder.remove()
    }

    async fn logs(&self, id: &InstanceId, from: u64) -> Result<LogStream, RuntimeError> {
        let (folder, _) = self.known(id)?;
        Ok(log::follow(folder, from))
    }

    async fn last_lines(&self, id: &InstanceId, count: usize) -> Result<Vec<LogLine>, RuntimeError> {
        let (folder, _) = self.known(id)?;
        match log::last_lines(&folder.logs(), count) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(RuntimeError::file("read", folder.logs())),
        }
    }

    async fn usage(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        let (_, instance) = self.known(id)?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let mut usage = Usage::default();
        let Some(group) = instance.pid else {
            return Ok(usage);
        };
        for stat in process_table::all()
            .into_iter()
            .filter(|stat| stat.group == group)
        {
            usage.cpu_seconds += stat.cpu_ticks as f64 / ticks;
            usage.rss_bytes += stat.rss_pages * page;
            usage.processes += u32::from(stat.lives());
            usage.threads += stat.threads;
        }
        Ok(usage)
    }

    async fn probe(&self, id: &InstanceId, check: &HealthCheck) -> ProbeResult {
        let known = self
            .known(id)
            .and_then(|(folder, instance)| Ok((folder.spec()?, instance)));
        match known {
            Ok((Some(_), instance)) if check.ask == Ask::Running => ProbeResult::of_state(&instance),
            Ok((Some(file), instance)) => shim::ask(&file, instance.address, check).await,
            Ok((None, _)) => ProbeResult::failed(RuntimeError::NoInstance(id.clone()).to_string()),
            Err(error) => ProbeResult::failed(error.to_string()),
        }
    }
}
