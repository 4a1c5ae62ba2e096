//! What every handler shares.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};
use trimtab_model::Timestamp;

use crate::auth::Sessions;
use crate::dashboards::Dashboards;
use crate::live::Hub;
use crate::{Backend, WebConfig};

/// The server's shared state; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) config: WebConfig,
    pub(crate) sessions: Sessions,
    pub(crate) hub: Arc<Hub>,
    pub(crate) dashboards: Dashboards,
    /// One permit per live stream.
    pub(crate) streams: Arc<Semaphore>,
    /// True once the server ends: streams end then.
    pub(crate) closing: watch::Receiver<bool>,
}

impl App {
    pub(crate) fn new(backend: Arc<dyn Backend>, config: WebConfig, closing: watch::Receiver<bool>) -> Self {
        App(Arc::new(Shared {
            sessions: Sessions::new(config.session_key, config.session_lifetime),
            hub: Arc::new(Hub::new()),
            dashboards: Dashboards::default(),
            streams: Arc::new(Semaphore::new(config.streams_max)),
            backend,
            config,
            closing,
        }))
    }
}

impl std::ops::Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The wall clock; the one place here that reads it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
