//! The proxy beside nginx: CPU per request, requests per second, failed requests over switches.

use anyhow::Result;

use super::Figures;
use super::ingest::run_package;

/// Runs the benchmark of `trimtab-proxy`; needs nginx and wrk.
pub(crate) fn run() -> Result<Figures> {
    run_package("trimtab-proxy", "proxy")
}
