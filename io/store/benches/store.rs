//! What log lines and spans weigh on disk and how fast they go in and are found. Prints one flat JSON
//! object.
//!
//! The rows are made up to look like a small web service's: a dozen log templates with numbers, paths
//! and ids in them, traces of three spans with the usual attributes.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use trimtab_model::Identity;
use trimtab_store::{LogQuery, SignalStore, Store, StoreConfig, TimeRange};
use trimtab_telemetry::{
    AttributeValue, Attributes, Batch, Level, LogRecord, Span, SpanId, SpanKind, SpanStatus, TraceId,
};

const BATCHES: u64 = 400;
const ROWS: u64 = 500;

#[tokio::main]
async fn main() {
    let mut figures = BTreeMap::new();
    measure("log_line", &mut figures, &mut logs).await;
    measure("span", &mut figures, &mut spans).await;
    for figure in figures.values_mut() {
        *figure = (*figure * 100.0).round() / 100.0;
    }
    println!("{}", serde_json::to_string(&figures).unwrap());
}

type Make<'a> = &'a mut dyn FnMut(&mut fastrand::Rng, u64) -> Batch;

async fn measure(name: &str, figures: &mut BTreeMap<String, f64>, make: Make<'_>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreConfig::default()).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    // An hour, so that rows have real distances; midnight may part them.
    let step = 3_600_000_000_000 / (BATCHES * ROWS);
    let mut seconds = 0.0;
    let mut wanted = None;
    for batch in 0..BATCHES {
        let begin = now - (BATCHES - batch) * ROWS * step;
        let mut rows = make(&mut random, begin);
        for (n, log) in rows.logs.iter_mut().enumerate() {
            log.at_nanos = begin + n as u64 * step + random.u64(0..step);
        }
        wanted = wanted.or(rows.spans.first().map(|span| span.trace_id));
        let began = cpu_seconds();
        store.append(rows, &batch.to_string()).await.unwrap();
        seconds += cpu_seconds() - began;
    }
    let rows = (BATCHES * ROWS) as f64;
    figures.insert(format!("store_append_{name}s_per_core_second"), rows / seconds);
    store.flush().await.unwrap();
    store.compact().await.unwrap();
    let stats = store.stats();
    let bytes = stats.logs.file_bytes + stats.spans.file_bytes;
    assert_eq!(stats.logs.file_rows + stats.spans.file_rows, BATCHES * ROWS);
    figures.insert(format!("store_bytes_per_{name}"), bytes as f64 / rows);
    if let Some(wanted) = wanted {
        let began = Instant::now();
        assert!(!store.trace(wanted).await.unwrap().is_empty());
        figures.insert(
            "store_trace_by_id_ms".to_owned(),
            began.elapsed().as_secs_f64() * 1000.0,
        );
    } else {
        query_logs(&store, figures).await;
    }
    let began = Instant::now();
    let mut replay = store.replay(TimeRange::ALL).await.unwrap();
    let mut replayed = 0;
    while let Some(batch) = replay.next().await {
        replayed += batch.unwrap().rows();
    }
    assert_eq!(replayed as f64, rows);
    figures.insert(
        format!("store_replay_{name}s_per_second"),
        rows / began.elapsed().as_secs_f64(),
    );
}

/// CPU time of this process, all threads; the disk's waits are not in it.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

async fn query_logs(store: &Store, figures: &mut BTreeMap<String, f64>) {
    for (name, query) in [
        (
            "store_newest_100_errors_ms",
            LogQuery {
                level_min: Some(Level::Error),
                ..LogQuery::default()
            },
        ),
        (
            "store_text_search_ms",
            LogQuery {
                contains: Some("cannot be found anywhere".to_owned()),
                ..LogQuery::default()
            },
        ),
    ] {
        let began = Instant::now();
        store.scan_logs(query).await.unwrap();
        figures.insert(name.to_owned(), began.elapsed().as_secs_f64() * 1000.0);
    }
}

fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        service: Some("blocks".parse().unwrap()),
        environment: Some("production".parse().unwrap()),
        release: Some("blocks-r2".parse().unwrap()),
        instance: Some("blocks-r2-production-1".parse().unwrap()),
        ..Identity::default()
    })
}

