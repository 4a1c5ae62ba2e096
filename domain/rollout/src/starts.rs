//! How long the instances of releases took to start, by what a rollout has recorded: what a return to a
//! release that no longer runs will take.

use trimtab_model::ReleaseId;

use crate::{Event, Outcome, Plan, start, step};

/// A start that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// What was started.
    pub release: ReleaseId,
    /// From the wish to the health of every instance, in milliseconds.
    pub took_ms: u64,
}

/// The starts of a rollout that succeeded, oldest first.
pub fn starts(plan: &Plan, events: impl IntoIterator<Item = Event>) -> Vec<Start> {
    let mut state = start(plan);
    let mut found = Vec::new();
    for event in events {
        let since = state.since;
        let said = match &event {
            Event::Started {
                at,
                release,
                generation,
                outcome: Outcome::Done,
            } if *generation == state.generation => Some((at.since(since), release.clone())),
            _ => None,
        };
        let (next, _) = step(plan, state.clone(), event);
        // What changed nothing answered nothing that was owed.
        if let Some((took, release)) = said.filter(|_| next != state) {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            found.push(Start { release, took_ms });
        }
        state = next;
    }
    found
}

/// What a start of `release` will take in milliseconds, and how many earlier starts say so: the slowest of
/// its own, else of its service's other releases. None when there was no start.
pub fn expected_ms(release: &ReleaseId, starts: &[Start]) -> Option<(u64, usize, bool)> {
    let slowest = |own: bool| {
        let took = starts
            .iter()
            .filter(|start| !own || start.release == *release)
            .map(|start| start.took_ms);
        let count = took.clone().count();
        took.max().map(|slowest| (slowest, count, own))
    };
    slowest(true).or_else(|| slowest(false))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use trimtab_model::{Generation, Timestamp};

    use super::*;
    use crate::tests::blue_green;

    fn release(id: &str) -> ReleaseId {
        ReleaseId::new(id).unwrap()
    }

    fn started(at: i64, generation: u64, outcome: Outcome) -> Event {
        Event::Started {
            at: Timestamp(at),
            release: release("blocks-r2"),
            generation: Generation(generation),
            outcome,
        }
    }

    #[test]
    fn only_starts_that_answered_what_was_owed_count() {
        let plan = blue_green();
        let begun = plan.started_at.0;
        let found = starts(
            &plan,
            [
                started(begun + 10, 7, Outcome::Done),
                started(begun + 1_200, 1, Outcome::Done),
                started(begun + 1_300, 1, Outcome::Done),
            ],
        );
        let wanted = Start {
            release: release("blocks-r2"),
            took_ms: 1_200,
        };
        assert_eq!(found, [wanted]);
        let reason = "no port".to_owned();
        let failed = started(begun + 10, 1, Outcome::Failed { reason });
        assert_eq!(starts(&plan, [failed]), []);
    }

    #[test]
    fn the_slowest_start_of_the_release_itself_is_expected() {
        let start = |id: &str, took_ms| Start {
            release: release(id),
            took_ms,
        };
        let all = [
            start("notes-r1", 400),
            start("notes-r1", 900),
            start("notes-r2", 3_000),
        ];
        assert_eq!(expected_ms(&release("notes-r1"), &all), Some((900, 2, true)));
        assert_eq!(expected_ms(&release("notes-r3"), &all), Some((3_000, 3, false)));
        assert_eq!(expected_ms(&release("notes-r3"), &[]), None);
    }
}
