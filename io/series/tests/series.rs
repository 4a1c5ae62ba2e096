//! The metric store as its users see it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use trimtab_series::{Clock, Series, SeriesConfig, SeriesError, WalConfig};
use trimtab_telemetry::{Labels, MatchOp, Matcher, Sample, SeriesData};

const HOUR_MS: i64 = 3_600_000;
/// A whole two-hour window begins here.
const NOON_MS: i64 = 1_700_006_400_000;

struct Room {
    dir: tempfile::TempDir,
    now: Arc<AtomicI64>,
    config: SeriesConfig,
    series: Option<Series>,
}

impl Room {
    fn new(config: SeriesConfig) -> Self {
        let now = Arc::new(AtomicI64::new(NOON_MS));
        let mut room = Room {
            dir: tempfile::tempdir().unwrap(),
            config: SeriesConfig {
                clock: Clock::Manual(now.clone()),
                ..config
            },
            now,
            series: None,
        };
        room.reopen();
        room
    }

    fn reopen(&mut self) {
        self.series = None;
        self.series = Some(Series::open(self.dir.path(), self.config.clone()).unwrap());
    }

    fn series(&self) -> &Series {
        self.series.as_ref().unwrap()
    }

    fn set_now(&self, now_ms: i64) {
        self.now.store(now_ms, Ordering::Relaxed);
    }

    async fn add(&self, metric: &str, points: &[(i64, f64)]) {
        let samples: Vec<Sample> = points
            .iter()
            .map(|(at, value)| sample(metric, *at, *value))
            .collect();
        let count = samples.len() as u64;
        assert_eq!(self.series().append(samples).await.unwrap().accepted, count);
    }

    async fn points(&self, metric: &str) -> Vec<(i64, f64)> {
        let mut data = self.all(metric).await;
        data.pop().map(|data| data.points).unwrap_or_default()
    }

    async fn all(&self, metric: &str) -> Vec<SeriesData> {
        let matchers = [Matcher::equal("__name__", metric)];
        self.series().select(&matchers, i64::MIN, i64::MAX).await.unwrap()
    }
}

fn sample(metric: &str, at_ms: i64, value: f64) -> Sample {
    Sample {
        labels: Labels::from_pairs([("__name__", metric), ("service", "blocks")]),
        at_ms,
        value,
    }
}

fn files(dir: &Path, ending: &str) -> usize {
    std::fs::read_dir(dir.join("blocks"))
        .unwrap()
        .filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_some_and(|own| own == ending)
        })
        .count()
}

#[tokio::test]
async fn samples_are_visible_at_once_after_a_flush_and_after_a_restart() {
    let mut room = Room::new(SeriesConfig::default());
    let points = [(NOON_MS, 1.0), (NOON_MS + 1000, 2.0)];
    room.add("up", &points).await;
    assert_eq!(room.points("up").await, points);
    room.reopen();
    assert_eq!(room.points("up").await, points, "from the log");
    room.series().flush().await.unwrap();
    assert_eq!(room.series().stats().head_samples, 0);
    assert_eq!(room.points("up").await, points, "from a block");
    room.add("up", &[(NOON_MS + 2000, 3.0)]).await;
    room.reopen();
    assert_eq!(room.points("up").await.len(), 3, "from both");
    let part = room
        .series()
        .select(&[], NOON_MS + 1000, NOON_MS + 1000)
        .await
        .unwrap();
    assert_eq!(part[0].points, [(NOON_MS + 1000, 2.0)]);
}

#[tokio::test]
async fn late_samples_sort_in_and_the_last_write_wins_across_blocks() {
    let room = Room::new(SeriesConfig::default());
    room.add("up", &[(NOON_MS, 1.0), (NOON_MS + 2000, 2.0)]).await;
    room.series().flush().await.unwrap();
    room.add("up", &[(NOON_MS + 1000, 1.5), (NOON_MS, 10.0)]).await;
    let wanted = [(NOON_MS, 10.0), (NOON_MS + 1000, 1.5), (NOON_MS + 2000, 2.0)];
    assert_eq!(room.points("up").await, wanted);
    room.series().flush().await.unwrap();
    assert_eq!(room.points("up").await, wanted);
    room.set_now(NOON_MS + 4 * HOUR_MS);
    room.series().compact().await.unwrap();
    assert_eq!(files(room.dir.path(), "raw"), 1);
    assert_eq!(room.points("up").await, wanted, "merged");
}

