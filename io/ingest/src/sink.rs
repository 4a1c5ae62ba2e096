//! The stream of what comes in, for the analysers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;
use trimtab_telemetry::Batch;

/// Shows every stored batch to whoever subscribed. Never waits: a subscriber that is too slow misses
/// batches, which is counted.
#[derive(Debug, Clone)]
pub struct Sink {
    sender: broadcast::Sender<Arc<Batch>>,
    missed: Arc<AtomicU64>,
}

impl Sink {
    /// A sink whose subscribers may fall behind by `batches_max` (at least 1).
    pub fn new(batches_max: usize) -> Self {
        Sink {
            sender: broadcast::Sender::new(batches_max.max(1)),
            missed: Arc::default(),
        }
    }

    /// Sees every batch from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            receiver: self.sender.subscribe(),
            missed: Arc::clone(&self.missed),
        }
    }

    /// How many batches subscribers missed, all together.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    pub(crate) fn publish(&self, batch: Batch) {
        // An error only says that nobody listens any more.
        let _ = self.sender.send(Arc::new(batch));
    }
}

/// One subscriber's view.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<Batch>>,
    missed: Arc<AtomicU64>,
}

impl Subscription {
    /// The next batch; none once the sink is gone.
    pub async fn next(&mut self) -> Option<Arc<Batch>> {
        loop {
            match self.receiver.recv().await {
                Ok(batch) => return Some(batch),
                Err(broadcast::error::RecvError::Lagged(batches)) => {
                    self.missed.fetch_add(batches, Ordering::Relaxed);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
