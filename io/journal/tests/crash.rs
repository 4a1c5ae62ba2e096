//! What survives a kill at any instant, a torn or damaged file, and a second process.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use trimtab_journal::{Expected, Journal, JournalError, NewEvent, StoredEvent, examine, salvage};
use trimtab_model::{Actor, Timestamp};

/// Names the journal that the child appends to; its tests do nothing without it.
const CHILD_JOURNAL: &str = "TRIMTAB_TEST_JOURNAL";
/// How many kills; a soak sets thousands.
const KILLS: &str = "TRIMTAB_SOAK_ROUNDS";

fn event(stream: &str, kind: &str, bytes: usize) -> NewEvent {
    NewEvent::new(
        stream,
        kind,
        Timestamp(7),
        Actor::trimtab(),
        json!({"filler": "x".repeat(bytes)}),
    )
}

/// A child that runs one of this file's ignored tests on `journal`.
fn child(test: &str, journal: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env(CHILD_JOURNAL, journal)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the child of soak_kill_nine_loses_nothing_acknowledged"]
fn child_appends_until_killed() {
    let Some(path) = std::env::var_os(CHILD_JOURNAL) else {
        return;
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let journal = Journal::open(path).await.unwrap();
            let writers = (0..4).map(|writer: usize| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    let stream = format!("s{writer}");
                    let mut last = journal.read_stream(&stream, 0).await.unwrap().len() as u64;
                    for round in 0.. {
                        // Bodies of 0 to 16 KB make transactions of one page and of many.
                        let bytes = [0, 40, 900, 5_000, 16_000][(round + writer) % 5];
                        let group = vec![event(&stream, "a", bytes), event(&stream, "b", bytes)];
                        last = journal.append(Expected::Exactly(last), group).await.unwrap()[1].sequence;
                        let mut out = std::io::stdout().lock();
                        writeln!(out, "\nack {stream} {last}").unwrap();
                        out.flush().unwrap();
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
        });
}

fn assert_sound(events: &[StoredEvent]) -> HashMap<String, u64> {
    let mut heads: HashMap<String, u64> = HashMap::new();
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position, position);
        let head = heads.entry(event.stream.clone()).or_default();
        assert_eq!(event.sequence, *head + 1, "{} at {position}", event.stream);
        *head += 1;
    }
    heads
}

async fn read_everything(journal: &Journal) -> Result<Vec<StoredEvent>, JournalError> {
    let mut events = Vec::new();
    loop {
        let more = journal.read_all(events.len() as u64, 1_000).await?;
        if more.is_empty() {
            return Ok(events);
        }
        events.extend(more);
    }
}

