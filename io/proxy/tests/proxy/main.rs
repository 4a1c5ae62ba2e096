//! The proxy as real processes, with real instances behind it and strict clients in front.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod counting;
mod draining;
mod forwarding;
mod grpc;
mod harness;
mod lifecycle;
mod policy;
mod protocols;
mod refusing;
mod refusing_h2;
mod refusing_instances;
mod sticky;
