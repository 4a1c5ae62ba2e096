//! What users notice while the real program changes under them: nothing, when the change was planned; what was in
//! flight, when a process that served it was killed.
//!
//! A binary of its own, apart from `loop`, since it knows the program only from outside and links little of it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod crowd;
mod house;
mod kills;
mod planned;
