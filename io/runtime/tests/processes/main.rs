//! Real processes kept by real shims.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod house;
mod life;
mod logs;
mod starts;
