//! kill -9 at any instant: what was acknowledged is there afterwards, once.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use trimtab_series::{Series, SeriesConfig};
use trimtab_telemetry::{Labels, Sample};

const CHILD: &str = "TRIMTAB_SERIES_CHILD";
const ROUNDS_DEFAULT: u32 = 12;

fn config() -> SeriesConfig {
    // A tiny head, so that kills hit flushes and merges too.
    SeriesConfig {
        head_samples_max: 300,
        ..SeriesConfig::default()
    }
}

fn rounds() -> u32 {
    std::env::var("TRIMTAB_SOAK_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(ROUNDS_DEFAULT)
}

#[tokio::test]
async fn soak_nothing_acknowledged_is_lost_to_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let base_ms = SeriesConfig::default().clock.now_ms();
    for round in 0..rounds() {
        acknowledged = run_and_kill(dir.path(), base_ms, acknowledged, fastrand::u64(1..80));
        let series = Series::open(dir.path(), config()).unwrap();
        let data = series.select(&[], i64::MIN, i64::MAX).await.unwrap();
        let values: Vec<u64> = data[0].points.iter().map(|(_, value)| *value as u64).collect();
        let stored = values.len() as u64;
        assert!(
            stored >= acknowledged,
            "round {round}: {stored} of {acknowledged} acknowledged"
        );
        assert_eq!(values, (0..stored).collect::<Vec<_>>(), "round {round}");
        acknowledged = stored;
    }
}

/// Starts a writer that goes on from `from`, kills it after `batches` acknowledgements, and returns
/// how many samples were acknowledged in all.
fn run_and_kill(dir: &Path, base_ms: i64, from: u64, batches: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_writer", "--exact", "--nocapture"])
        .env(CHILD, format!("{from} {base_ms} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = from;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    for line in lines {
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

#[tokio::test]
async fn child_writer() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let (from, rest) = told.split_once(' ').unwrap();
    let (base_ms, dir) = rest.split_once(' ').unwrap();
    let series = Series::open(dir, config()).unwrap();
    let mut next: u64 = from.parse().unwrap();
    let base_ms: i64 = base_ms.parse().unwrap();
    let mut out = std::io::stdout();
    loop {
        let samples = (next..next + 37)
            .map(|n| Sample {
                labels: Labels::from_pairs([("__name__", "n")]),
                // Times grow with the number, over all rounds.
                at_ms: base_ms + n as i64,
                value: n as f64,
            })
            .collect();
        let appended = series.append(samples).await.unwrap();
        assert_eq!(appended.accepted, 37);
        next += 37;
        writeln!(out, "\nacknowledged {next}").unwrap();
        out.flush().unwrap();
        if next.is_multiple_of(5) {
            series.compact().await.unwrap();
        }
    }
}
