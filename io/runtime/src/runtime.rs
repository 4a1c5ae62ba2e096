//! The seam between the control loop and whatever runs instances.

use std::time::Duration;

use async_trait::async_trait;
use trimtab_model::{Generation, InstanceId};

use crate::{HealthCheck, Instance, InstanceSpec, LogLine, LogStream, ProbeResult, RuntimeError, Usage};

/// Runs instances. Every call states what should be and may be repeated without harm.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Sees that the instance runs as `spec` says: starts it when it doesn't run, leaves it when it does, and
    /// replaces it when it runs by another spec. Returns once its process was started, not once it is healthy.
    ///
    /// # Errors
    /// When the spec cannot be carried out, its generation is older than one seen, or the machine refuses.
    async fn ensure(&self, spec: InstanceSpec) -> Result<Instance, RuntimeError>;

    /// Stops the instance: SIGTERM to its group, SIGKILL after `grace`. Returns once it has ended; fine when it
    /// has already.
    ///
    /// # Errors
    /// When there is no such instance, or `generation` is older than one seen.
    async fn stop(
        &self,
        id: &InstanceId,
        grace: Duration,
        generation: Generation,
    ) -> Result<Instance, RuntimeError>;

    /// Ends the process as [`Runtime::stop`] does with the spec's grace and starts another; back-off begins anew.
    /// Returns once the new process was started.
    ///
    /// # Errors
    /// When there is no such instance, or `generation` is older than one seen.
    async fn restart(&self, id: &InstanceId, generation: Generation) -> Result<Instance, RuntimeError>;

    /// Starts an instance that was lost, as it was last asked for; one that is not lost is left alone.
    ///
    /// # Errors
    /// When there is no such instance, or the machine refuses.
    async fn recover(&self, id: &InstanceId) -> Result<(), RuntimeError>;

    /// All instances, also stopped and lost ones, by id.
    ///
    /// # Errors
    /// When the runtime's own records cannot be read.
    async fn list(&self) -> Result<Vec<Instance>, RuntimeError>;

    /// One instance.
    ///
    /// # Errors
    /// When there is no such instance.
    async fn get(&self, id: &InstanceId) -> Result<Instance, RuntimeError>;

    /// Stops the instance at once if it runs and forgets it with its logs; fine when there is none.
    ///
    /// # Errors
    /// When its records cannot be deleted.
    async fn remove(&self, id: &InstanceId) -> Result<(), RuntimeError>;

    /// Lines from offset `from` (0: the oldest kept) and then as they come. When lines between `from` and the
    /// oldest kept were rotated away, a line of kind `Shim` says how many bytes. Ends once the instance is stopped
    /// or removed and its last line was read.
    ///
    /// # Errors
    /// When there is no such instance.
    async fn logs(&self, id: &InstanceId, from: u64) -> Result<LogStream, RuntimeError>;

    /// The last `count` lines, oldest first.
    ///
    /// # Errors
    /// When there is no such instance.
    async fn last_lines(&self, id: &InstanceId, count: usize) -> Result<Vec<LogLine>, RuntimeError>;

    /// What the instance uses now; zero when nothing runs.
    ///
    /// # Errors
    /// When there is no such instance.
    async fn usage(&self, id: &InstanceId) -> Result<Usage, RuntimeError>;

    /// Asks the instance once whether it is well; over within the check's timeout.
    async fn probe(&self, id: &InstanceId, check: &HealthCheck) -> ProbeResult;
}
