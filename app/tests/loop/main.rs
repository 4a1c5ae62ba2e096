//! The whole program, end to end: real commits, processes, traffic and receivers.
//!
//! One binary, since each links the whole house. [`house`] is what the tests share: a repository of a small
//! service that misbehaves as told, control with real shims and proxy (in this process, or as `trimtab
//! serve`), users' load that counts for itself, and receivers of all four channels.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bad_input;
mod blue_green;
mod browser;
mod canary;
mod containers;
mod crash;
#[path = "../../../face/web/tests/pages/driver.rs"]
mod driver;
mod flags;
mod forge;
mod hooks;
mod house;
mod incidents;
mod people;
mod pipeline;
mod rolling;
mod settings;
mod shown;
mod steering;
mod sticky;
mod story;
mod third_party;
mod together;
mod workers;