#[tokio::test]
async fn soak_kill_nine_loses_nothing_acknowledged() {
    let kills: u64 = std::env::var(KILLS).map_or(8, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut path = folder.path().join("journal.db");
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    for round in 0..kills {
        if round % 50 == 49 {
            // A long soak begins a new file now and then, so that reading it all back stays quick.
            path = folder.path().join(format!("journal-{round}.db"));
            acknowledged.clear();
        }
        let mut appender = child("child_appends_until_killed", &path);
        let mut lines = BufReader::new(appender.stdout.take().unwrap());
        // The instant of the kill: after a few acknowledgements and then some microseconds, spread by a fixed
        // multiplicative sequence.
        let spread = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let mut wanted = 1 + spread % 40;
        let mut take = |line: &str| {
            let mut words = line.strip_suffix('\n').unwrap_or("").split(' ');
            if words.next() == Some("ack") {
                let stream = words.next().unwrap().to_owned();
                acknowledged.insert(stream, words.next().unwrap().parse().unwrap());
                true
            } else {
                false
            }
        };
        let mut line = String::new();
        while wanted > 0 {
            line.clear();
            assert!(
                lines.read_line(&mut line).unwrap() > 0,
                "the child ended by itself"
            );
            wanted -= u64::from(take(&line));
        }
        std::thread::sleep(Duration::from_micros(spread % 3_000));
        appender.kill().unwrap();
        appender.wait().unwrap();
        loop {
            line.clear();
            if lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            take(&line);
        }

        let journal = Journal::open(&path).await.unwrap();
        let events = read_everything(&journal).await.unwrap();
        let heads = assert_sound(&events);
        for (stream, sequence) in &acknowledged {
            assert!(
                heads[stream] >= *sequence,
                "round {round}: {stream} {sequence} was acknowledged"
            );
        }
        for head in heads.values() {
            assert_eq!(head % 2, 0, "an append of two events is whole or absent");
        }
        journal.close().await;
    }
    let found = examine(&path).await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

/// A journal with `settled` events in the file itself and `fresh` ones in the write-ahead log only, as a
/// crash would leave it: copied while open.
async fn crashed(folder: &Path, settled: u64, fresh: u64) -> (PathBuf, PathBuf) {
    let path = folder.join("journal.db");
    let journal = Journal::open(&path).await.unwrap();
    for _ in 0..settled {
        journal
            .append(Expected::Any, vec![event("s", "settled", 300)])
            .await
            .unwrap();
    }
    journal.close().await;
    let journal = Journal::open(&path).await.unwrap();
    for _ in 0..fresh {
        journal
            .append(Expected::Any, vec![event("s", "fresh", 300)])
            .await
            .unwrap();
    }
    let (file, wal) = (folder.join("crashed.db"), folder.join("crashed.db-wal"));
    std::fs::copy(&path, &file).unwrap();
    std::fs::copy(folder.join("journal.db-wal"), &wal).unwrap();
    journal.close().await;
    (file, wal)
}

#[tokio::test]
async fn a_write_ahead_log_torn_anywhere_keeps_what_was_checkpointed() {
    const SETTLED: u64 = 20;
    const FRESH: u64 = 6;
    let folder = tempfile::tempdir().unwrap();
    let (file, wal) = crashed(folder.path(), SETTLED, FRESH).await;
    let (whole_file, whole_wal) = (std::fs::read(&file).unwrap(), std::fs::read(&wal).unwrap());
    // Every byte of the header and around each frame's edges, and a stride between them.
    let frame = 24 + 4_096;
    let near_edge = |at: usize| at < 64 || (at - 32) % frame < 30 || (at - 32) % frame > frame - 3;
    let cuts = (0..=whole_wal.len()).filter(|at| near_edge(*at) && at % 7 == 0 || at % 997 == 0);
    let mut seen = std::collections::BTreeSet::new();
    for cut in cuts.chain([whole_wal.len()]) {
        let at = folder.path().join("torn.db");
        std::fs::write(&at, &whole_file).unwrap();
        std::fs::write(folder.path().join("torn.db-wal"), &whole_wal[..cut]).unwrap();
        let _ = std::fs::remove_file(folder.path().join("torn.db-shm"));
        let journal = Journal::open(&at)
            .await
            .unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let events = read_everything(&journal).await.unwrap();
        assert_sound(&events);
        assert!(events.len() as u64 >= SETTLED, "cut at {cut}");
        seen.insert(events.len() as u64);
        // And it takes events again.
        journal
            .append(
                Expected::Exactly(events.len() as u64),
                vec![event("s", "more", 10)],
            )
            .await
            .unwrap();
        journal.close().await;
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        (SETTLED..=SETTLED + FRESH).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_closed_journal_is_one_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..30 {
        let path = folder.path().join(format!("journal-{round}.db"));
        let journal = Journal::open(&path).await.unwrap();
        for n in 0..4 {
            journal
                .append(Expected::Exactly(n), vec![event("s", "a", 9_000)])
                .await
                .unwrap();
        }
        // Readers up to the moment of closing, so that all connections are there and some just became idle.
        let reads = (0..8).map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.read_stream("s", 0).await })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.unwrap().unwrap().len(), 4);
        }
        journal.close().await;
        // What is left beside the file would be lost to whoever copies the file alone.
        assert!(
            !folder.path().join(format!("journal-{round}.db-wal")).exists(),
            "round {round}"
        );
        assert!(std::fs::metadata(&path).unwrap().len() > 36_000, "round {round}");
    }
}

#[tokio::test]
async fn a_damaged_byte_is_an_error_or_harmless_and_never_a_wrong_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open(&path).await.unwrap();
    for n in 0..40 {
        journal
            .append(Expected::Any, vec![event(&format!("s{}", n % 3), "a", 200)])
            .await
            .unwrap();
    }
    let truth = read_everything(&journal).await.unwrap();
    journal.close().await;
    let whole = std::fs::read(&path).unwrap();
    let (mut harmless, mut found) = (0, 0);
    for at in (0..100).chain((100..whole.len()).step_by(211)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        let copy = folder.path().join("damaged.db");
        std::fs::write(&copy, &damaged).unwrap();
        let outcome = match Journal::open(&copy).await {
            Ok(journal) => {
                let read = read_everything(&journal).await;
                journal.close().await;
                read
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(events) => {
                harmless += 1;
                assert_eq!(events, truth, "byte {at}");
            }
            Err(
                JournalError::Corrupt { .. }
                | JournalError::NotAJournal { .. }
                | JournalError::Newer { .. }
                | JournalError::Database { .. },
            ) => found += 1,
            Err(error) => panic!("byte {at}: {error}"),
        }
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("damaged.db{suffix}")));
        }
    }
    assert!(found > 20 && harmless > 20, "{found} found, {harmless} harmless");
}

