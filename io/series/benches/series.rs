//! What samples weigh on disk and how fast they go in and come out. Prints one flat JSON object.
//!
//! The samples are made up to look like a small service's: counters of requests, a latency histogram
//! most of whose buckets seldom move, CPU as a noisy gauge, memory in pages, a constant; one a second
//! for almost two hours.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use trimtab_series::{Clock, Series, SeriesConfig};
use trimtab_telemetry::{Labels, Matcher, Sample};

const START_MS: i64 = 1_700_006_400_000;
const SECONDS: i64 = 7000;
const INSTANCES: usize = 8;
/// Seconds of all series in one append, as a scrape or an export brings.
const BATCH_SECONDS: i64 = 5;

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(START_MS));
    let config = SeriesConfig {
        clock: Clock::Manual(now.clone()),
        ..SeriesConfig::default()
    };
    let series = Series::open(dir.path(), config).unwrap();
    let mut sources = sources();
    let batches = SECONDS / BATCH_SECONDS;
    let mut figures = BTreeMap::new();
    let (mut samples, mut seconds) = (0.0, 0.0);
    for batch in 0..batches {
        let mut rows = Vec::new();
        for second in 0..BATCH_SECONDS {
            let at_ms = START_MS + (batch * BATCH_SECONDS + second) * 1000;
            rows.extend(sources.iter_mut().map(|source| Sample {
                labels: source.labels.clone(),
                at_ms,
                value: (source.next)(),
            }));
        }
        now.store(START_MS + (batch + 1) * BATCH_SECONDS * 1000, Ordering::Relaxed);
        samples += rows.len() as f64;
        let began = cpu_seconds();
        series.append(rows).await.unwrap();
        seconds += cpu_seconds() - began;
    }
    figures.insert("series_append_samples_per_core_second", samples / seconds);
    let flushed = series.stats().head_samples as f64;
    let began = Instant::now();
    series.flush().await.unwrap();
    figures.insert(
        "series_flush_samples_per_second",
        flushed / began.elapsed().as_secs_f64(),
    );
    now.store(START_MS + 4 * SECONDS * 1000, Ordering::Relaxed);
    series.compact().await.unwrap();
    let stats = series.stats();
    assert_eq!(stats.block_samples as f64, samples);
    figures.insert("series_bytes_per_sample", stats.block_bytes as f64 / samples);
    figures.insert(
        "series_rollup_bytes_per_raw_sample",
        stats.rollup_bytes as f64 / samples,
    );
    let matchers = [Matcher::equal("__name__", "http_requests_total")];
    let began = Instant::now();
    let data = series.select(&matchers, i64::MIN, i64::MAX).await.unwrap();
    let points: usize = data.iter().map(|data| data.points.len()).sum();
    figures.insert(
        "series_select_points_per_second",
        points as f64 / began.elapsed().as_secs_f64(),
    );
    for figure in figures.values_mut() {
        *figure = (*figure * 1000.0).round() / 1000.0;
    }
    println!("{}", serde_json::to_string(&figures).unwrap());
}

/// CPU time of this process, all threads; the disk's waits are not in it.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

struct Source {
    labels: Labels,
    next: Box<dyn FnMut() -> f64>,
}

fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    for instance in 0..INSTANCES {
        let mut random = fastrand::Rng::with_seed(instance as u64);
        let mut add = |name: &str, extra: Option<(&str, &str)>, next: Box<dyn FnMut() -> f64>| {
            let instance = format!("blocks-r2-production-{instance}");
            let labels = Labels::from_pairs(
                [
                    ("__name__", name),
                    ("service", "blocks"),
                    ("environment", "production"),
                    ("release", "blocks-r2"),
                    ("instance", instance.as_str()),
                ]
                .into_iter()
                .chain(extra),
            );
            all.push(Source { labels, next });
        };
        for path in ["/blocks", "/search", "/sync"] {
            for code in ["200", "404", "500"] {
                let rate = if code == "200" { 40.0 } else { 0.3 };
                let (mut random, mut total) = (random.fork(), 0.0);
                let labels = format!("{path} {code}");
                let next = move || {
                    let noise: f64 = random.f64() + random.f64();
                    // Rare requests come now and then, not never.
                    total += (rate * noise + random.f64()).floor();
                    total
                };
                add(
                    "http_requests_total",
                    Some(("operation", &labels)),
                    Box::new(next),
                );
            }
        }
        for bucket in 0..14 {
            let (mut random, mut total) = (random.fork(), 0.0);
            let share = 40.0 * 0.5_f64.powi((bucket - 4_i32).abs());
            let next = move || {
                total += (share * 2.0 * random.f64() + random.f64()).floor();
                total
            };
            let bound = format!("{}", 0.001 * 2.0_f64.powi(bucket));
            add(
                "http_duration_seconds_bucket",
                Some(("le", &bound)),
                Box::new(next),
            );
        }
        let (mut walk, mut random_cpu) = (35.0, random.fork());
        add(
            "process_cpu_percent",
            None,
            Box::new(move || {
                walk = (walk + 4.0 * (random_cpu.f64() - 0.5)).clamp(0.0, 100.0);
                (walk * 100.0_f64).round() / 100.0
            }),
        );
        let (mut pages, mut random_memory) = (30_000_u64, random.fork());
        add(
            "process_memory_bytes",
            None,
            Box::new(move || {
                if random_memory.u8(0..4) == 0 {
                    pages = pages + random_memory.u64(0..60) - 20;
                }
                (pages * 4096) as f64
            }),
        );
        add("up", None, Box::new(|| 1.0));
    }
    all
}
