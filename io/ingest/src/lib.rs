//! Listeners and scrapers: every way by which signals come in.
//!
//! [`Ingest`] answers OTLP over gRPC and HTTP; [`Scraper`] reads an instance's `/metrics`; [`log_batch`]
//! takes the lines an instance prints; [`HostMetrics`] measures this machine. All go through one
//! [`Intake`]: stored durably first, then shown to the analysers, then acknowledged.

mod body;
mod counters;
mod error;
mod grpc;
mod host;
mod http;
mod identities;
mod intake;
mod listen;
mod log_lines;
mod scrape;
mod sink;

pub use counters::{IngestStats, Signal, Trouble};
pub use error::{IngestError, ScrapeError};
pub use host::HostMetrics;
pub use identities::{Identities, TOKEN_HEADER};
pub use intake::Intake;
pub use listen::{Ingest, IngestConfig};
pub use log_lines::log_batch;
pub use scrape::{METRICS_BYTES_MAX, Scraped, Scraper};
pub use sink::{Sink, Subscription};
