//! An instance as one lane knows it: its connections, its load, and how far it is trusted.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::ending::Ending;
use super::upstream_h2::Channels;
use crate::http1::Wire;
use crate::{Ejection, Endpoint};

/// Idle connections kept per endpoint and lane.
const IDLE_MAX: usize = 256;
/// Idle connections are closed after this: before most servers close them (Node: 5 s), because a
/// request sent into a closing connection is lost.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// The longest ejection, in multiples of the first.
const EJECTION_FACTOR_MAX: u32 = 10;
/// The share of its turns that an instance gets when it is new.
const SLOW_START_FROM: f64 = 0.1;

/// An instance, its open connections and its load, on one lane. Outlives tables.
#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) endpoint: Endpoint,
    /// False while the health check has failed.
    eligible: Cell<bool>,
    /// Requests under way.
    pub(super) active: Cell<u32>,
    idle: RefCell<Vec<(Instant, Wire<TcpStream>)>>,
    /// Connections that carry many requests at once.
    pub(super) channels: Channels,
    /// When it joined, or came back from being unhealthy.
    since: Cell<Instant>,
    failures: Cell<u32>,
    ejections: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
    /// No table in force names it.
    left: Cell<bool>,
    pub(super) ending: Ending,
}

impl EndpointState {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        EndpointState {
            endpoint,
            eligible: Cell::new(true),
            active: Cell::new(0),
            idle: RefCell::default(),
            channels: Channels::default(),
            since: Cell::new(Instant::now()),
            failures: Cell::new(0),
            ejections: Cell::new(0),
            ejected_until: Cell::new(None),
            left: Cell::new(false),
            ending: Ending::default(),
        }
    }

    /// No table names it any more: what is under way to it ends, and nothing new begins.
    pub(super) fn leave(&self) {
        self.left.set(true);
        self.idle.borrow_mut().clear();
    }

    /// Whether no table names it any more.
    pub(super) fn has_left(&self) -> bool {
        self.left.get()
    }

    /// A connection that was idle, the latest first.
    pub(super) fn take_idle(&self) -> Option<Wire<TcpStream>> {
        self.idle.borrow_mut().pop().map(|(_, wire)| wire)
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep_idle(&self, wire: Wire<TcpStream>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX && !self.left.get() {
            idle.push((Instant::now(), wire));
        }
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain(|(since, _)| now.duration_since(*since) < IDLE_FOR);
    }

    /// Whether the health check lets it serve.
    pub(super) fn is_eligible(&self) -> bool {
        self.eligible.get()
    }

    /// Sets what the health check found.
    pub(super) fn set_eligible(&self, eligible: bool) {
        if eligible && !self.eligible.get() {
            self.since.set(Instant::now());
            self.ejected_until.set(None);
        }
        self.eligible.set(eligible);
    }

    /// Notes what became of a request; true if the instance is left out from now on.
    pub(super) fn note(&self, failed: bool, ejection: &Ejection) -> bool {
        if !failed {
            self.failures.set(0);
            return false;
        }
        self.failures.set(self.failures.get() + 1);
        if self.failures.get() < ejection.failures {
            return false;
        }
        self.failures.set(0);
        let times = (self.ejections.get() + 1).min(EJECTION_FACTOR_MAX);
        self.ejections.set(times);
        let until = Instant::now() + Duration::from_millis(ejection.for_ms) * times;
        self.ejected_until.set(Some(until));
        true
    }

    /// Whether it is left out for failing.
    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        match self.ejected_until.get() {
            Some(until) if now < until => true,
            Some(_) => {
                self.ejected_until.set(None);
                false
            }
            None => false,
        }
    }

    /// Whether it takes its turn, `lot` being uniform from 0 to 1: a new instance takes more and more.
    pub(super) fn takes_turn(&self, now: Instant, slow_start: Duration, lot: f64) -> bool {
        let age = now.saturating_duration_since(self.since.get());
        age >= slow_start || lot < (age.as_secs_f64() / slow_start.as_secs_f64()).max(SLOW_START_FROM)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn endpoint() -> EndpointState {
        EndpointState::new(Endpoint {
            instance: trimtab_model::InstanceId::new("blocks-r1-production-1").unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
        })
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time() {
        let (endpoint, ejection) = (
            endpoint(),
            Ejection {
                failures: 3,
                for_ms: 10_000,
            },
        );
        let note = |failed| endpoint.note(failed, &ejection);
        assert!(!note(true) && !note(true) && !note(false) && !note(true) && !note(true));
        assert!(note(true));
        let now = Instant::now();
        assert!(endpoint.is_ejected(now) && endpoint.is_ejected(now + Duration::from_secs(9)));
        assert!(!endpoint.is_ejected(now + Duration::from_secs(11)));
        assert!(!note(true) && !note(true) && note(true));
        assert!(endpoint.is_ejected(now + Duration::from_secs(19)));
    }

    #[test]
    fn a_new_instance_comes_up_slowly() {
        let (endpoint, now) = (endpoint(), Instant::now());
        let share = |seconds| {
            let at = now + Duration::from_secs(seconds);
            let lots = (0..1_000).map(|lot| f64::from(lot) / 1_000.0);
            lots.filter(|lot| endpoint.takes_turn(at, Duration::from_secs(10), *lot))
                .count()
        };
        assert_eq!((share(0), share(10)), (100, 1_000));
        assert!(share(5).abs_diff(500) < 20);
    }
}
