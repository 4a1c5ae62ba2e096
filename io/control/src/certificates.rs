//! Certificates that come by themselves, for as long as `serve` runs.

use std::sync::Arc;

use trimtab_model::Severity;
use trimtab_notify::Channel;
use trimtab_proxy::{Acme, AcmeConfig, AcmeEvent};

use crate::clock;
use crate::world::World;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Orders and renews them, for ever. A failure is told, once a day for each host, and tried again; what
/// serves goes on serving.
pub(crate) async fn keep(config: AcmeConfig, world: Arc<World>) {
    let account = world.dir.join("keys").join("acme.json");
    let acme = Acme::new(config, &world.dir.join("proxy"), account);
    acme.run(|event| match event {
        AcmeEvent::Issued {
            host,
            not_after,
            renew_at,
        } => tracing::info!(%host, not_after, renew_at, "a certificate came"),
        AcmeEvent::Failed {
            host,
            reason,
            again_in,
        } => {
            tracing::error!(%host, ?again_in, "failed to {reason}: what serves goes on serving");
            tokio::spawn(tell(Arc::clone(&world), host, reason));
        }
    })
    .await;
}

async fn tell(world: Arc<World>, host: String, reason: String) {
    let key = format!("certificate/{host}/{}", clock::now().0 / DAY_MS);
    let words = (
        format!("No certificate came for {host}"),
        format!("Failed to {reason}. It is tried again; a certificate that is there serves on."),
    );
    let channels = [Channel::Slack, Channel::Email, Channel::Webhook];
    world.tell(&key, &channels, Severity::High, words, "/").await;
}
