//! Trimtab: ships services and keeps them steady.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Shim and proxy are programs of their own, which live on when the control process ends; they
    // are told apart before any runtime or thread starts.
    match words[..] {
        ["shim", ..] => trimtab_runtime::shim::main(arguments.into_iter().skip(1).collect()),
        ["proxy", "holder", dir] => ended(trimtab_proxy::holder::main(Path::new(dir))),
        ["proxy", "worker", dir] => ended(trimtab_proxy::worker::main(Path::new(dir))),
        _ => {
            eprintln!("trimtab: the commands are not wired yet; see README.md for what works");
            ExitCode::FAILURE
        }
    }
}

fn ended<E: std::fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trimtab proxy: failed to {error}");
            ExitCode::FAILURE
        }
    }
}
