//! Sees that the proxy has a holder: without one nobody starts another worker when its own has died.

use std::sync::Arc;
use std::time::Duration;

use trimtab_proxy::ClientError;

use crate::world::World;

/// Between two tries when one failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Gives the proxy another holder as soon as its own has died. Never ends.
pub(crate) async fn keep(world: Arc<World>) {
    let proxy = world.traffic.proxy();
    loop {
        match proxy.holder_gone().await {
            Ok(()) | Err(ClientError::Unreachable { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to watch the proxy's holder");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        }
        tracing::warn!("the proxy's holder is gone; another is started");
        if let Err(error) = proxy.revive().await {
            tracing::error!(%error, "failed to start the proxy again");
            tokio::time::sleep(AGAIN).await;
        }
    }
}
