//! kill -9 at any instant, and a disk that fills up: what was acknowledged is there, once.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trimtab_store::{LogQuery, Order, SignalStore, Store, StoreConfig, TimeRange};
use trimtab_telemetry::{Attributes, Batch, Level, LogRecord};

const CHILD: &str = "TRIMTAB_STORE_CHILD";
const SPACE_CHILD: &str = "TRIMTAB_STORE_SPACE_CHILD";
const ROUNDS_DEFAULT: u32 = 10;
const ROWS: u64 = 20;

fn config() -> StoreConfig {
    // Little memory, so that kills hit flushes and merges too.
    StoreConfig {
        memory_bytes_max: 60_000,
        compact_files_min: 3,
        ..StoreConfig::default()
    }
}

fn rounds() -> u32 {
    std::env::var("TRIMTAB_SOAK_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(ROUNDS_DEFAULT)
}

fn numbers(range: std::ops::Range<u64>) -> Batch {
    let log = |n: u64| LogRecord {
        identity: Arc::default(),
        at_nanos: 1_700_000_000_000_000_000 + n,
        observed_nanos: 0,
        level: Level::Info,
        body: n.to_string(),
        trace_id: None,
        span_id: None,
        scope: String::new(),
        attributes: Attributes::new(),
        resource: Arc::default(),
    };
    Batch {
        logs: range.map(log).collect(),
        ..Batch::default()
    }
}

async fn stored(store: &Store) -> Vec<u64> {
    let mut replay = store.replay(TimeRange::ALL).await.unwrap();
    let mut all = Vec::new();
    while let Some(batch) = replay.next().await {
        all.extend(
            batch
                .unwrap()
                .logs
                .iter()
                .map(|log| log.body.parse::<u64>().unwrap()),
        );
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_nothing_acknowledged_is_lost_or_doubled_by_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..rounds() {
        acknowledged = run_and_kill(dir.path(), acknowledged, fastrand::u64(1..60));
        let store = Store::open(dir.path(), config()).unwrap();
        let all = stored(&store).await;
        let count = all.len() as u64;
        assert!(count >= acknowledged, "round {round}: {count} of {acknowledged}");
        assert_eq!(all, (0..count).collect::<Vec<_>>(), "round {round}");
        // The writer died between a batch and its acknowledgement: sent again with its key, it is
        // known, unless its log was flushed away meanwhile.
        acknowledged = count;
    }
}

/// Starts a writer that goes on from `from`, kills it after `batches` acknowledgements, and returns
/// how many rows were acknowledged in all.
fn run_and_kill(dir: &Path, from: u64, batches: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_writer", "--exact", "--nocapture"])
        .env(CHILD, format!("{from} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = from;
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(number) = line.unwrap().strip_prefix("acknowledged ") {
            acknowledged = number.parse().unwrap();
            seen += 1;
            if seen == batches {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(seen >= batches, "the writer ended by itself");
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writer() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let (from, dir) = told.split_once(' ').unwrap();
    let store = Store::open(dir, config()).unwrap();
    let mut next: u64 = from.parse().unwrap();
    let mut out = std::io::stdout();
    let merging = store.clone();
    tokio::spawn(async move {
        loop {
            merging.flush().await.unwrap();
            merging.compact().await.unwrap();
        }
    });
    loop {
        let key = format!("batch-{next}");
        let appended = store.append(numbers(next..next + ROWS), &key).await.unwrap();
        assert_eq!(appended.rows, ROWS);
        next += ROWS;
        writeln!(out, "\nacknowledged {next}").unwrap();
        out.flush().unwrap();
    }
}

/// A full disk, played by the limit on file sizes: the signal that comes with it is ignored by the
/// shell that starts the child, and the child lifts the limit again.
#[test]
fn a_full_disk_loses_nothing_and_everything_goes_on_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; exec \"$0\" child_with_little_space --exact --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(SPACE_CHILD, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("all is well"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_with_little_space() {
    let Some(dir) = std::env::var_os(SPACE_CHILD) else {
        return;
    };
    let store = Store::open(&dir, StoreConfig::default()).unwrap();
    let limited = getrlimit(Resource::Fsize);
    let mut acknowledged = 0;
    while acknowledged < 2000 {
        store
            .append(numbers(acknowledged..acknowledged + 100), "")
            .await
            .unwrap();
        acknowledged += 100;
    }
    let little = Rlimit {
        current: Some(1024),
        maximum: limited.maximum,
    };
    setrlimit(Resource::Fsize, little).unwrap();
    let flush = store.flush().await.unwrap_err().to_string();
    assert!(flush.contains("logs/date=2023-11-14"), "{flush}");
    // The new segment of the log is almost empty still.
    let append = loop {
        match store.append(numbers(acknowledged..acknowledged + 100), "").await {
            Ok(_) => acknowledged += 100,
            Err(error) => break error.to_string(),
        }
        assert!(acknowledged < 10_000);
    };
    assert!(
        append.contains("no space is left") && append.contains(".wal"),
        "{append}"
    );
    let expected: Vec<u64> = (0..acknowledged).collect();
    assert_eq!(stored(&store).await, expected);

    setrlimit(Resource::Fsize, limited).unwrap();
    store
        .append(numbers(acknowledged..acknowledged + 1), "")
        .await
        .unwrap();
    store.flush().await.unwrap();
    let stats = store.stats();
    assert_eq!(
        (stats.logs.memory_rows, stats.logs.file_rows),
        (0, acknowledged + 1)
    );
    drop(store);
    let store = Store::open(&dir, StoreConfig::default()).unwrap();
    let query = LogQuery {
        order: Order::NewestFirst,
        limit: 1,
        ..LogQuery::default()
    };
    assert_eq!(
        store.scan_logs(query).await.unwrap()[0].body,
        acknowledged.to_string()
    );
    assert_eq!(stored(&store).await.len() as u64, acknowledged + 1);
    println!("all is well");
}
