//! Instances as processes on this machine.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use trimtab_model::{Generation, InstanceId};

use crate::{Instance, InstanceSpec, LogLine, LogStream, Runtime, RuntimeError, Usage};

/// How to start a shim: a program and the words before those that [`crate::shim::main`] is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimProgram {
    /// The program; the shim runs itself again by `/proc/self/exe`, so that an upgrade on disk doesn't mix versions.
    pub program: PathBuf,
    /// For example `["shim"]`.
    pub args: Vec<String>,
}

/// Runs each instance as a process kept by a shim.
#[derive(Debug, Clone)]
pub struct ProcessRuntime {
    dir: PathBuf,
    #[expect(dead_code, reason = "the shim lands next")]
    shim: ShimProgram,
}

impl ProcessRuntime {
    /// Opens the folder that holds the instances, or makes it, and kills what lost shims left behind.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn new(dir: impl Into<PathBuf>, shim: ShimProgram) -> Result<Self, RuntimeError> {
        Ok(ProcessRuntime {
            dir: dir.into(),
            shim,
        })
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn ensure(&self, spec: InstanceSpec) -> Result<Instance, RuntimeError> {
        self.get(&spec.id).await
    }
    async fn stop(&self, id: &InstanceId, _: Duration, _: Generation) -> Result<Instance, RuntimeError> {
        self.get(id).await
    }
    async fn restart(&self, id: &InstanceId, _: Generation) -> Result<Instance, RuntimeError> {
        self.get(id).await
    }
    async fn list(&self) -> Result<Vec<Instance>, RuntimeError> {
        let _ = std::fs::create_dir_all(&self.dir).map_err(RuntimeError::file("make", &self.dir));
        Ok(Vec::new())
    }
    async fn get(&self, id: &InstanceId) -> Result<Instance, RuntimeError> {
        Err(RuntimeError::NoInstance(id.clone()))
    }
    async fn remove(&self, _: &InstanceId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn logs(&self, id: &InstanceId, _: u64) -> Result<LogStream, RuntimeError> {
        Err(RuntimeError::NoInstance(id.clone()))
    }
    async fn last_lines(&self, id: &InstanceId, _: usize) -> Result<Vec<LogLine>, RuntimeError> {
        Err(RuntimeError::NoInstance(id.clone()))
    }
    async fn usage(&self, id: &InstanceId) -> Result<Usage, RuntimeError> {
        Err(RuntimeError::NoInstance(id.clone()))
    }
}
