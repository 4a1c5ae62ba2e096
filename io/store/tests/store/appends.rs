//! What is taken in: once, within limits, and with a template and a time.

use std::sync::Arc;

use trimtab_store::{LogQuery, SignalStore, StoreConfig};
use trimtab_telemetry::LogRecord;

use super::room::*;

#[tokio::test]
async fn a_batch_with_a_known_key_is_stored_once() {
    let mut room = Room::new(StoreConfig::default());
    let batch = || logs(vec![log(NOON, "once")]);
    let first = room.store().append(batch(), "k1").await.unwrap();
    let again = room.store().append(batch(), "k1").await.unwrap();
    assert_eq!((first.rows, first.repeated), (1, false));
    assert_eq!((again.rows, again.repeated), (0, true));
    room.reopen();
    assert!(room.store().append(batch(), "k1").await.unwrap().repeated);
    assert!(!room.store().append(batch(), "k2").await.unwrap().repeated);
    assert_eq!(room.bodies(newest(0)).await, ["once", "once"]);
    assert_eq!(room.store().stats().repeated, 1);
}

#[tokio::test]
async fn at_the_same_time_too_a_key_counts_once() {
    let room = Room::new(StoreConfig::default());
    let appends: Vec<_> = (0..16)
        .map(|_| {
            let store = room.store().clone();
            tokio::spawn(async move {
                store
                    .append(logs(vec![log(NOON, "x")]), "same")
                    .await
                    .unwrap()
                    .rows
            })
        })
        .collect();
    let mut rows = 0;
    for append in appends {
        rows += append.await.unwrap();
    }
    assert_eq!(rows, 1);
    assert_eq!(room.bodies(newest(0)).await.len(), 1);
}

#[tokio::test]
async fn lines_get_their_template_before_they_are_stored() {
    let room = Room::new(StoreConfig {
        template_of: Some(Arc::new(|log: &LogRecord| {
            log.body.starts_with("opened").then(|| "t1".to_owned())
        })),
        ..StoreConfig::default()
    });
    room.add(logs(vec![log(NOON, "opened 5"), log(NOON, "closed 5")]))
        .await;
    room.store().flush().await.unwrap();
    let query = LogQuery {
        template: Some("t1".to_owned()),
        ..LogQuery::default()
    };
    assert_eq!(room.bodies(query).await, ["opened 5"]);
}

#[tokio::test]
async fn a_clock_that_jumps_is_counted_and_not_believed() {
    let room = Room::new(StoreConfig::default());
    let batch = logs(vec![
        log(NOON + 3600 * SECOND, "tomorrow"),
        log(u64::MAX, "never"),
        log(NOON, "now"),
    ]);
    let appended = room.store().append(batch, "").await.unwrap();
    assert_eq!((appended.rows, appended.too_far_ahead), (1, 2));
    assert_eq!(room.store().stats().too_far_ahead, 2);
    assert_eq!(room.bodies(newest(0)).await, ["now"]);
}

#[tokio::test]
async fn limits_are_kept() {
    let room = Room::new(StoreConfig::default());
    let rows = (0..300).map(|n| log(NOON + n, "row")).collect();
    room.add(logs(rows)).await;
    assert_eq!(room.bodies(newest(0)).await.len(), trimtab_store::ROWS_DEFAULT);
    assert_eq!(room.bodies(newest(usize::MAX)).await.len(), 300);
}
