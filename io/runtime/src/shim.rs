//! The process that keeps one instance.

use std::process::ExitCode;

/// Runs the shim to its end. `args` are the words after those of [`crate::ShimProgram::args`]. Call it before anything else has
/// started a thread.
pub fn main(args: Vec<String>) -> ExitCode {
    let _ = args;
    ExitCode::FAILURE
}
