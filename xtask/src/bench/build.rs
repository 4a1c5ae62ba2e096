//! What a newcomer waits for: a clean release build, and the binary that comes of it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::Figures;

/// Builds `trimtab` into an empty folder. Packages are downloaded before the clock starts.
pub(crate) fn run() -> Result<Figures> {
    let target = crate::target_dir().join("bench-build");
    std::fs::remove_dir_all(&target).ok();
    let cargo = |arguments: &[&str]| -> Result<()> {
        let mut command = Command::new("cargo");
        command.current_dir(crate::root()).args(arguments);
        let status = command
            .env("CARGO_TARGET_DIR", &target)
            .status()
            .context("failed to start cargo")?;
        if !status.success() {
            bail!("cargo {} failed", arguments.join(" "));
        }
        Ok(())
    };
    cargo(&["fetch", "--quiet", "--locked"])?;
    let began = Instant::now();
    cargo(&[
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "trimtab",
    ])?;
    let clean_seconds = began.elapsed().as_secs_f64();
    let binary = target.join("release").join("trimtab");
    let bytes = std::fs::metadata(&binary)
        .with_context(|| format!("failed to read {}", binary.display()))?
        .len();
    std::fs::remove_dir_all(&target).ok();
    let mib = (bytes >> 10) as f64 / 1024.0;
    Ok(Figures::from([
        ("build_clean_seconds".to_owned(), clean_seconds),
        ("build_binary_mib".to_owned(), mib),
    ]))
}
