//! The store as its users see it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use trimtab_model::Identity;
use trimtab_store::{
    AttributeFilter, Clock, EventQuery, LogQuery, Order, Origin, SignalStore, SpanQuery, Store, StoreConfig,
    StoreError, TEMPLATE_ATTRIBUTE, TailFilter, TimeRange, WalConfig,
};
use trimtab_telemetry::{Attributes, Batch, Event, Level, LogRecord, Span, SpanKind, SpanStatus, TraceId};

const DAY_MS: i64 = 86_400_000;
const NOON_MS: i64 = 1_700_006_400_000;
const SECOND: u64 = 1_000_000_000;
const NOON: u64 = NOON_MS as u64 * 1_000_000;

struct Room {
    dir: tempfile::TempDir,
    config: StoreConfig,
    now: Arc<AtomicI64>,
    store: Option<Store>,
}

impl Room {
    fn new(config: StoreConfig) -> Self {
        let now = Arc::new(AtomicI64::new(NOON_MS));
        let mut room = Room {
            dir: tempfile::tempdir().unwrap(),
            config: StoreConfig {
                clock: Clock::Manual(now.clone()),
                ..config
            },
            now,
            store: None,
        };
        room.reopen();
        room
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(self.dir.path(), self.config.clone()).unwrap());
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    async fn add(&self, batch: Batch) {
        let rows = batch.rows() as u64;
        assert_eq!(self.store().append(batch, "").await.unwrap().rows, rows);
    }

    async fn bodies(&self, query: LogQuery) -> Vec<String> {
        let logs = self.store().scan_logs(query).await.unwrap();
        logs.into_iter().map(|log| log.body).collect()
    }

    fn files(&self, signal: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for day in std::fs::read_dir(self.dir.path().join(signal)).unwrap() {
            for file in std::fs::read_dir(day.unwrap().path()).unwrap() {
                found.push(file.unwrap().path());
            }
        }
        found.sort();
        found
    }
}

fn from(service: &str, release: &str) -> Arc<Identity> {
    Arc::new(Identity {
        service: Some(service.parse().unwrap()),
        release: Some(release.parse().unwrap()),
        ..Identity::default()
    })
}

fn log(at: u64, body: &str) -> LogRecord {
    LogRecord {
        identity: from("blocks", "blocks-r1"),
        at_nanos: at,
        observed_nanos: at,
        level: Level::Info,
        body: body.to_owned(),
        trace_id: None,
        span_id: None,
        scope: String::new(),
        attributes: Attributes::from([("thread".to_owned(), 7.into())]),
        resource: Arc::new(Attributes::from([("host.name".to_owned(), "a".into())])),
    }
}

