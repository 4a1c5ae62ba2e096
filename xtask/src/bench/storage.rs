//! Signals at rest: bytes per sample, log line and span; appends, flushes and queries.

use super::{Figures, ingest};

/// Runs the benchmarks of the two stores.
pub(crate) fn run() -> anyhow::Result<Figures> {
    let mut figures = ingest::run_package("trimtab-series", "series")?;
    figures.extend(ingest::run_package("trimtab-store", "store")?);
    Ok(figures)
}