fn resource() -> Arc<Attributes> {
    let pairs = [
        ("service.name", "blocks"),
        ("service.version", "blocks-r2"),
        ("deployment.environment.name", "production"),
        ("host.name", "node-17"),
        ("telemetry.sdk.language", "rust"),
    ];
    Arc::new(pairs.map(|(name, value)| (name.to_owned(), value.into())).into())
}

fn trace_id(random: &mut fastrand::Rng) -> TraceId {
    TraceId::new(random.u128(1..).to_be_bytes()).unwrap()
}

fn span_id(random: &mut fastrand::Rng) -> SpanId {
    SpanId::new(random.u64(1..).to_be_bytes()).unwrap()
}

fn logs(random: &mut fastrand::Rng, _: u64) -> Batch {
    let (identity, resource) = (identity(), resource());
    let line = |random: &mut fastrand::Rng| {
        let id = random.u32(0..100_000);
        let (level, body) = match random.u8(0..20) {
            0 => (
                Level::Error,
                format!("failed to open block {id}: connection reset by peer"),
            ),
            1 => (
                Level::Warn,
                format!("slow query took {} ms", random.u32(200..3000)),
            ),
            2..=4 => (Level::Debug, format!("cache miss for block {id}")),
            5..=7 => (
                Level::Info,
                format!("search for {:?} found {} blocks", random.u16(..), id % 90),
            ),
            8..=9 => (
                Level::Info,
                format!("merged {} operations from peer {}", id % 50, id % 300),
            ),
            _ => (
                Level::Info,
                format!("GET /blocks/{id} 200 {}.{} ms", random.u8(1..90), random.u8(0..9)),
            ),
        };
        (level, body, id)
    };
    let rows = (0..ROWS).map(|_| {
        let (level, body, id) = line(random);
        LogRecord {
            identity: identity.clone(),
            at_nanos: 0,
            observed_nanos: 0,
            level,
            body,
            trace_id: Some(trace_id(random)),
            span_id: Some(span_id(random)),
            scope: "blocks::http".to_owned(),
            attributes: Attributes::from([
                ("thread.id".to_owned(), AttributeValue::Int(i64::from(id % 8))),
                ("user".to_owned(), format!("u{}", id % 900).into()),
            ]),
            resource: resource.clone(),
        }
    });
    Batch {
        logs: rows.collect(),
        ..Batch::default()
    }
}

fn spans(random: &mut fastrand::Rng, begin: u64) -> Batch {
    let (identity, resource) = (identity(), resource());
    let mut rows = Vec::new();
    while rows.len() < ROWS as usize {
        let (trace_id, root) = (trace_id(random), span_id(random));
        let start_nanos = begin + random.u64(0..8_000_000_000);
        for (n, name) in ["GET /blocks/{id}", "load block", "SELECT blocks"]
            .into_iter()
            .enumerate()
        {
            let start_nanos = start_nanos + n as u64 * random.u64(10_000..200_000);
            rows.push(Span {
                identity: identity.clone(),
                trace_id,
                span_id: if n == 0 { root } else { span_id(random) },
                parent_span_id: (n > 0).then_some(root),
                name: name.to_owned(),
                kind: [SpanKind::Server, SpanKind::Internal, SpanKind::Client][n],
                start_nanos,
                end_nanos: start_nanos + random.u64(100_000..90_000_000),
                status: SpanStatus::Unset,
                status_message: String::new(),
                scope: "blocks::http".to_owned(),
                attributes: Attributes::from([
                    ("http.request.method".to_owned(), "GET".into()),
                    ("http.response.status_code".to_owned(), 200.into()),
                    (
                        "url.path".to_owned(),
                        format!("/blocks/{}", random.u32(0..100_000)).into(),
                    ),
                ]),
                resource: resource.clone(),
                events: Vec::new(),
                links: Vec::new(),
            });
        }
    }
    rows.truncate(ROWS as usize);
    Batch {
        spans: rows,
        ..Batch::default()
    }
}
