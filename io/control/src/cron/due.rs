//! What a schedule asks for now.

use std::time::Duration;

use trimtab_model::Timestamp;
use trimtab_project::Schedule;

/// How late a run may start; later it is missed: nobody expects last night's report at noon.
const LATE_MAX: Duration = Duration::from_secs(60);
/// Missed runs that are counted one by one.
const COUNT_MAX: u32 = 1000;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// A run now; so many before it were missed.
    Run { missed: u32 },
    /// So many were missed, and it is too late for the last.
    Missed(u32),
}

/// What was due after `seen` and up to `now`.
pub(super) fn due(schedule: &Schedule, seen: Timestamp, now: Timestamp) -> Due {
    let count = schedule.due(seen, now, COUNT_MAX);
    if count == 0 {
        return Due::Nothing;
    }
    let late = i64::try_from(LATE_MAX.as_millis()).unwrap_or(i64::MAX);
    let recent = Timestamp(seen.0.max(now.0.saturating_sub(late)));
    if schedule.due(recent, now, 1) > 0 {
        return Due::Run { missed: count - 1 };
    }
    Due::Missed(count)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_run_is_due_once_and_late_ones_are_missed() {
        let hourly: Schedule = "0 * * * *".parse().unwrap();
        let hour = |hours: f64| Timestamp((hours * 3_600_000.0) as i64);
        let second = 1.0 / 3600.0;
        for (seen, now, wanted) in [
            (10.1, 10.9, Due::Nothing),
            (10.999, 11.0, Due::Run { missed: 0 }),
            (11.0, 11.0 + second, Due::Nothing),
            (10.9, 11.0 + 59.0 * second, Due::Run { missed: 0 }),
            (10.9, 11.0 + 61.0 * second, Due::Missed(1)),
            (7.5, 11.0, Due::Run { missed: 3 }),
            (7.5, 11.5, Due::Missed(4)),
            // A clock that was set back asks for nothing twice.
            (11.0, 10.5, Due::Nothing),
        ] {
            assert_eq!(due(&hourly, hour(seen), hour(now)), wanted, "{seen} to {now}");
        }
    }
}
