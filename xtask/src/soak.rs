//! `cargo xtask soak`: the same tests as `test`, with their long counts.

use std::process::Command;

use anyhow::{Context, Result};

use crate::setup;

/// Tests read this for their number of rounds: kill -9s, simulated faults, verdict runs.
const ROUNDS_VARIABLE: &str = "TRIMTAB_SOAK_ROUNDS";

/// Runs the tests whose names say `soak` with `ROUNDS` (200 unless told).
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let rounds: u32 = match arguments.first() {
        Some(text) => text
            .parse()
            .with_context(|| format!("{text:?} is no number of rounds"))?,
        None => 200,
    };
    let tools = setup::run()?;
    let status = Command::new("cargo")
        .current_dir(crate::root())
        .args([
            "test",
            "--release",
            "--workspace",
            "--no-fail-fast",
            "soak",
            "--",
            "--nocapture",
        ])
        .env(ROUNDS_VARIABLE, rounds.to_string())
        .env("TRIMTAB_TEST_PYTHON", tools.python)
        .status()
        .context("failed to start cargo")?;
    Ok(status.success())
}
