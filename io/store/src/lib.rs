//! Logs, spans and events at rest, over one narrow seam.
//!
//! [`SignalStore`] is the seam; [`Store`] is the embedded implementation: a write-ahead log, rows in
//! memory, Parquet files by signal and day that other tools read directly. The layout on disk is
//! described in docs/storage.md.

mod commit;
mod config;
mod date;
mod entry;
mod error;
mod file;
mod keeper;
mod memory;
mod plain_json;
mod query;
mod scan;
mod seam;
mod state;
mod store;
mod table;

pub use config::{Clock, StoreConfig, TemplateOf};
pub use error::StoreError;
pub use query::{
    AttributeFilter, EventQuery, LogQuery, Order, Origin, ROWS_DEFAULT, ROWS_MAX, SpanQuery,
    TEMPLATE_ATTRIBUTE, TailFilter, TimeRange,
};
pub use seam::{Aged, Appended, Replay, Retained, SignalStats, SignalStore, StoreStats, Tail};
pub use store::Store;
pub use trimtab_wal::{WalConfig, WalStats};
