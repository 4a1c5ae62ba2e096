//! A block notebook: create, read, list and search blocks of text, and merge edits that were made offline.

pub mod block;
pub mod check;
pub mod client;
pub mod crdt;
pub mod otlp;
pub mod plugins;
pub mod search;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod traffic;
