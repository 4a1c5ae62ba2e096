//! Asks streams that could go on for ever to end.

use std::future::Future;

use tokio::sync::watch;

/// Asks streams that could go on for ever to end; those that begin later go on.
#[derive(Debug)]
pub(super) struct Ending(watch::Sender<()>);

impl Default for Ending {
    fn default() -> Self {
        Ending(watch::Sender::new(()))
    }
}

impl Ending {
    /// Ready when a stream that begins now is to end.
    pub(super) fn asked(&self) -> impl Future<Output = ()> + use<> {
        let mut asked = self.0.subscribe();
        async move {
            if asked.changed().await.is_err() {
                // Whoever could ask is gone.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks the streams that are under way.
    pub(super) fn ask(&self) {
        self.0.send_replace(());
    }
}
