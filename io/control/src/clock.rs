//! The one place where control reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trimtab_model::Timestamp;

/// Longest sleep before the wall clock is read again, so that a clock that jumps is noticed.
const NAP_MAX: Duration = Duration::from_secs(1);

/// Now, in wall-clock time.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Waits until the wall clock shows `at`.
pub async fn until(at: Timestamp) {
    loop {
        let left = at.since(now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(NAP_MAX)).await;
    }
}