#[tokio::test]
async fn a_clock_that_jumps_is_counted_and_not_believed() {
    let room = Room::new(SeriesConfig::default());
    let samples = vec![
        sample("up", NOON_MS + 11 * 60_000, 1.0),
        sample("up", NOON_MS + 9 * 60_000, 1.0),
        sample("up", NOON_MS - 2 * HOUR_MS, 1.0),
        sample("up", i64::MAX, 1.0),
        sample("up", i64::MIN, 1.0),
        Sample {
            labels: Labels::from_pairs([("long", "x".repeat(5000))]),
            at_ms: NOON_MS,
            value: 0.0,
        },
    ];
    let appended = room.series().append(samples).await.unwrap();
    assert_eq!(
        (
            appended.accepted,
            appended.too_far_ahead,
            appended.too_old,
            appended.bad_labels
        ),
        (1, 2, 2, 1)
    );
    let stats = room.series().stats();
    assert_eq!(
        (
            stats.accepted,
            stats.too_far_ahead,
            stats.too_old,
            stats.bad_labels
        ),
        (1, 2, 2, 1)
    );
    assert_eq!(room.points("up").await.len(), 1);
}

#[tokio::test]
async fn too_many_series_fold_into_a_labelled_count() {
    let room = Room::new(SeriesConfig {
        series_max: 3,
        ..SeriesConfig::default()
    });
    let samples = (0..10)
        .map(|n| sample(&format!("m{n}"), NOON_MS + n, 1.0))
        .collect();
    let appended = room.series().append(samples).await.unwrap();
    assert_eq!((appended.accepted, appended.overflowed), (3, 7));
    // A known series is no new one.
    room.add("m0", &[(NOON_MS + 60, 2.0)]).await;
    let overflow = [Matcher::equal("overflow", "true")];
    let counted = room.series().select(&overflow, 0, i64::MAX).await.unwrap();
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].points.last(), Some(&(NOON_MS + 9, 7.0)));
    assert_eq!(room.series().stats().overflowed, 7);
}

#[tokio::test]
async fn matchers_pick_series_in_memory_and_in_blocks() {
    let room = Room::new(SeriesConfig::default());
    for metric in ["a_total", "b_total", "c"] {
        room.add(metric, &[(NOON_MS, 1.0)]).await;
    }
    for _ in 0..2 {
        let series = room.series();
        let regex = Matcher::new("__name__", MatchOp::Regex, ".*_total").unwrap();
        assert_eq!(metrics_of(series, regex).await, ["a_total", "b_total"]);
        let not = Matcher::new("__name__", MatchOp::NotEqual, "c").unwrap();
        assert_eq!(metrics_of(series, not).await, ["a_total", "b_total"]);
        assert_eq!(metrics_of(series, Matcher::equal("absent", "")).await.len(), 3);
        assert_eq!(metrics_of(series, Matcher::equal("absent", "x")).await.len(), 0);
        assert_eq!(
            room.series().label_names().await.unwrap(),
            ["__name__", "service"]
        );
        assert_eq!(
            room.series().label_values("__name__").await.unwrap(),
            ["a_total", "b_total", "c"]
        );
        room.series().flush().await.unwrap();
    }
}

async fn metrics_of(series: &Series, matcher: Matcher) -> Vec<String> {
    let matchers = [matcher, Matcher::equal("service", "blocks")];
    let data = series.select(&matchers, i64::MIN, i64::MAX).await.unwrap();
    data.iter().map(|data| data.labels.metric().to_owned()).collect()
}

