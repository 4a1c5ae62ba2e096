//! A store in a folder of its own with a clock that tests set, and rows to put in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use trimtab_model::Identity;
use trimtab_store::{Clock, LogQuery, SignalStore, Store, StoreConfig};
use trimtab_telemetry::{Attributes, Batch, Event, Level, LogRecord, Span, SpanKind, SpanStatus, TraceId};

pub(crate) const DAY_MS: i64 = 86_400_000;
pub(crate) const NOON_MS: i64 = 1_700_006_400_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const NOON: u64 = NOON_MS as u64 * 1_000_000;

pub(crate) struct Room {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: StoreConfig,
    pub(crate) now: Arc<AtomicI64>,
    pub(crate) store: Option<Store>,
}

impl Room {
    pub(crate) fn new(config: StoreConfig) -> Self {
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

    pub(crate) fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(self.dir.path(), self.config.clone()).unwrap());
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) async fn add(&self, batch: Batch) {
        let rows = batch.rows() as u64;
        assert_eq!(self.store().append(batch, "").await.unwrap().rows, rows);
    }

    pub(crate) async fn bodies(&self, query: LogQuery) -> Vec<String> {
        let logs = self.store().scan_logs(query).await.unwrap();
        logs.into_iter().map(|log| log.body).collect()
    }

    pub(crate) fn files(&self, signal: &str) -> Vec<PathBuf> {
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

pub(crate) fn from(service: &str, release: &str) -> Arc<Identity> {
    Arc::new(Identity {
        service: Some(service.parse().unwrap()),
        release: Some(release.parse().unwrap()),
        ..Identity::default()
    })
}

pub(crate) fn log(at: u64, body: &str) -> LogRecord {
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

pub(crate) fn span(at: u64, trace: u8, id: u8, name: &str) -> Span {
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

pub(crate) fn event(at: u64, kind: &str) -> Event {
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

pub(crate) fn logs(logs: Vec<LogRecord>) -> Batch {
    Batch {
        logs,
        ..Batch::default()
    }
}

pub(crate) fn newest(limit: usize) -> LogQuery {
    LogQuery {
        limit,
        ..LogQuery::default()
    }
}
