//! Journals that earlier versions wrote must stay readable: one file for each format there ever was.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use serde_json::json;
use trimtab_journal::{Expected, FORMAT, Journal, NewEvent, examine};
use trimtab_model::{Actor, Timestamp};

fn golden(format: u32) -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join(format!("tests/golden/format-{format}.db"))
}

fn events() -> Vec<NewEvent> {
    let actor = Actor("ann".to_owned());
    let body = json!({"text": "übung", "number": 42, "list": [1, null, true], "nested": {"a": "b"}});
    vec![
        NewEvent::new(
            "run/run-1",
            "started",
            Timestamp(1_700_000_000_000),
            actor.clone(),
            body,
        ),
        NewEvent {
            version: 3,
            ..NewEvent::new("run/run-1", "ended", Timestamp(-5), actor, json!(null))
        },
    ]
}

#[tokio::test]
#[ignore = "writes the golden file of the current format; run it once, when the format changes"]
async fn write_golden() {
    let path = golden(FORMAT);
    let journal = Journal::open(&path).await.unwrap();
    journal.append(Expected::NoStream, events()).await.unwrap();
    journal
        .append(
            Expected::NoStream,
            vec![NewEvent {
                stream: "other".to_owned(),
                ..events().remove(0)
            }],
        )
        .await
        .unwrap();
    journal.close().await;
}

#[tokio::test]
async fn every_format_can_be_read() {
    for format in 1..=FORMAT {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("journal.db");
        std::fs::copy(golden(format), &copy).unwrap();
        assert_eq!(
            examine(&copy).await.unwrap().problems,
            Vec::<String>::new(),
            "format {format}"
        );
        let journal = Journal::open(&copy).await.unwrap();
        let read = journal.read_stream("run/run-1", 0).await.unwrap();
        assert_eq!(read.len(), 2);
        for (read, written) in read.iter().zip(events()) {
            assert_eq!(
                (&read.kind, read.version, read.at),
                (&written.kind, written.version, written.at)
            );
            assert_eq!((&read.actor, &read.body), (&written.actor, &written.body));
        }
        assert_eq!(journal.read_all(0, 10).await.unwrap()[2].stream, "other");
        let more = journal
            .append(Expected::Exactly(2), vec![events().remove(0)])
            .await
            .unwrap();
        assert_eq!((more[0].position, more[0].sequence), (4, 3));
    }
}
