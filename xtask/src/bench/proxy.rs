//! The proxy beside nginx and haproxy: CPU per request, requests per second, failed requests over switches.

use anyhow::Result;

use super::Figures;
use super::ingest::run_package;

/// Runs the benchmark of `trimtab-proxy`; needs nginx and wrk, and compares with haproxy and over HTTP/2
/// where haproxy and h2load are installed.
pub(crate) fn run() -> Result<Figures> {
    run_package("trimtab-proxy", "proxy")
}
