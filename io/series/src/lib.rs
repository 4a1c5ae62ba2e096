//! The metric store: a write-ahead log, a head in memory, compressed blocks on disk, and one-minute
//! rollups that outlive the raw samples.
//!
//! [`Series::append`] returns when the samples are durable and visible to [`Series::select`]. The
//! layout on disk is described in docs/storage.md.

mod block;
mod config;
mod entry;
mod error;
mod head;
mod keeper;
mod merge;
mod rollup;
mod select;
mod series;
mod state;
mod stats;

pub use config::{Clock, SeriesConfig};
pub use error::SeriesError;
pub use series::Series;
pub use stats::{Aged, Appended, Retained, Rollup, RollupData, SeriesStats};
pub use trimtab_wal::{WalConfig, WalStats};
