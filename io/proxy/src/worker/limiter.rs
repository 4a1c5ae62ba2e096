//! Rate limits. The one thing that lanes share on a request's way, and only where a route asks for it:
//! a limit that each lane kept for itself would depend on which lane a client's connection met.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::accept::Peer;
use crate::http1::RequestHead;
use crate::{LimitBy, RateLimit, Route};

/// Clients remembered per limit; when there are more, the new ones share one allowance.
const CLIENTS_MAX: usize = 100_000;
/// The allowance that is shared.
const SHARED: u64 = 0;

/// The generic cell rate algorithm: for each client, the moment at which its allowance is whole again.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: RateLimit,
    /// Nanoseconds that one request uses up.
    interval: u64,
    base: Instant,
    hasher: RandomState,
    whole_at: Mutex<HashMap<u64, u64>>,
}

impl Limiter {
    fn new(limit: RateLimit) -> Self {
        Limiter {
            interval: 1_000_000_000 / u64::from(limit.per_second.max(1)),
            limit,
            base: Instant::now(),
            hasher: RandomState::new(),
            whole_at: Mutex::default(),
        }
    }

    /// Lets a request in, or says after how many seconds to come back.
    pub(super) fn admit(&self, peer: &Peer, head: &RequestHead, now: Instant) -> Result<(), u32> {
        let client = match &self.limit.by {
            LimitBy::Route => SHARED,
            LimitBy::Address => self.hasher.hash_one(network(peer.client(head))),
            LimitBy::Header(name) => head
                .header(name.as_bytes())
                .map_or(SHARED, |value| self.hasher.hash_one(value)),
        };
        self.take(client, now)
    }

    fn take(&self, client: u64, now: Instant) -> Result<(), u32> {
        let now = u64::try_from(now.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX);
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        if whole_at.len() >= CLIENTS_MAX && !whole_at.contains_key(&client) {
            whole_at.retain(|_, at| *at > now);
        }
        let is_full = whole_at.len() >= CLIENTS_MAX && !whole_at.contains_key(&client);
        let at = whole_at.entry(if is_full { SHARED } else { client }).or_default();
        let next = (*at).max(now).saturating_add(self.interval);
        let allowed = now.saturating_add(self.interval.saturating_mul(u64::from(self.limit.burst)));
        if next > allowed {
            return Err(u32::try_from((next - allowed).div_ceil(1_000_000_000)).unwrap_or(u32::MAX));
        }
        *at = next;
        Ok(())
    }
}

/// An address, or the network that one IPv6 client has for itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

/// A limit and the route it is for.
type Key = (String, String, RateLimit);

/// The limits of all lanes.
#[derive(Debug, Clone, Default)]
pub(super) struct Limiters(Arc<Mutex<HashMap<Key, Arc<Limiter>>>>);

impl Limiters {
    /// The limiter of a route, the same on every lane and from table to table.
    pub(super) fn of(&self, route: &Route) -> Option<Arc<Limiter>> {
        let limit = route.policy.rate_limit.clone()?;
        let key = (route.host.clone(), route.path_prefix.clone(), limit.clone());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept, limiter| *kept == key || Arc::strong_count(limiter) > 1);
        Some(Arc::clone(
            all.entry(key).or_insert_with(|| Arc::new(Limiter::new(limit))),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = Limiter::new(RateLimit {
            per_second: 10,
            burst: 5,
            by: LimitBy::Route,
        });
        let start = limiter.base;
        let let_in = |client: u64, ms: u64| limiter.take(client, start + Duration::from_millis(ms)).is_ok();
        assert_eq!((0..20).filter(|_| let_in(1, 0)).count(), 5);
        assert_eq!(limiter.take(1, start), Err(1));
        assert!(let_in(2, 0), "each client has its own allowance");
        assert!(!let_in(1, 99) && let_in(1, 100) && !let_in(1, 150));
        // Over ten seconds: the rate, and the burst that was saved up again.
        assert_eq!((1_000..11_000).filter(|ms| let_in(1, *ms)).count(), 104);
    }
}
