//! The store as its users see it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod appends;
mod files;
mod queries;
mod room;
