//! Developer commands: `test`, `bench`, `soak`, `setup`.

mod bench;
mod setup;
mod soak;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup                          install what the tests need beyond Rust (Debian and PyPI packages by name)
  test [STAGE ...]               run every check, or the named stages
  bench [NAME ...] [--json FILE] measure; prints one flat object of named figures
  soak [ROUNDS]                  the long counts: kill -9s, simulated faults, verdict runs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match command {
        "setup" => setup::run().map(|_| true),
        "test" => test::run(rest),
        "bench" => bench::run(rest).map(|()| true),
        "soak" => soak::run(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(true)
        }
        other => Err(anyhow::anyhow!("no command {other:?}\n\n{USAGE}")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The checkout's root folder: asked for now, since a target folder that clones share may hold this program as
/// another clone built it.
pub(crate) fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("xtask"), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
