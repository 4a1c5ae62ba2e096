//! The reverse proxy: one routing table, swapped whole, and exact counts of what went through it.
//!
//! Two processes. The *holder* ([`holder::main`]) binds the listening sockets and keeps them open
//! for as long as the proxy lives; the *worker* ([`worker::main`]) gets them by file descriptor and
//! serves. A crashed worker is started again at once, an upgraded one takes over without a refused
//! connection. `serve` speaks to both through [`ProxyClient`] and may come and go as it likes.
//!
//! Nothing here knows what a rollout is: a table says which release gets which share, and frames
//! say what each release did with it.

mod acme;
mod client;
mod frame;
mod handoff;
pub mod holder;
mod http1;
mod link;
mod peers;
mod protocol;
mod settings;
mod status;
mod table;
pub mod worker;

pub use acme::{Acme, AcmeConfig, AcmeError, AcmeEvent};
pub use client::{ClientError, FrameStream, ProxyClient};
pub use frame::{Cell, Frame, RequestRecord, UserRequest, UserRequests};
pub use settings::{ConfigError, Limits, ProxyConfig, TlsFiles};
pub use status::{Counters, EndpointStatus, Health, InFlight, ProxyStatus};
pub use table::{
    Ejection, Endpoint, LimitBy, Maintenance, Mirror, Policy, Pool, Preview, Probe, Protocol, RateLimit,
    Route, RoutingTable, Split, Sticky, StickyBy, TableError, Tester, TesterBy, preview_token,
};