#[tokio::test]
async fn salvage_keeps_the_unbroken_beginning_of_every_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open(&path).await.unwrap();
    for n in 0..300 {
        journal
            .append(Expected::Any, vec![event(&format!("s{}", n % 3), "a", 400)])
            .await
            .unwrap();
    }
    let truth = read_everything(&journal).await.unwrap();
    journal.close().await;
    // Overwrite some pages in the middle, as a failing disk does.
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(
        bytes.len() > 120_000,
        "a closed journal is all in its file, not {} bytes of it",
        bytes.len()
    );
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 3 * 4096].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();

    let error = Journal::open(&path).await.unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("docs/journal.md") && text.contains("trimtab doctor"),
        "{text}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "looking changes nothing");
    assert!(examine(&path).await.is_ok_and(|found| found.problem_count > 0));

    let to = folder.path().join("salvaged.db");
    let saved = salvage(&path, &to).await.unwrap();
    assert!(saved.kept > 50 && saved.kept < 300, "{saved:?}");
    assert!(!saved.cut.is_empty());
    assert_eq!(examine(&to).await.unwrap().problems, Vec::<String>::new());
    let journal = Journal::open(&to).await.unwrap();
    let events = read_everything(&journal).await.unwrap();
    assert_eq!(events.len() as u64, saved.kept);
    assert_sound(&events);
    for event in &events {
        let original = truth
            .iter()
            .find(|e| e.stream == event.stream && e.sequence == event.sequence)
            .unwrap();
        assert_eq!((&original.body, &original.kind), (&event.body, &event.kind));
    }
    assert_eq!(
        std::fs::read(&path).unwrap(),
        bytes,
        "the damaged file stays as it was"
    );
}

#[test]
#[ignore = "the child of a_second_process_is_told_who_has_it"]
fn child_holds_until_killed() {
    let Some(path) = std::env::var_os(CHILD_JOURNAL) else {
        return;
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let _journal = Journal::open(path).await.unwrap();
            println!("\nopen");
            std::future::pending::<()>().await;
        });
}

#[tokio::test]
async fn a_second_process_is_told_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut holder = child("child_holds_until_killed", &path);
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "open"));
    let error = Journal::open(&path).await.unwrap_err();
    assert_eq!(
        error,
        JournalError::Locked {
            path: path.clone(),
            pid: Some(holder.id())
        }
    );
    assert!(error.to_string().contains(&holder.id().to_string()), "{error}");
    // Looking is allowed.
    assert_eq!(examine(&path).await.unwrap().problems, Vec::<String>::new());
    holder.kill().unwrap();
    holder.wait().unwrap();
    Journal::open(&path).await.unwrap();
}

#[tokio::test]
async fn foreign_and_newer_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, "dear diary, ".repeat(1_000)).unwrap();
    let error = Journal::open(&path).await.unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { .. }), "{error:?}");
    assert_eq!(
        std::fs::read(&path).unwrap(),
        "dear diary, ".repeat(1_000).into_bytes()
    );
    std::fs::remove_file(&path).unwrap();

    let sqlite = |path: PathBuf, sql: &'static str| async move {
        use sqlx::{ConnectOptions, Connection};
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    sqlite(path.clone(), "CREATE TABLE diary (day TEXT)").await;
    assert!(matches!(
        Journal::open(&path).await,
        Err(JournalError::NotAJournal { .. })
    ));
    std::fs::remove_file(&path).unwrap();

    Journal::open(&path).await.unwrap().close().await;
    sqlite(path.clone(), "PRAGMA user_version = 9").await;
    let error = Journal::open(&path).await.unwrap_err();
    assert_eq!(
        error,
        JournalError::Newer {
            path: path.clone(),
            found: 9
        }
    );
    assert!(error.to_string().contains("format 9"), "{error}");

    let missing = folder.path().join("no-such-folder/journal.db");
    assert!(matches!(
        Journal::open(&missing).await,
        Err(JournalError::Open { .. })
    ));
    // An empty file (a crash right after it was made) is taken as new.
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let journal = Journal::open(&empty).await.unwrap();
    journal
        .append(Expected::NoStream, vec![event("s", "a", 1)])
        .await
        .unwrap();
}
