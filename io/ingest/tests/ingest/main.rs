//! The listeners against the stores, a real SDK and bad senders.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod grpc;
mod http;
mod own;
mod rig;
mod sdk;
