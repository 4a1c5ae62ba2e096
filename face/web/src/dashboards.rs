//! One dashboard snapshot a second per view, shared between tabs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use trimtab_api::{Dashboard, DashboardQuery, Fault};

use crate::Backend;

/// How old a snapshot may be.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_millis(900);
/// Different views kept at the same time.
const VIEWS_MAX: usize = 64;
/// Longest time that charts may show.
const MINUTES_MAX: u32 = 7 * 24 * 60;

type Slot = Arc<Mutex<Option<(Instant, Arc<Dashboard>)>>>;

/// The snapshots, by what was asked.
#[derive(Default)]
pub(crate) struct Dashboards {
    views: Mutex<HashMap<DashboardQuery, Slot>>,
}

impl Dashboards {
    /// The snapshot for `query`, at most a second old.
    pub(crate) async fn get(
        &self,
        backend: &dyn Backend,
        mut query: DashboardQuery,
    ) -> Result<Arc<Dashboard>, Fault> {
        query.minutes = Some(query.minutes.unwrap_or(15).clamp(1, MINUTES_MAX));
        let slot = {
            let mut views = self.views.lock().await;
            if views.len() >= VIEWS_MAX && !views.contains_key(&query) {
                views.clear();
            }
            Arc::clone(views.entry(query.clone()).or_default())
        };
        // Whoever comes second waits here for the first one's answer instead of asking again.
        let mut kept = slot.lock().await;
        if let Some((at, dashboard)) = kept.as_ref()
            && at.elapsed() < SNAPSHOT_AGE_MAX
        {
            return Ok(Arc::clone(dashboard));
        }
        let fresh = Arc::new(backend.dashboard(query).await?);
        *kept = Some((Instant::now(), Arc::clone(&fresh)));
        Ok(fresh)
    }
}
