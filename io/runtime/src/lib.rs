//! Instances of a release: one process group each, kept by a shim that outlives the control process.
//!
//! [`Runtime`] is the seam: the control loop states what should run and is told what does.
//! [`ProcessRuntime`] runs instances as processes on this machine. Deliberately absent: releases,
//! rollouts, routing. A runtime takes a folder and a command and knows nothing of where they came from.

mod ask_command;
mod cgroup;
mod check;
mod command;
mod error;
mod folder;
mod health;
mod instance;
mod log;
mod port;
mod process_runtime;
mod process_table;
mod runtime;
pub mod shim;
mod spec;

pub use error::RuntimeError;
pub use health::{HealthReport, ProbeResult, check_health, probe, wait_healthy};
pub use instance::{Exit, Instance, InstanceState, LogLine, LogStream, LogStreamKind, Usage};
pub use process_runtime::{ProcessRuntime, ShimProgram};
pub use runtime::Runtime;
pub use spec::{Ask, BackOff, HealthCheck, Image, InstanceSpec, Kind, Limits, Liveness, LogLimits};

/// How limits of instances would be kept on this machine.
///
/// # Errors
/// When this machine has no control groups that this process may divide.
pub fn limits_kept_by() -> Result<&'static str, String> {
    cgroup::Hierarchy::offered()
}

/// Longest line of output in bytes; what is over is cut, counted and marked.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
