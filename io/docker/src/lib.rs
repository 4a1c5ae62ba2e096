//! Instances as containers, by the API that Docker's Engine and Podman's socket share.
//!
//! [`DockerRuntime`] is another [`trimtab_runtime::Runtime`]: the control loop states what should run and is told what
//! does. It owns, by label, what it made, and touches nothing else. The engine keeps the containers, restarts those that
//! end and holds their output, so that they outlive the control process without a shim.
//!
//! A dozen requests of one API version are spoken by hand (see `engine.rs`): a client library brings the whole API's
//! types, of a newer version than Debian's engine speaks.

mod container;
mod docker_runtime;
mod engine;
mod kept;
mod output;
mod relay;

pub use docker_runtime::DockerRuntime;
pub use engine::EngineError;
