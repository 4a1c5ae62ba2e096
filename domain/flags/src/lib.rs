//! Feature flags: what a definition says, which variant somebody gets, and who is on which side of
//! a rollout.
//!
//! Definitions are flagd's JSON; targeting is JsonLogic with flagd's own operations. Everything is
//! pure: the context and the time are arguments, and the same arguments give the same answer on
//! every machine. Deliberately absent: storage, HTTP, and any draw that is not a hash of the user.
//!
//! Both the definitions and the context come from outside. Definitions are checked as a whole
//! ([`FlagSet::parse`] tells every mistake at once); an evaluation has a budget of steps and of bytes
//! made, so that no definition and no context can hold the server up.

mod answer;
mod bucketing;
mod budget;
mod change;
mod compile;
mod evaluate;
mod flag;
mod fractional;
mod json;
mod logic;
mod operation;
mod problem;
mod ramp;
mod read;
mod sem_ver;
mod stale;

pub use answer::{Answer, Cohort, ErrorCode, Failure, Reason, Served};
pub use bucketing::{Bucketing, bucket, murmur3_32, user_hash};
pub use change::{Change, Entry, Section, apply, difference};
pub use flag::{Flag, FlagSet, FlagState};
pub use problem::{Problem, list as list_problems};
pub use ramp::{Ramp, RampError};
pub use stale::{Staleness, Usage, stale};

/// Largest text of a flag set, in bytes: two of them fit into one event of the journal.
pub const DOCUMENT_BYTES_MAX: usize = 400 * 1024;
/// Most flags of a set.
pub const FLAGS_MAX: usize = 2_000;
/// Most variants of a flag.
pub const VARIANTS_MAX: usize = 100;
/// Longest key of a flag or variant, in bytes.
pub const KEY_BYTES_MAX: usize = 200;
/// How deep targeting may nest.
pub const DEPTH_MAX: usize = 48;
/// How deep a context may nest.
pub const CONTEXT_DEPTH_MAX: usize = 32;
/// Operations that one evaluation may carry out.
pub const STEPS_MAX: u32 = 20_000;
/// Bytes of text and elements of lists that one evaluation may make.
pub const MADE_BYTES_MAX: usize = 256 * 1024;