#[tokio::test]
async fn closed_windows_are_rolled_up_and_outlive_their_samples() {
    let room = Room::new(SeriesConfig::default());
    let points: Vec<(i64, f64)> = (0..600).map(|n| (NOON_MS + n * 1000, n as f64)).collect();
    room.add("up", &points).await;
    let matchers = [Matcher::equal("__name__", "up")];
    let from_memory = room
        .series()
        .select_rollups(&matchers, 0, i64::MAX)
        .await
        .unwrap();
    assert_eq!(from_memory[0].minutes.len(), 10);
    let third = from_memory[0].minutes[2];
    assert_eq!(
        (
            third.minute_ms,
            third.min,
            third.max,
            third.sum,
            third.count,
            third.last
        ),
        (NOON_MS + 120_000, 120.0, 179.0, 8970.0, 60, 179.0)
    );
    room.series().flush().await.unwrap();
    room.set_now(NOON_MS + 4 * HOUR_MS);
    room.series().compact().await.unwrap();
    assert_eq!(
        (files(room.dir.path(), "raw"), files(room.dir.path(), "minute")),
        (1, 1)
    );
    room.series().compact().await.unwrap();
    assert_eq!(room.series().stats().rollup_blocks, 1, "and only once");
    let from_blocks = room
        .series()
        .select_rollups(&matchers, 0, i64::MAX)
        .await
        .unwrap();
    assert_eq!(from_blocks, from_memory);
    assert_eq!(room.points("up").await, points);

    let retained = room.series().retain(NOON_MS + 16 * 24 * HOUR_MS).await.unwrap();
    assert_eq!(retained.blocks, 1);
    assert_eq!(
        room.series()
            .select_rollups(&matchers, 0, i64::MAX)
            .await
            .unwrap(),
        from_memory
    );
    let left = room.points("up").await;
    assert_eq!((left.len(), left[2]), (10, (NOON_MS + 179_999, 179.0)));
    room.series().retain(NOON_MS + 100 * 24 * HOUR_MS).await.unwrap();
    assert_eq!(room.points("up").await, []);
    assert_eq!(files(room.dir.path(), "minute"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_head_goes_to_blocks_by_itself_while_queries_see_everything() {
    let room = Room::new(SeriesConfig {
        head_samples_max: 500,
        ..SeriesConfig::default()
    });
    for n in 0..40 {
        let points: Vec<(i64, f64)> = (0..100).map(|m| (NOON_MS + n * 100 + m, 1.0)).collect();
        room.add("up", &points).await;
        assert_eq!(room.points("up").await.len() as i64, (n + 1) * 100);
    }
    room.series().compact().await.unwrap();
    let stats = room.series().stats();
    assert!(stats.head_samples <= 1100 && stats.blocks >= 1, "{stats:?}");
    assert_eq!(room.points("up").await.len(), 4000);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let room = Room::new(SeriesConfig {
        select_points_max: 10,
        ..SeriesConfig::default()
    });
    let points: Vec<(i64, f64)> = (0..11).map(|n| (NOON_MS + n, 1.0)).collect();
    room.add("up", &points).await;
    let refused = room.series().select(&[], 0, i64::MAX).await;
    assert!(matches!(refused, Err(SeriesError::TooManyPoints { max: 10 })));
    let narrower = room.series().select(&[], NOON_MS, NOON_MS + 9).await.unwrap();
    assert_eq!(narrower[0].points.len(), 10);
}

#[tokio::test]
async fn a_block_with_a_broken_footer_is_set_aside_and_the_rest_is_served() {
    let mut room = Room::new(SeriesConfig::default());
    room.add("up", &[(NOON_MS, 1.0)]).await;
    room.series().flush().await.unwrap();
    room.add("up", &[(NOON_MS + 1, 2.0)]).await;
    room.series().flush().await.unwrap();
    let mut blocks: Vec<_> = std::fs::read_dir(room.dir.path().join("blocks"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    blocks.sort();
    room.series = None;
    std::fs::write(&blocks[0], b"nothing like a block").unwrap();
    room.reopen();
    assert_eq!(room.points("up").await, [(NOON_MS + 1, 2.0)]);
    assert_eq!(room.series().stats().damaged_blocks, 1);
    assert_eq!(files(room.dir.path(), "damaged"), 1);
}

#[tokio::test]
async fn damage_inside_a_block_is_named_and_holds_up_only_its_window() {
    let room = Room::new(SeriesConfig::default());
    let late = NOON_MS + 2 * HOUR_MS;
    room.add("bad", &[(NOON_MS, 1.0)]).await;
    room.series().flush().await.unwrap();
    let bad = std::fs::read_dir(room.dir.path().join("blocks"))
        .unwrap()
        .next()
        .unwrap();
    let bad = bad.unwrap().path();
    room.set_now(late);
    for n in 0..2 {
        room.add("good", &[(late + n, 1.0)]).await;
        room.series().flush().await.unwrap();
    }
    let mut bytes = std::fs::read(&bad).unwrap();
    bytes[20] ^= 0xFF;
    std::fs::write(&bad, bytes).unwrap();
    let error = room.series().select(&[], 0, i64::MAX).await.unwrap_err();
    assert!(
        matches!(&error, SeriesError::Damaged { path, offset: 16, .. } if *path == bad),
        "{error}"
    );
    assert!(error.to_string().contains("move the file away"), "{error}");
    assert_eq!(room.points("good").await.len(), 2);
    room.set_now(late + 4 * HOUR_MS);
    room.series().compact().await.unwrap_err();
    let stats = room.series().stats();
    assert_eq!(
        (stats.blocks, stats.rollup_blocks),
        (2, 1),
        "the sound window was merged"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_while_blocks_cannot_be_written() {
    let room = Room::new(SeriesConfig {
        head_samples_max: 100,
        wal: WalConfig {
            queue_wait_max: Duration::from_millis(300),
            ..WalConfig::default()
        },
        ..SeriesConfig::default()
    });
    let blocks = room.dir.path().join("blocks");
    std::fs::remove_dir(&blocks).unwrap();
    let mut stored = 0;
    let refused = loop {
        let samples = (0..50).map(|n| sample("up", NOON_MS + stored + n, 1.0)).collect();
        match room.series().append(samples).await {
            Ok(_) => stored += 50,
            Err(error) => break error,
        }
        assert!(stored <= 250, "{stored}");
    };
    assert!(matches!(&refused, SeriesError::Behind { .. }), "{refused}");
    std::fs::create_dir(&blocks).unwrap();
    room.series().flush().await.unwrap();
    room.add("up", &[(NOON_MS + stored, 1.0)]).await;
    assert_eq!(room.points("up").await.len() as i64, stored + 1);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for config in [
        SeriesConfig {
            block_span_ms: 0,
            ..SeriesConfig::default()
        },
        SeriesConfig {
            retention_ms: 1,
            ..SeriesConfig::default()
        },
    ] {
        assert!(matches!(
            Series::open(dir.path(), config),
            Err(SeriesError::Config(_))
        ));
    }
}
