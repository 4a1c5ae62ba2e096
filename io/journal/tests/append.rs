//! Appending, reading and conflicts through the public door.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashSet;

use serde_json::json;
use trimtab_journal::{BODY_BYTES_MAX, EVENTS_PER_APPEND_MAX, Expected, Journal, JournalError, NewEvent};
use trimtab_model::{Actor, Timestamp};

fn event(stream: &str, kind: &str) -> NewEvent {
    NewEvent::new(
        stream,
        kind,
        Timestamp(7),
        Actor("ann".to_owned()),
        json!({"text": "übung \u{1F980}"}),
    )
}

async fn open() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("journal.db")).await.unwrap();
    (folder, journal)
}

#[tokio::test]
async fn what_was_appended_is_read_back_in_order() {
    let (folder, journal) = open().await;
    let stored = journal
        .append(
            Expected::NoStream,
            vec![event("run/run-1", "a"), event("run/run-1", "b")],
        )
        .await
        .unwrap();
    assert_eq!(
        stored
            .iter()
            .map(|e| (e.position, e.sequence))
            .collect::<Vec<_>>(),
        [(1, 1), (2, 2)]
    );
    journal
        .append(Expected::Any, vec![event("rollout/rollout-1", "c")])
        .await
        .unwrap();
    let last = journal
        .append(Expected::Exactly(2), vec![event("run/run-1", "d")])
        .await
        .unwrap();
    assert_eq!((last[0].position, last[0].sequence), (4, 3));

    let kinds =
        |events: Vec<trimtab_journal::StoredEvent>| events.into_iter().map(|e| e.kind).collect::<String>();
    assert_eq!(
        journal.read_stream("run/run-1", 0).await.unwrap()[..2],
        stored[..]
    );
    assert_eq!(kinds(journal.read_stream("run/run-1", 1).await.unwrap()), "bd");
    assert_eq!(kinds(journal.read_stream("run/run-", 0).await.unwrap()), "");
    assert_eq!(kinds(journal.read_all(0, 100).await.unwrap()), "abcd");
    assert_eq!(kinds(journal.read_all(1, 2).await.unwrap()), "bc");
    assert_eq!(kinds(journal.read_back(u64::MAX, 3).await.unwrap()), "dcb");
    assert_eq!(kinds(journal.read_back(3, 3).await.unwrap()), "ba");
    let streams = journal.streams("run/").await.unwrap();
    assert_eq!(streams.len(), 1);
    assert_eq!(
        (streams[0].name.as_str(), streams[0].sequence, streams[0].position),
        ("run/run-1", 3, 4)
    );
    assert_eq!(journal.streams("").await.unwrap().len(), 2);
    assert_eq!(journal.streams("run/%").await.unwrap().len(), 0);

    journal.close().await;
    let again = Journal::open(folder.path().join("journal.db")).await.unwrap();
    assert_eq!(kinds(again.read_all(0, 100).await.unwrap()), "abcd");
    assert_eq!(again.last_position(), 4);
}

#[tokio::test]
async fn an_unexpected_stream_is_a_conflict_that_changes_nothing() {
    let (_folder, journal) = open().await;
    journal
        .append(Expected::NoStream, vec![event("s", "a")])
        .await
        .unwrap();
    for expected in [Expected::NoStream, Expected::Exactly(0), Expected::Exactly(2)] {
        let error = journal.append(expected, vec![event("s", "b")]).await.unwrap_err();
        assert_eq!(
            error,
            JournalError::Conflict {
                stream: "s".to_owned(),
                expected,
                actual: 1
            }
        );
    }
    // Of several streams one conflicts: none is written.
    let groups = vec![
        (Expected::NoStream, vec![event("t", "a")]),
        (Expected::NoStream, vec![event("s", "b")]),
    ];
    assert!(journal.append_many(groups).await.is_err());
    assert_eq!(journal.last_position(), 1);
    assert_eq!(journal.read_stream("t", 0).await.unwrap(), []);
    assert_eq!(journal.stats().conflicts, 4);

    let groups = vec![
        (Expected::NoStream, vec![event("t", "a"), event("t", "b")]),
        (Expected::Exactly(1), vec![event("s", "b")]),
    ];
    let stored = journal.append_many(groups).await.unwrap();
    let places: Vec<_> = stored
        .iter()
        .map(|e| (e.stream.as_str(), e.sequence, e.position))
        .collect();
    assert_eq!(places, [("t", 1, 2), ("t", 2, 3), ("s", 2, 4)]);
}

