//! Between the shim and the program: the same process, before it becomes the program.
//!
//! The shim forbids `unsafe`, so nothing can run between fork and exec. Instead it starts itself once more, and
//! that run ties its life to the shim's, then turns into the program. The signal has to be set after the
//! change of user, which clears it.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use super::limits::Stage;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Exit codes that shells give when a program is not found or cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// `args`: the shim's process number, the limits, the program, its arguments.
pub(super) fn main(args: &[String]) -> ExitCode {
    let [shim, limits, program, arguments @ ..] = args else {
        eprintln!("trimtab shim stage: needs a process number and a command");
        return ExitCode::FAILURE;
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("trimtab: failed to tie the process to its shim: {error}");
        return ExitCode::from(NOT_RUN);
    }
    // A setuid program would clear the signal and could outlive us.
    let _ = rustix::thread::set_no_new_privs(true);
    // The shim may have died before the signal was set.
    if getppid()
        .map(|parent| parent.as_raw_nonzero().get().to_string())
        .as_ref()
        != Some(shim)
    {
        return ExitCode::from(NOT_RUN);
    }
    if let Err(reason) = Stage::parse(limits).enter() {
        eprintln!("trimtab: failed to limit the process: {reason}");
        return ExitCode::from(NOT_RUN);
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("trimtab: failed to run {program}: {error}");
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    ExitCode::from(if missing { NOT_FOUND } else { NOT_RUN })
}
