//! The proxy as real processes, with real instances behind it and strict clients in front.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bridging;
mod certificates;
mod counting;
mod draining;
mod forwarding;
mod grpc;
mod h2_living;
mod h2_messages;
mod h2_strict;
mod h2_wire;
mod harness;
mod lifecycle;
mod policy;
mod protocols;
mod refusing;
mod refusing_h2;
mod refusing_instances;
mod resuming;
mod sticky;
mod websockets;
