//! Real processes kept by real shims.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod asking;
mod house;
mod life;
mod limits;
mod logs;
mod starts;
