//! The one place where control reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use trimtab_model::Timestamp;

/// What stands for a moment too far for the clock that never jumps.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Now, in wall-clock time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Waits as long as it is from now until `at`.
///
/// How long is settled at the beginning and measured by a clock that never jumps: a wall clock that is set forward
/// (or a machine that slept) must not end a watch that has seen nothing, nor one set back hold a rollout.
pub async fn until(at: Timestamp) {
    tokio::time::sleep_until(deadline(at, now())).await;
}

/// When `at` is, on the clock that never jumps, as seen at the wall-clock time `now`.
pub(crate) fn deadline(at: Timestamp, now: Timestamp) -> Instant {
    let begun = Instant::now();
    begun.checked_add(at.since(now)).unwrap_or_else(|| begun + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_as_long_as_it_was_where_it_began() {
        let wall = Timestamp(1_700_000_000_000);
        let at = Timestamp(wall.0 + 60_000);
        let before = Instant::now();
        let deadline_of_a_minute = deadline(at, wall);
        let left = deadline_of_a_minute - before;
        assert!(
            left >= Duration::from_secs(60) && left < Duration::from_secs(90),
            "{left:?}"
        );
        // Passed already, as after a restart with the clock set forward: at once.
        assert!(deadline(wall, at) <= Instant::now());
        // No moment is too far to be waited for.
        assert!(deadline(Timestamp(i64::MAX), Timestamp(0)) > before);
    }
}
