//! What is found again, by whom it is asked for.

use trimtab_store::{
    AttributeFilter, EventQuery, LogQuery, Order, Origin, SignalStore, SpanQuery, StoreConfig,
    TEMPLATE_ATTRIBUTE, TailFilter, TimeRange,
};
use trimtab_telemetry::{Batch, Level, SpanStatus, TraceId};

use super::room::*;

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
