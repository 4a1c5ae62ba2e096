//! Files: when they are made, merged, damaged and thrown away.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trimtab_store::{EventQuery, LogQuery, SignalStore, StoreConfig, StoreError, TimeRange, WalConfig};
use trimtab_telemetry::Batch;

use super::room::*;

#[tokio::test]
async fn small_files_of_a_day_become_one_in_order_with_every_row() {
    let room = Room::new(StoreConfig {
        compact_files_min: 4,
        ..StoreConfig::default()
    });
    let mut random = fastrand::Rng::with_seed(5);
    for n in 0..4 {
        let rows = (0..50).map(|m| {
            let mut row = log(NOON - random.u64(0..1000) * SECOND, &format!("{n} {m}"));
            row.identity = from(["a", "b"][m % 2], "r1");
            row
        });
        room.add(logs(rows.collect())).await;
        room.store().flush().await.unwrap();
    }
    let before = room.bodies(newest(1000)).await;
    assert_eq!((before.len(), room.files("logs").len()), (200, 4));
    room.store().compact().await.unwrap();
    assert_eq!(room.files("logs").len(), 1);
    let stats = room.store().stats();
    assert_eq!((stats.logs.files, stats.logs.file_rows), (1, 200));
    let mut after = room.bodies(newest(1000)).await;
    let mut before = before;
    before.sort();
    after.sort();
    assert_eq!(after, before);
}

#[tokio::test]
async fn days_have_folders_and_old_ones_go() {
    let mut room = Room::new(StoreConfig::default());
    let day = DAY_MS as u64 * 1_000_000;
    let batch = Batch {
        logs: vec![
            log(NOON, "today"),
            log(NOON - day, "yesterday"),
            log(NOON - 16 * day, "long ago"),
        ],
        events: vec![event(NOON - 16 * day, "release.built")],
        ..Batch::default()
    };
    room.add(batch).await;
    room.store().flush().await.unwrap();
    let folders: Vec<String> = room
        .files("logs")
        .iter()
        .map(|path| {
            path.parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(folders, ["date=2023-10-30", "date=2023-11-14", "date=2023-11-15"]);
    let retained = room
        .store()
        .retain(room.now.load(Ordering::Relaxed))
        .await
        .unwrap();
    assert_eq!(retained.files, 1);
    assert!(!room.dir.path().join("logs/date=2023-10-30").exists());
    room.reopen();
    assert_eq!(room.bodies(newest(0)).await, ["today", "yesterday"]);
    assert_eq!(room.store().events(EventQuery::default()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_goes_to_files_by_itself_while_queries_see_everything() {
    let room = Room::new(StoreConfig {
        memory_bytes_max: 100_000,
        compact_files_min: 3,
        ..StoreConfig::default()
    });
    for n in 0..40_u64 {
        let rows = (0..50).map(|m| log(NOON + n * 50 + m, "row")).collect();
        room.add(logs(rows)).await;
        if n % 7 == 0 {
            room.store().compact().await.unwrap();
        }
        let seen = room.bodies(newest(10_000)).await.len() as u64;
        assert_eq!(seen, (n + 1) * 50);
    }
    assert!(room.store().stats().memory_bytes < 300_000);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_rest_is_served() {
    let mut room = Room::new(StoreConfig::default());
    for body in ["lost", "kept"] {
        room.add(logs(vec![log(NOON, body)])).await;
        room.store().flush().await.unwrap();
    }
    room.store = None;
    let file = room.files("logs").remove(0);
    std::fs::write(&file, b"PAR1 and nothing more").unwrap();
    room.reopen();
    assert_eq!(room.bodies(newest(0)).await, ["kept"]);
    assert_eq!(room.store().stats().damaged_files, 1);
    assert!(Path::new(&format!("{}.damaged", file.display())).exists());
}

#[tokio::test]
async fn damage_inside_a_file_is_named_and_holds_up_only_its_day() {
    let room = Room::new(StoreConfig {
        compact_files_min: 2,
        ..StoreConfig::default()
    });
    let yesterday = NOON - DAY_MS as u64 * 1_000_000;
    for at in [yesterday, yesterday + 1, NOON, NOON + 1] {
        room.add(logs(vec![log(at, "row")])).await;
        room.store().flush().await.unwrap();
    }
    let bad = room.files("logs").remove(0);
    let mut bytes = std::fs::read(&bad).unwrap();
    for byte in &mut bytes[4..200] {
        *byte ^= 0xFF;
    }
    std::fs::write(&bad, bytes).unwrap();
    let error = room.store().scan_logs(newest(0)).await.unwrap_err().to_string();
    assert!(error.contains(&bad.display().to_string()), "{error}");
    assert!(error.contains("move the file away"), "{error}");
    room.store().compact().await.unwrap_err();
    assert_eq!(room.files("logs").len(), 3, "today was merged");
    let today = LogQuery {
        range: TimeRange::from_millis(NOON_MS, NOON_MS + 1),
        ..LogQuery::default()
    };
    assert_eq!(room.bodies(today).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_while_files_cannot_be_written() {
    let room = Room::new(StoreConfig {
        memory_bytes_max: 20_000,
        wal: WalConfig {
            queue_wait_max: Duration::from_millis(300),
            ..WalConfig::default()
        },
        ..StoreConfig::default()
    });
    let folder = room.dir.path().join("logs");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let mut stored = 0;
    let refused = loop {
        let rows = (0..10).map(|n| log(NOON + stored + n, "row")).collect();
        match room.store().append(logs(rows), "").await {
            Ok(_) => stored += 10,
            Err(error) => break error,
        }
        assert!(stored <= 200, "{stored}");
    };
    assert!(matches!(&refused, StoreError::Behind { .. }), "{refused}");
    assert!(
        refused.to_string().contains("logs"),
        "it names what is in the way: {refused}"
    );
    std::fs::remove_file(&folder).unwrap();
    room.store().flush().await.unwrap();
    room.add(logs(vec![log(NOON + stored, "row")])).await;
    assert_eq!(room.bodies(newest(1000)).await.len() as u64, stored + 1);
}
