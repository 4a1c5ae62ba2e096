//! One release's instances on one lane, and what is under way to them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use trimtab_model::ReleaseId;

use super::ending::Ending;
use super::endpoint::EndpointState;
use crate::{Ejection, Policy, Pool, Protocol};

/// What is under way to one release in one place, on one lane.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) requests: Cell<u64>,
    pub(super) ending: Ending,
}

/// One release's instances on one lane.
#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) release: ReleaseId,
    /// What is under way to this release; shared by the pools of all tables.
    pub(super) load: Rc<Load>,
    pub(super) protocol: Protocol,
    endpoints: Vec<Rc<EndpointState>>,
    ejection: Option<Ejection>,
    slow_start: Duration,
    turn: Cell<usize>,
}

impl PoolState {
    pub(super) fn new(
        pool: &Pool,
        endpoints: Vec<Rc<EndpointState>>,
        load: Rc<Load>,
        policy: &Policy,
    ) -> Self {
        PoolState {
            release: pool.release.clone(),
            load,
            protocol: pool.protocol,
            endpoints,
            ejection: policy.ejection,
            slow_start: Duration::from_millis(policy.slow_start_ms),
            turn: Cell::new(0),
        }
    }

    /// The eligible endpoint with the fewest requests under way, those not in `tried`; ties take
    /// turns. Instances that were ejected, or are new, are passed over as long as there are others.
    /// The arm is drawn before this, so balancing cannot bias a comparison of arms.
    pub(super) fn choose(&self, tried: &[Rc<EndpointState>]) -> Option<Rc<EndpointState>> {
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        let fits = |endpoint: &EndpointState| {
            endpoint.is_eligible()
                && !tried
                    .iter()
                    .any(|other| std::ptr::eq(&raw const **other, endpoint))
        };
        let stays = |endpoint: &EndpointState| fits(endpoint) && !endpoint.has_left();
        if self.ejection.is_none() && self.slow_start.is_zero() {
            return self
                .least_busy(turn, stays)
                .or_else(|| self.least_busy(turn, fits));
        }
        let now = Instant::now();
        // Multiples of the golden ratio are spread evenly whatever the number of turns.
        let lot = (turn as f64 * 0.618_033_988_749_895).fract();
        let settled = |endpoint: &EndpointState| {
            stays(endpoint) && !endpoint.is_ejected(now) && endpoint.takes_turn(now, self.slow_start, lot)
        };
        self.least_busy(turn, settled)
            .or_else(|| self.least_busy(turn, stays))
            .or_else(|| self.least_busy(turn, fits))
    }

    fn least_busy(&self, turn: usize, fits: impl Fn(&EndpointState) -> bool) -> Option<Rc<EndpointState>> {
        let count = self.endpoints.len();
        (0..count)
            .map(|step| &self.endpoints[turn.wrapping_add(step) % count])
            .filter(|endpoint| fits(endpoint))
            .min_by_key(|endpoint| endpoint.active.get())
            .cloned()
    }

    /// Notes what became of a request at an instance; true if the instance was ejected for it.
    pub(super) fn note(&self, endpoint: &EndpointState, failed: bool) -> bool {
        self.ejection
            .as_ref()
            .is_some_and(|ejection| endpoint.note(failed, ejection))
    }
}