#[tokio::test]
async fn limits_refuse_before_anything_is_written() {
    let (_folder, journal) = open().await;
    let mut big = event("s", "a");
    big.body = json!("x".repeat(BODY_BYTES_MAX));
    let error = journal
        .append(Expected::Any, vec![event("s", "a"), big])
        .await
        .unwrap_err();
    assert!(
        matches!(error, JournalError::TooLarge { bytes, .. } if bytes == BODY_BYTES_MAX + 2),
        "{error}"
    );
    let many = vec![event("s", "a"); EVENTS_PER_APPEND_MAX + 1];
    assert!(matches!(
        journal.append(Expected::Any, many).await,
        Err(JournalError::TooMany { .. })
    ));
    let mixed = vec![event("s", "a"), event("t", "a")];
    assert!(matches!(
        journal.append(Expected::Any, mixed).await,
        Err(JournalError::MixedStreams { .. })
    ));
    let twice = vec![
        (Expected::Any, vec![event("s", "a")]),
        (Expected::Any, vec![event("s", "b")]),
    ];
    assert!(matches!(
        journal.append_many(twice).await,
        Err(JournalError::MixedStreams { .. })
    ));
    for bad in ["", "a\0b", &"x".repeat(201)] {
        assert!(matches!(
            journal.append(Expected::Any, vec![event(bad, "a")]).await,
            Err(JournalError::Name { .. })
        ));
    }
    assert_eq!(journal.append(Expected::NoStream, vec![]).await.unwrap(), []);
    assert_eq!(journal.last_position(), 0);
    assert_eq!(journal.stats().refused, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_concurrent_writers_exactly_one_wins_each_round() {
    const WRITERS: usize = 8;
    const ROUNDS: u64 = 40;
    let (_folder, journal) = open().await;
    let wins: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut won = Vec::new();
                for round in 0..ROUNDS {
                    let kind = format!("w{writer}");
                    match journal
                        .append(Expected::Exactly(round), vec![event("s", &kind)])
                        .await
                    {
                        Ok(stored) => won.push(stored[0].sequence),
                        Err(JournalError::Conflict { .. }) => {
                            // Wait until this round is decided, so that all writers meet in the next one.
                            let mut watch = journal.subscribe();
                            watch.wait_for(|position| *position > round).await.unwrap();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                won
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in wins {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (1..=ROUNDS).collect::<Vec<_>>());
    assert_eq!(journal.read_stream("s", 0).await.unwrap().len() as u64, ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subscribers_see_the_newest_position() {
    let (_folder, journal) = open().await;
    let mut watch = journal.subscribe();
    let follower = {
        let journal = journal.clone();
        tokio::spawn(async move {
            let mut seen = HashSet::new();
            let mut after = 0;
            while seen.len() < 100 {
                watch.wait_for(|position| *position > after).await.unwrap();
                for event in journal.read_all(after, 1_000).await.unwrap() {
                    after = event.position;
                    assert!(seen.insert(event.position));
                }
            }
        })
    };
    let appends = (0..100).map(|n| {
        let journal = journal.clone();
        tokio::spawn(async move {
            journal
                .append(Expected::Any, vec![event(&format!("s{}", n % 7), "a")])
                .await
        })
    });
    for append in appends.collect::<Vec<_>>() {
        append.await.unwrap().unwrap();
    }
    tokio::time::timeout(std::time::Duration::from_secs(10), follower)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_undoes_nothing() {
    let (_folder, journal) = open().await;
    for _ in 0..20 {
        let append = journal.append(Expected::Any, vec![event("s", "a"), event("s", "b")]);
        let _ = tokio::time::timeout(std::time::Duration::ZERO, append).await;
    }
    journal
        .append(Expected::Any, vec![event("s", "last")])
        .await
        .unwrap();
    let events = journal.read_stream("s", 0).await.unwrap();
    assert_eq!(events.len() % 2, 1, "an append is whole or absent");
    assert!(
        events
            .iter()
            .zip(1..)
            .all(|(event, sequence)| event.sequence == sequence)
    );
}

#[tokio::test]
async fn a_closed_journal_says_so() {
    let (_folder, journal) = open().await;
    journal
        .append(Expected::Any, vec![event("s", "a")])
        .await
        .unwrap();
    let other = journal.clone();
    journal.close().await;
    assert_eq!(
        other.append(Expected::Any, vec![event("s", "a")]).await,
        Err(JournalError::Closed)
    );
    assert_eq!(other.read_all(0, 1).await, Err(JournalError::Closed));
}

#[tokio::test]
async fn a_backup_is_a_journal() {
    let (folder, journal) = open().await;
    journal
        .append(Expected::Any, vec![event("s", "a")])
        .await
        .unwrap();
    let to = folder.path().join("backup.db");
    journal.backup(&to).await.unwrap();
    journal
        .append(Expected::Any, vec![event("s", "b")])
        .await
        .unwrap();
    assert!(matches!(
        journal.backup(&to).await,
        Err(JournalError::Open { .. })
    ));
    let copy = Journal::open(&to).await.unwrap();
    assert_eq!(
        copy.read_all(0, 10).await.unwrap(),
        journal.read_all(0, 1).await.unwrap()
    );
}
