//! Recent traffic of each environment, and the windows of the past that a candidate is held against.

use std::collections::{BTreeMap, VecDeque};

use trimtab_detection::verdict::{Outcomes, Past};
use trimtab_model::{ReleaseId, Timestamp};
use trimtab_proxy::{Cell, Frame};

use super::Place;

/// Length of a window of the past.
const PAST_WINDOW_MS: i64 = 5_000;
/// Stretches of recent traffic that are kept per environment; five to ten come each second.
const RECENT_MAX: usize = 10_000;

/// One stretch of an environment's traffic.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// When it ended.
    pub at: Timestamp,
    /// The release that served.
    pub release: ReleaseId,
    /// Whether these were copies whose answers were dropped.
    pub mirrored: bool,
    /// Whether these were requests that change nothing.
    pub safe: bool,
    /// What they came to.
    pub outcomes: Outcomes,
}

#[derive(Default)]
struct Traffic {
    recent: VecDeque<Stretch>,
    past: BTreeMap<ReleaseId, (Past, Timestamp, Outcomes)>,
}

/// Traffic by place.
#[derive(Default)]
pub(super) struct AllTraffic(BTreeMap<Place, Traffic>);

impl AllTraffic {
    /// Takes a frame; what users got in it, by place.
    pub(super) fn take(&mut self, frame: &Frame) -> BTreeMap<Place, Outcomes> {
        let mut live: BTreeMap<Place, Outcomes> = BTreeMap::new();
        let mut stretches: BTreeMap<(Place, &ReleaseId, bool, bool), Outcomes> = BTreeMap::new();
        for cell in &frame.cells {
            let place = (cell.service.clone(), cell.environment.clone());
            let outcomes = outcomes(cell);
            if !cell.mirrored {
                live.entry(place.clone()).or_default().merge(&outcomes);
            }
            let safe = cell.operation.starts_with("GET ") || cell.operation.starts_with("HEAD ");
            let key = (place, &cell.release, cell.mirrored, safe);
            stretches.entry(key).or_default().merge(&outcomes);
        }
        for ((place, release, mirrored, safe), outcomes) in stretches {
            let stretch = Stretch {
                at: frame.at,
                release: release.clone(),
                mirrored,
                safe,
                outcomes,
            };
            self.0.entry(place).or_default().push(stretch);
        }
        live
    }

    pub(super) fn since(&self, place: &Place, since: Timestamp) -> Vec<Stretch> {
        let recent = self.0.get(place).map(|traffic| &traffic.recent);
        recent
            .into_iter()
            .flatten()
            .rev()
            .take_while(|stretch| stretch.at > since)
            .cloned()
            .collect()
    }

    pub(super) fn past(&self, place: &Place, release: &ReleaseId) -> Past {
        let kept = self.0.get(place).and_then(|traffic| traffic.past.get(release));
        kept.map(|(past, _, _)| past.clone()).unwrap_or_default()
    }
}

impl Traffic {
    fn push(&mut self, stretch: Stretch) {
        if !stretch.mirrored {
            let (past, begun, window) = self
                .past
                .entry(stretch.release.clone())
                .or_insert_with(|| (Past::default(), stretch.at, Outcomes::default()));
            window.merge(&stretch.outcomes);
            if stretch.at.0 - begun.0 >= PAST_WINDOW_MS {
                past.push(std::mem::take(window));
                *begun = stretch.at;
            }
        }
        self.recent.push_back(stretch);
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }
}

pub(super) fn outcomes(cell: &Cell) -> Outcomes {
    Outcomes {
        requests: cell.requests,
        errors: cell.errors,
        client_errors: cell.client_errors,
        latency: cell.latency.clone(),
    }
}
