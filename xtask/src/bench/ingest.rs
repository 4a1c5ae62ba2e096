//! Signals in through OTLP over HTTP: rows per second and core, bytes on disk.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Figures;

/// Runs the benchmark of `trimtab-ingest`.
pub(crate) fn run() -> Result<Figures> {
    run_package("trimtab-ingest", "ingest")
}

/// Runs a package's benchmark, which prints its figures as its last line.
pub(crate) fn run_package(package: &str, bench: &str) -> Result<Figures> {
    let output = Command::new("cargo")
        .args(["bench", "--quiet", "--package", package, "--bench", bench])
        .output()
        .context("failed to start cargo")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{}{printed}", String::from_utf8_lossy(&output.stderr));
    }
    let last = printed.lines().rev().find(|line| line.starts_with('{'));
    serde_json::from_str(last.context("the benchmark printed no figures")?)
        .context("failed to read the figures")
}
