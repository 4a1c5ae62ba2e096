//! How often verdicts are wrong, how soon they are right, and how others fare on the same traffic.

use anyhow::Result;

use super::Figures;
use super::ingest::run_package;

/// Runs the benchmark of `trimtab-detection` with reduced counts.
pub(crate) fn run() -> Result<Figures> {
    run_package("trimtab-detection", "verdict")
}
