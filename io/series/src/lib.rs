//! The metric store: a write-ahead log, a head in memory, compressed blocks on disk, and one-minute
//! rollups that outlive the raw samples.
//!
//! [`Series::append`] returns when the samples are durable and visible to [`Series::select`]. The
//! layout on disk is described in docs/storage.md.

mod config;
mod entry;
mod error;
mod head;
mod merge;
mod series;
mod state;

pub use config::{Clock, SeriesConfig};
pub use error::SeriesError;
pub use series::{Appended, Retained, Rollup, RollupData, Series, SeriesStats};
pub use trimtab_wal::{WalConfig, WalStats};
