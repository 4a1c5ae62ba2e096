//! Restarts containers that don't answer any more. The engine only sees those that end.

use std::sync::PoisonError;

use trimtab_model::InstanceId;
use trimtab_runtime::Runtime;

use super::DockerRuntime;
use crate::kept::Kept;

impl DockerRuntime {
    /// Begins to ask, if the spec says so and nobody does yet.
    pub(super) fn ask_for_liveness(&self, kept: &Kept) {
        self.stop_asking(&kept.spec.id);
        let Some(liveness) = kept.spec.liveness.clone() else {
            return;
        };
        let (runtime, id) = (self.clone(), kept.spec.id.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(liveness.delay).await;
                let mut bad = 0;
                let last = loop {
                    let seen = runtime.probe(&id, &liveness.check).await;
                    bad = if seen.healthy { 0 } else { bad + 1 };
                    if bad >= liveness.check.unhealthy_after.max(1) {
                        break seen;
                    }
                    tokio::time::sleep(liveness.check.interval).await;
                };
                let _guard = runtime.lock(&id).await;
                let Ok(Some(kept)) = runtime.inside.shelf.get(&id) else {
                    return;
                };
                if kept.stopped {
                    return;
                }
                let reason = format!("{bad} liveness probes failed in a row, the last with {last}");
                tracing::warn!(instance = %id, reason, "restarting a container");
                if let Err(error) = runtime.inside.restart(kept, Some(reason)).await {
                    tracing::warn!(instance = %id, %error, "failed to restart a container");
                }
            }
        });
        let mut asking = self.inside.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.insert(kept.spec.id.clone(), task.abort_handle());
    }

    pub(super) fn stop_asking(&self, id: &InstanceId) {
        let mut asking = self.inside.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = asking.remove(id) {
            task.abort();
        }
    }
}
