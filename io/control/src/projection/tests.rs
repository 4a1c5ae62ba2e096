#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::json;
use trimtab_journal::{Expected, NewEvent};
use trimtab_store::{Store, StoreConfig};

use super::*;

async fn append(journal: &Journal, stream: &str, kind: &str, by: &str, body: serde_json::Value) {
    let event = NewEvent::new(stream, kind, clock::now(), Actor(by.to_owned()), body);
    journal.append(Expected::Any, vec![event]).await.unwrap();
}

async fn events(store: &Arc<dyn SignalStore>) -> Vec<Event> {
    let query = EventQuery {
        order: Order::OldestFirst,
        limit: ROWS_MAX,
        ..EventQuery::default()
    };
    store.events(query).await.unwrap()
}

async fn all(projector: &mut Projector) {
    while projector.step().await.unwrap() > 0 {}
}

#[tokio::test]
async fn events_of_the_journal_are_found_in_the_store_with_their_subject() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("journal.db")).await.unwrap();
    let plan = json!({"rollout": "rollout-4", "service": "blocks", "environment": "production", "candidate": "blocks-r2"});
    append(&journal, "rollout/rollout-4", "rollout.planned", "trimtab", plan).await;
    append(
        &journal,
        "token/t-1",
        "token.created",
        "alice",
        json!({"name": "ci"}),
    )
    .await;
    append(
        &journal,
        "rollout/rollout-4",
        "rollout.abort",
        "alice",
        json!({"type": "abort", "reason": "it is late"}),
    )
    .await;
    let store: Arc<dyn SignalStore> =
        Arc::new(Store::open(folder.path().join("store"), StoreConfig::default()).unwrap());
    let mark = folder.path().join("marks").join("projected");
    // Not from the beginning, so that the subject comes from the stream and not from what was just seen.
    crate::files::replace(&mark, b"1").unwrap();
    all(&mut Projector::new(journal.clone(), store.clone(), mark.clone())).await;
    std::fs::remove_file(&mark).unwrap();
    all(&mut Projector::new(journal.clone(), store.clone(), mark.clone())).await;
    let found = events(&store).await;
    let mut seen: Vec<_> = found
        .iter()
        .map(|event| (event.id.as_str(), event.kind.as_str(), event.title.as_str()))
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            ("1", "rollout.planned", "rollout-4: blocks-r2 to production"),
            ("3", "rollout.abort", "rollout-4: abort, it is late (by alice)"),
        ]
    );
    for event in &found {
        assert_eq!(event.identity.service.as_ref().unwrap().as_str(), "blocks");
        assert_eq!(event.identity.release.as_ref().unwrap().as_str(), "blocks-r2");
        assert_eq!(event.source, SOURCE);
    }
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "3");
}

/// A kill at any instant is one before the store has the events, between store and mark, or after the mark.
#[tokio::test]
async fn a_kill_between_store_and_mark_neither_doubles_nor_loses_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("journal.db")).await.unwrap();
    let mark = folder.path().join("projected");
    let mut expected = Vec::new();
    for round in 0u64..6 {
        for _ in 0..=round {
            append(&journal, "run/run-1", "run.happened", "trimtab", json!({})).await;
            expected.push((expected.len() + 1).to_string());
        }
        let marked = std::fs::read(&mark).ok();
        {
            let store: Arc<dyn SignalStore> =
                Arc::new(Store::open(folder.path().join("store"), StoreConfig::default()).unwrap());
            all(&mut Projector::new(journal.clone(), store.clone(), mark.clone())).await;
            if round % 2 == 0 {
                // Rows may be in files, whose keys nobody remembers after a restart.
                store.flush().await.unwrap();
            }
        }
        match (round % 3, marked) {
            (0, Some(before)) => std::fs::write(&mark, before).unwrap(),
            (0, None) => std::fs::remove_file(&mark).unwrap(),
            _ => {}
        }
        // More happens before the next start, so that the next step is longer than the interrupted one.
        append(&journal, "run/run-1", "run.happened", "trimtab", json!({})).await;
        expected.push((expected.len() + 1).to_string());
    }
    let store: Arc<dyn SignalStore> =
        Arc::new(Store::open(folder.path().join("store"), StoreConfig::default()).unwrap());
    all(&mut Projector::new(journal.clone(), store.clone(), mark.clone())).await;
    let mut ids: Vec<String> = events(&store).await.into_iter().map(|event| event.id).collect();
    ids.sort_by_key(|id| id.parse::<u64>().unwrap());
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn an_event_from_a_clock_that_was_ahead_is_stored_as_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("journal.db")).await.unwrap();
    let ahead = Timestamp(clock::now().0 + 86_400_000);
    let event = NewEvent::new(
        "run/run-1",
        "run.planned",
        ahead,
        Actor::trimtab(),
        json!({"title": "Mend it"}),
    );
    journal.append(Expected::Any, vec![event]).await.unwrap();
    let store: Arc<dyn SignalStore> =
        Arc::new(Store::open(folder.path().join("store"), StoreConfig::default()).unwrap());
    for _ in 0..2 {
        // The second time the mark is gone.
        let mark = folder.path().join("projected");
        let _ = std::fs::remove_file(&mark);
        all(&mut Projector::new(journal.clone(), store.clone(), mark)).await;
    }
    let found = events(&store).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].title, "run-1: Mend it");
    assert!(found[0].at_nanos < nanos(ahead));
}

#[tokio::test]
async fn a_shorter_journal_than_the_mark_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("journal.db")).await.unwrap();
    append(&journal, "run/run-1", "run.planned", "trimtab", json!({})).await;
    let store: Arc<dyn SignalStore> =
        Arc::new(Store::open(folder.path().join("store"), StoreConfig::default()).unwrap());
    let mark = folder.path().join("projected");
    std::fs::write(&mark, "900").unwrap();
    let mut projector = Projector::new(journal.clone(), store.clone(), mark);
    all(&mut projector).await;
    append(&journal, "run/run-1", "run.happened", "trimtab", json!({})).await;
    all(&mut projector).await;
    assert_eq!(
        events(&store).await.len(),
        1,
        "what was there before is not projected anew"
    );
}
