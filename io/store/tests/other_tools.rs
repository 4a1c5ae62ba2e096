//! Other tools read the files without us: pyarrow, which pandas and DuckDB build on or match.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::Command;
use std::sync::Arc;

use trimtab_model::Identity;
use trimtab_store::{SignalStore, Store, StoreConfig};
use trimtab_telemetry::{Attributes, Batch, Event, Level, LogRecord, Span, SpanKind, SpanStatus};

const SCRIPT: &str = r#"
import json, sys
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet

root = sys.argv[1]
logs = dataset.dataset(root + "/logs", partitioning="hive", exclude_invalid_files=False)
table = logs.to_table().sort_by([("service", "ascending"), ("time", "ascending")])
rows = table.to_pylist()
assert len(rows) == 3, rows
assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]", table.schema
first = rows[0]
assert first["service"] == "blocks" and first["level"] == "error", first
assert first["severity_number"] == 17 and first["template_id"] == "t1", first
assert json.loads(first["attributes"]) == {"code": 500, "path": "/blocks"}, first
assert first["trace_id"] == "01" * 16, first
assert str(first["date"]) == "2023-11-14", first
errors = logs.to_table(filter=dataset.field("severity_number") >= 17)
assert errors.num_rows == 1

path = logs.files[0]
info = parquet.ParquetFile(path)
group = info.metadata.row_group(0)
column = group.column(info.schema_arrow.names.index("time"))
assert column.compression == "ZSTD" and column.statistics.has_min_max, column
assert [c.column_index for c in group.sorting_columns] == [
    info.schema_arrow.names.index("service"), info.schema_arrow.names.index("time")]
times = parquet.read_table(path, columns=["service", "time"]).to_pylist()
assert times == sorted(times, key=lambda row: (row["service"], row["time"])), times

spans = dataset.dataset(root + "/spans", partitioning="hive").to_table().to_pylist()
assert spans[0]["duration_nanos"] == 2000 and spans[0]["name"] == "GET /blocks", spans
events = dataset.dataset(root + "/events", partitioning="hive").to_table().to_pylist()
assert events[0]["kind"] == "rollout.started", events
print("read", len(rows) + len(spans) + len(events), "rows")
"#;

#[tokio::test]
async fn pyarrow_reads_the_files() {
    let python = std::env::var_os("TRIMTAB_TEST_PYTHON").expect(
        "TRIMTAB_TEST_PYTHON names a Python that has pyarrow: run `cargo xtask test`, which makes one",
    );
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreConfig::default()).unwrap();
    store.append(batch(), "").await.unwrap();
    store.flush().await.unwrap();
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{error}");
    assert_eq!(said.trim(), "read 5 rows");
}

fn batch() -> Batch {
    let at = 1_700_000_000_123_456_000;
    let identity = |service: &str| {
        Arc::new(Identity {
            service: Some(service.parse().unwrap()),
            ..Identity::default()
        })
    };
    let log = |service: &str, at_nanos: u64| LogRecord {
        identity: identity(service),
        at_nanos,
        observed_nanos: at_nanos,
        level: Level::Info,
        body: "fine".to_owned(),
        trace_id: None,
        span_id: None,
        scope: String::new(),
        attributes: Attributes::new(),
        resource: Arc::default(),
    };
    let mut failed = log("blocks", at);
    failed.level = Level::Error;
    failed.trace_id = Some("01".repeat(16).parse().unwrap());
    failed.attributes = Attributes::from([
        ("code".to_owned(), 500.into()),
        ("path".to_owned(), "/blocks".into()),
        (trimtab_store::TEMPLATE_ATTRIBUTE.to_owned(), "t1".into()),
    ]);
    let span = Span {
        identity: identity("blocks"),
        trace_id: "01".repeat(16).parse().unwrap(),
        span_id: "02".repeat(8).parse().unwrap(),
        parent_span_id: None,
        name: "GET /blocks".to_owned(),
        kind: SpanKind::Server,
        start_nanos: at,
        end_nanos: at + 2000,
        status: SpanStatus::Error,
        status_message: String::new(),
        scope: String::new(),
        attributes: Attributes::new(),
        resource: Arc::default(),
        events: Vec::new(),
        links: Vec::new(),
    };
    let event = Event {
        identity: identity("blocks"),
        at_nanos: at,
        id: "1".to_owned(),
        source: "journal".to_owned(),
        kind: "rollout.started".to_owned(),
        title: "started".to_owned(),
        attributes: Attributes::new(),
    };
    Batch {
        samples: Vec::new(),
        logs: vec![log("search", at), failed, log("blocks", at + 5000)],
        spans: vec![span],
        events: vec![event],
    }
}
