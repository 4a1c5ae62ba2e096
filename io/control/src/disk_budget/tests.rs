#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use trimtab_store::Store;
use trimtab_telemetry::{Batch, Event, Labels, LogRecord, METRIC_NAME, Sample, Span};

use super::*;
use crate::clock;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[test]
fn the_settings_reach_the_stores() {
    let retention = Retention {
        metrics: Period::seconds(30 * 86_400),
        logs: Period::seconds(7 * 86_400),
        traces: Period::seconds(3 * 86_400),
        events: Period::seconds(90 * 86_400),
        size_max: Some(80_000_000),
    };
    let store = store_config(&retention);
    assert_eq!(
        (
            store.retention_ms,
            store.span_retention_ms,
            store.event_retention_ms
        ),
        (7 * DAY_MS, 3 * DAY_MS, 90 * DAY_MS)
    );
    let series = series_config(&retention);
    assert_eq!(
        (series.retention_ms, series.rollup_retention_ms),
        (15 * DAY_MS, 30 * DAY_MS)
    );
    assert_eq!(
        (store.wal_bytes_max, series.wal_bytes_max),
        (10_000_000, 10_000_000)
    );
    // The least that the metric store takes; anything shorter would not open.
    let short = Retention {
        metrics: Period::seconds(1),
        ..retention
    };
    let folder = tempfile::tempdir().unwrap();
    Series::open(folder.path(), series_config(&short)).unwrap();
}

fn log(at_ms: i64, body: String) -> Batch {
    let log: LogRecord = serde_json::from_value(serde_json::json!({
        "identity": {}, "at_nanos": at_ms as u64 * 1_000_000, "observed_nanos": at_ms as u64 * 1_000_000,
        "level": "info", "body": body
    }))
    .unwrap();
    Batch {
        logs: vec![log],
        ..Batch::default()
    }
}

/// Text that zstd cannot make small.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + (state >> 59) as u8 % 26)
        })
        .collect()
}

#[tokio::test]
async fn the_oldest_files_of_both_stores_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::now().0;
    let series = Series::open(folder.path().join("series"), SeriesConfig::default()).unwrap();
    let store = Store::open(folder.path().join("store"), StoreConfig::default()).unwrap();
    for days in [5, 3, 1] {
        store
            .append(log(now - days * DAY_MS, noise(days as u64, 40_000)), "")
            .await
            .unwrap();
        store.flush().await.unwrap();
    }
    let sample = Sample {
        labels: Labels::from_pairs([(METRIC_NAME.to_owned(), "up".to_owned())]),
        at_ms: now,
        value: 1.0,
    };
    series.append(vec![sample]).await.unwrap();
    series.flush().await.unwrap();
    let all = bytes_on_disk(&series, &store);
    assert_eq!(shed(&series, &store, all).await.unwrap(), 0, "it fits");
    assert_eq!(store.files().len(), 3);

    let removed = shed(&series, &store, all - 1_000).await.unwrap();
    assert!(removed >= 1_000);
    assert_eq!(store.files().len(), 2, "the oldest went");
    assert!(bytes_on_disk(&series, &store) <= all - 1_000);
    let left = store.scan_logs(trimtab_store::LogQuery::default()).await.unwrap();
    let mut ages: Vec<i64> = left
        .iter()
        .map(|log| (now - (log.at_nanos / 1_000_000) as i64) / DAY_MS)
        .collect();
    ages.sort_unstable();
    assert_eq!(ages, [1, 3]);
    assert_eq!(series.files().len(), 1, "newer than what had to go");

    shed(&series, &store, 0).await.unwrap();
    assert!(store.files().is_empty() && series.files().is_empty());
    // It still takes rows.
    store.append(log(now, "more".to_owned()), "").await.unwrap();
    assert_eq!(
        store
            .scan_logs(trimtab_store::LogQuery::default())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn each_signal_is_kept_for_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let now = clock::now().0;
    let retention = Retention {
        logs: Period::seconds(4 * 86_400),
        traces: Period::seconds(2 * 86_400),
        events: Period::seconds(8 * 86_400),
        ..Retention::default()
    };
    let store = Store::open(folder.path(), store_config(&retention)).unwrap();
    for days in [1, 3, 5, 7] {
        let at = (now - days * DAY_MS) as u64 * 1_000_000;
        let span: Span = serde_json::from_value(serde_json::json!({
            "identity": {}, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": format!("{days:016x}"),
            "name": "GET /", "start_nanos": at, "end_nanos": at
        }))
        .unwrap();
        let event: Event = serde_json::from_value(serde_json::json!({
            "identity": {}, "at_nanos": at, "id": days.to_string(), "source": "test", "kind": "k", "title": "t"
        }))
        .unwrap();
        let batch = Batch {
            spans: vec![span],
            events: vec![event],
            ..log(now - days * DAY_MS, "line".to_owned())
        };
        store.append(batch, "").await.unwrap();
    }
    store.flush().await.unwrap();
    store.retain(now).await.unwrap();
    let stats = store.stats();
    assert_eq!(
        (
            stats.logs.file_rows,
            stats.spans.file_rows,
            stats.events.file_rows
        ),
        (2, 1, 4)
    );
}
