#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

/// Counts up to a limit that each version of the program has of its own.
struct Counting<const LIMIT: u64>;

impl<const LIMIT: u64> Machine for Counting<LIMIT> {
    const STREAM: &'static str = "counting";
    type Plan = u64;
    type State = u64;
    type Event = u64;
    type Effect = ();

    fn start(_: &u64) -> u64 {
        0
    }
    fn step(_: &u64, state: u64, event: u64) -> u64 {
        state + event
    }
    fn pending(_: &u64, _: &u64) -> Vec<()> {
        Vec::new()
    }
    fn ended(state: &u64) -> bool {
        *state >= LIMIT
    }
    fn actor(_: &u64) -> Option<String> {
        None
    }
}

struct NoHands;

impl<const LIMIT: u64> Hands<Counting<LIMIT>> for NoHands {
    fn carry_out(&self, _: &str, _: &u64, _: &u64, (): ()) -> crate::machine::Outcome<u64> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn what_ended_stays_as_it_was_told_under_other_rules() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path().join("journal.db")).await.unwrap();
    let host = Host::<Counting<3>>::open(journal.clone()).await.unwrap();
    host.resume(Arc::new(NoHands));
    for _ in 0..3 {
        host.create(&Actor::trimtab(), |number| number).await.unwrap();
    }
    for (id, event) in [("counting-1", 1), ("counting-1", 2), ("counting-2", 1)] {
        host.send(id, event).await.unwrap();
    }
    // One that ended before ends were written down, and whose last event nobody can read any more.
    let stray = |body| {
        NewEvent::new(
            "counting/counting-3",
            "counting.old",
            Timestamp(1),
            Actor::trimtab(),
            body,
        )
    };
    journal
        .append(Expected::Any, vec![stray(9.into())])
        .await
        .unwrap();
    Host::<Counting<3>>::open(journal.clone()).await.unwrap();
    let unread = stray(serde_json::json!("gone"));
    journal.append(Expected::Any, vec![unread]).await.unwrap();

    let later = Host::<Counting<100>>::open(journal.clone()).await.unwrap();
    let states: Vec<(u64, u64)> = later.list().iter().map(|one| (one.state, one.sequence)).collect();
    assert_eq!(states, [(3, 3), (1, 2), (9, 3)]);
    let told = journal.read_stream("ended/counting", 0).await.unwrap();
    assert_eq!(told.len(), 2, "each end once");
}