fn span(at: u64, trace: u8, id: u8, name: &str) -> Span {
    Span {
        identity: from("blocks", "blocks-r1"),
        trace_id: TraceId::new([trace; 16]).unwrap(),
        span_id: format!("{id:016x}").parse().unwrap(),
        parent_span_id: None,
        name: name.to_owned(),
        kind: SpanKind::Server,
        start_nanos: at,
        end_nanos: at + u64::from(id) * 1_000_000,
        status: SpanStatus::Unset,
        status_message: String::new(),
        scope: String::new(),
        attributes: Attributes::new(),
        resource: Arc::default(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

fn event(at: u64, kind: &str) -> Event {
    Event {
        identity: Arc::default(),
        at_nanos: at,
        id: String::new(),
        source: "journal".to_owned(),
        kind: kind.to_owned(),
        title: kind.to_owned(),
        attributes: Attributes::new(),
    }
}

fn logs(logs: Vec<LogRecord>) -> Batch {
    Batch {
        logs,
        ..Batch::default()
    }
}

fn newest(limit: usize) -> LogQuery {
    LogQuery {
        limit,
        ..LogQuery::default()
    }
}

#[tokio::test]
async fn rows_are_visible_at_once_after_a_flush_and_after_a_restart() {
    let mut room = Room::new(StoreConfig::default());
    let batch = Batch {
        logs: vec![log(NOON, "one"), log(NOON + 1, "two")],
        spans: vec![span(NOON, 1, 1, "GET /")],
        events: vec![event(NOON, "rollout.started")],
        ..Batch::default()
    };
    room.add(batch.clone()).await;
    for place in ["memory", "the log", "files", "files after a restart"] {
        match place {
            "the log" | "files after a restart" => room.reopen(),
            "files" => room.store().flush().await.unwrap(),
            _ => {}
        }
        let store = room.store();
        let oldest_first = LogQuery {
            order: Order::OldestFirst,
            ..LogQuery::default()
        };
        assert_eq!(
            store.scan_logs(oldest_first).await.unwrap(),
            batch.logs,
            "{place}"
        );
        assert_eq!(room.bodies(newest(1)).await, ["two"], "{place}");
        let trace = store.trace(TraceId::new([1; 16]).unwrap()).await.unwrap();
        assert_eq!(trace, batch.spans, "{place}");
        let events = store.events(EventQuery::default()).await.unwrap();
        assert_eq!(events, batch.events, "{place}");
    }
    let stats = room.store().stats();
    assert_eq!(
        (
            stats.logs.file_rows,
            stats.spans.file_rows,
            stats.events.file_rows
        ),
        (2, 1, 1)
    );
    assert_eq!((stats.memory_bytes, stats.wal.segments), (0, 1));
}

#[tokio::test]
async fn log_queries_filter_alike_in_memory_and_in_files() {
    let room = Room::new(StoreConfig::default());
    let mut failed = log(NOON + SECOND, "Cannot open BLOCK 7");
    failed.level = Level::Error;
    failed.trace_id = Some(TraceId::new([3; 16]).unwrap());
    failed.identity = from("blocks", "blocks-r2");
    failed
        .attributes
        .insert(TEMPLATE_ATTRIBUTE.to_owned(), "t5".into());
    let mut other = log(NOON + 2 * SECOND, "hello");
    other.identity = from("search", "search-r1");
    room.add(logs(vec![log(NOON, "opened block 1"), failed, other]))
        .await;
    let origin = |service: Option<&str>, release: Option<&str>| Origin {
        service: service.map(|name| name.parse().unwrap()),
        release: release.map(|name| name.parse().unwrap()),
        ..Origin::default()
    };
    let attribute = |name: &str, value: &str| {
        vec![AttributeFilter {
            name: name.to_owned(),
            value: value.to_owned(),
        }]
    };
    let all = LogQuery::default;
    let cases = [
        (all(), 3),
        (
            LogQuery {
                contains: Some("block".to_owned()),
                ..all()
            },
            2,
        ),
        (
            LogQuery {
                level_min: Some(Level::Warn),
                ..all()
            },
            1,
        ),
        (
            LogQuery {
                origin: origin(Some("search"), None),
                ..all()
            },
            1,
        ),
        (
            LogQuery {
                origin: origin(Some("blocks"), Some("blocks-r1")),
                ..all()
            },
            1,
        ),
        (
            LogQuery {
                origin: origin(Some("absent"), None),
                ..all()
            },
            0,
        ),
        (
            LogQuery {
                template: Some("t5".to_owned()),
                ..all()
            },
            1,
        ),
        (
            LogQuery {
                trace_id: Some(TraceId::new([3; 16]).unwrap()),
                ..all()
            },
            1,
        ),
        (
            LogQuery {
                attributes: attribute("thread", "7"),
                ..all()
            },
            3,
        ),
        (
            LogQuery {
                attributes: attribute("host.name", "b"),
                ..all()
            },
            0,
        ),
        (
            LogQuery {
                range: TimeRange::from_millis(NOON_MS + 1000, NOON_MS + 2000),
                ..all()
            },
            1,
        ),
        (LogQuery { limit: 2, ..all() }, 2),
    ];
    for place in ["memory", "files"] {
        for (query, count) in &cases {
            assert_eq!(
                room.bodies(query.clone()).await.len(),
                *count,
                "{place}: {query:?}"
            );
        }
        room.store().flush().await.unwrap();
    }
}

#[tokio::test]
async fn spans_are_found_by_trace_and_by_what_they_were() {
    let room = Room::new(StoreConfig::default());
    for trace in 1..=60 {
        let mut child = span(NOON + 1, trace, 2, "SELECT");
        child.parent_span_id = Some("0000000000000001".parse().unwrap());
        child.status = SpanStatus::Error;
        let spans = vec![child, span(NOON, trace, 1, "GET /blocks")];
        room.add(Batch {
            spans,
            ..Batch::default()
        })
        .await;
        if trace % 20 == 0 {
            room.store().flush().await.unwrap();
        }
    }
    let store = room.store();
    let trace = store.trace(TraceId::new([42; 16]).unwrap()).await.unwrap();
    let names: Vec<&str> = trace.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET /blocks", "SELECT"]);
    assert_eq!(store.trace(TraceId::new([99; 16]).unwrap()).await.unwrap(), []);
    let all = SpanQuery::default;
    for (query, count) in [
        (SpanQuery { limit: 500, ..all() }, 120),
        (
            SpanQuery {
                roots_only: true,
                ..all()
            },
            60,
        ),
        (
            SpanQuery {
                status: Some(SpanStatus::Error),
                ..all()
            },
            60,
        ),
        (
            SpanQuery {
                name: Some("SELECT".to_owned()),
                limit: 5,
                ..all()
            },
            5,
        ),
        (
            SpanQuery {
                duration_min_nanos: Some(2_000_000),
                ..all()
            },
            60,
        ),
    ] {
        assert_eq!(
            store.search_spans(query.clone()).await.unwrap().len(),
            count,
            "{query:?}"
        );
    }
}

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
async fn a_tail_shows_what_passes_its_filter() {
    let room = Room::new(StoreConfig {
        tail_batches_max: 4,
        ..StoreConfig::default()
    });
    let filter = TailFilter {
        logs: Some(LogQuery {
            level_min: Some(Level::Error),
            ..LogQuery::default()
        }),
        ..TailFilter::default()
    };
    let mut tail = room.store().tail(filter);
    let mut slow = room.store().tail(TailFilter::everything());
    let mut failed = log(NOON, "failed");
    failed.level = Level::Error;
    room.add(logs(vec![log(NOON, "fine"), failed])).await;
    let seen = tail.next().await.unwrap();
    assert_eq!((seen.logs.len(), seen.logs[0].body.as_str()), (1, "failed"));
    for n in 0..10 {
        room.add(logs(vec![log(NOON + n, "more")])).await;
    }
    assert_eq!(slow.next().await.unwrap().logs[0].body, "more");
    assert_eq!(room.store().stats().tail_missed, 7);
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

#[tokio::test]
async fn a_replay_gives_everything_in_order_a_little_at_a_time() {
    let room = Room::new(StoreConfig::default());
    let mut random = fastrand::Rng::with_seed(9);
    for n in 0..30 {
        let at = |random: &mut fastrand::Rng| NOON - random.u64(0..3000) * SECOND;
        let rows = (0..2000).map(|_| log(at(&mut random), "row")).collect();
        let mut batch = logs(rows);
        batch.events = vec![event(at(&mut random), "tick")];
        room.add(batch).await;
        if n % 10 == 5 {
            room.store().flush().await.unwrap();
        }
    }
    let mut replay = room.store().replay(TimeRange::ALL).await.unwrap();
    let (mut last, mut rows, mut events, mut batches) = (0, 0, 0, 0);
    while let Some(batch) = replay.next().await {
        let batch = batch.unwrap();
        assert!(batch.logs.len() <= 100_000);
        for log in &batch.logs {
            assert!(log.at_nanos >= last);
            last = log.at_nanos;
        }
        rows += batch.logs.len();
        events += batch.events.len();
        batches += 1;
    }
    assert_eq!((rows, events), (60_000, 30));
    assert!(batches >= 3, "{batches}");
    let nothing = TimeRange::from_millis(0, 1);
    assert!(room.store().replay(nothing).await.unwrap().next().await.is_none());
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

#[tokio::test]
async fn limits_are_kept() {
    let room = Room::new(StoreConfig::default());
    let rows = (0..300).map(|n| log(NOON + n, "row")).collect();
    room.add(logs(rows)).await;
    assert_eq!(room.bodies(newest(0)).await.len(), trimtab_store::ROWS_DEFAULT);
    assert_eq!(room.bodies(newest(usize::MAX)).await.len(), 300);
}
