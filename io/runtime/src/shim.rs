//! The process that keeps one instance: `trimtab shim run FOLDER`.
//!
//! It is started detached and lives on when the control process dies. It holds the lock of the instance's folder
//! while it lives, writes `state.json` at each change, and answers on `shim.sock`. If it dies itself, the kernel
//! kills its child, the lock falls open, and the instance shows as lost.

mod child;
mod limits;
mod liveness;
pub(crate) mod protocol;
mod server;
mod stage;
mod supervisor;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) use liveness::ask;

use crate::folder::Folder;

/// How long a starting shim waits for the lock: one who only looks whether it is held holds it for a moment too.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the shim to its end. `args` are the words after those of [`crate::ShimProgram::args`]: `run FOLDER`, or `stage …`, by which
/// the shim starts itself again. Call it before anything else has started a thread.
pub fn main(args: Vec<String>) -> ExitCode {
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["stage", ..] => stage::main(&args[1..]),
        ["run", folder] => match run(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("trimtab shim: failed to keep {folder}: {reason}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("trimtab shim: usage: run FOLDER. `trimtab serve` starts it; it is not for people.");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path) -> Result<(), String> {
    // A session of its own: no Ctrl-C or hang-up of the control process's terminal comes here.
    let _ = rustix::process::setsid();
    // Whoever leaves the group and session is still ours to kill.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let folder = Folder::new(path);
    let deadline = Instant::now() + LOCK_PATIENCE;
    let _lock = loop {
        match folder.keep().map_err(|error| format!("lock it: {error}"))? {
            Some(lock) => break lock,
            None if Instant::now() > deadline => return Err("another shim keeps it".to_owned()),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    folder.kill_leftovers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let result = runtime.block_on(supervisor::run(folder));
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}
