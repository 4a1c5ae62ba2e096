//! What stands between Trimtab and an action of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trimtab_model::{ReleaseId, ServiceName, Timestamp};

use crate::Guard;

/// The limits on what Trimtab does by itself (`actions:` in trimtab.yaml).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardRails {
    /// False: people do everything.
    pub automatic: bool,
    /// True: it only says what it would do.
    pub dry_run: bool,
    /// Most actions within an hour, over all services.
    pub per_hour_max: u32,
    /// Least milliseconds between two actions on one service.
    pub cooldown_ms: u64,
}

/// An action that Trimtab took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAction {
    /// When.
    pub at: Timestamp,
    /// On which service.
    pub service: ServiceName,
}

impl GuardRails {
    /// May Trimtab act on `service` at `at`, returning to `target` if it comes to that?
    pub fn decide(
        &self,
        past: &[PastAction],
        known_bad: &BTreeSet<ReleaseId>,
        service: &ServiceName,
        target: Option<&ReleaseId>,
        at: Timestamp,
    ) -> Guard {
        let refused = |reason: String| Guard::Refused { reason };
        if !self.automatic {
            return refused("automatic actions are off (actions.automatic)".to_owned());
        }
        if let Some(bad) = target.filter(|target| known_bad.contains(*target)) {
            return refused(format!("{bad}, the release to return to, is itself quarantined"));
        }
        // A clock that jumped back must not look like an action long ago.
        let within = |action: &PastAction, span: Duration| at.0 < action.at.0 || at.since(action.at) < span;
        let cooldown = Duration::from_millis(self.cooldown_ms);
        if past
            .iter()
            .any(|action| action.service == *service && within(action, cooldown))
        {
            return refused(format!(
                "the last action on {service} is less than {} s ago (actions.cooldown)",
                cooldown.as_secs()
            ));
        }
        let hour = Duration::from_secs(3600);
        let spent = past.iter().filter(|action| within(action, hour)).count();
        if spent >= self.per_hour_max as usize {
            return refused(format!(
                "{spent} actions within the hour are the budget (actions.per_hour_max)"
            ));
        }
        if self.dry_run {
            return Guard::DryRun;
        }
        Guard::Allowed
    }
}
