//! What Trimtab reads by itself: metrics of instances, printed lines, the machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use trimtab_ingest::{HostMetrics, METRICS_BYTES_MAX, Scraped, Scraper, log_batch};
use trimtab_telemetry::{Level, is_stale};

use crate::rig::{self, start};

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(rig::free()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn scraper(address: SocketAddr, path: &str) -> Scraper {
    Scraper::new(address, path, rig::identity(), Duration::from_secs(2))
}

fn value(scraped: &Scraped, metric: &str) -> Option<f64> {
    let mut samples = scraped.samples.iter();
    samples
        .find(|sample| sample.labels.metric() == metric)
        .map(|sample| sample.value)
}

#[tokio::test]
async fn scrapes_are_stamped_and_series_that_go_are_ended() {
    let times = Arc::new(AtomicUsize::new(0));
    let router = Router::new().route(
        "/metrics",
        get(move || async move {
            match times.fetch_add(1, Ordering::Relaxed) {
                0 => (http::StatusCode::OK, "kept 1\ngone{service=\"liar\"} 2\n"),
                1 => (http::StatusCode::OK, "kept 2\n"),
                _ => (http::StatusCode::INTERNAL_SERVER_ERROR, ""),
            }
        }),
    );
    let mut scraper = scraper(serve(router).await, "/metrics");
    let first = scraper.scrape().await;
    assert!(first.error.is_none(), "{:?}", first.error);
    let gone = first
        .samples
        .iter()
        .find(|s| s.labels.metric() == "gone")
        .unwrap();
    assert_eq!(gone.labels.get("service"), Some("blocks"));
    assert_eq!(gone.labels.get("exported_service"), Some("liar"));
    assert_eq!(value(&first, "up"), Some(1.0));

    let second = scraper.scrape().await;
    assert_eq!(value(&second, "kept"), Some(2.0));
    assert!(value(&second, "gone").is_some_and(is_stale));

    let third = scraper.scrape().await;
    assert_eq!(value(&third, "up"), Some(0.0));
    assert!(value(&third, "kept").is_some_and(is_stale));
    assert_eq!(value(&third, "gone"), None);
    assert!(
        third
            .error
            .unwrap()
            .to_string()
            .ends_with("/metrics: it answered 500")
    );
    assert!(scraper.end().iter().all(|sample| is_stale(sample.value)));
}

#[tokio::test]
async fn scrapes_have_limits_and_clear_errors() {
    let router = Router::new()
        .route("/large", get(|| async { "x".repeat(METRICS_BYTES_MAX + 1) }))
        .route("/broken", get(|| async { "up 1\nup{\n" }))
        .route("/slow", get(std::future::pending::<()>));
    let address = serve(router).await;
    for (path, problem) in [
        ("/large", "more than 8388608 bytes"),
        ("/broken", "line 2: expected a name, got the end of the line"),
        ("/slow", "no answer within 2000 ms"),
    ] {
        let error = scraper(address, path).scrape().await.error.unwrap().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = scraper(closed, "/metrics")
        .scrape()
        .await
        .error
        .unwrap()
        .to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn printed_lines_are_stored() {
    let rig = start().await;
    let lines = ["{\"level\":\"error\",\"msg\":\"no\"}", "", "plain WARN text"];
    let batch = log_batch(lines, &rig::identity());
    assert_eq!(rig.ingest.intake().append(batch, "lines-1").await.unwrap(), 0);
    // The same lines again, as after a restart in between.
    let batch = log_batch(lines, &rig::identity());
    rig.ingest.intake().append(batch, "lines-1").await.unwrap();
    let mut levels: Vec<Level> = rig.logs().await.iter().map(|log| log.level).collect();
    levels.sort();
    assert_eq!(levels, [Level::Warn, Level::Error]);
    assert_eq!(
        rig.logs().await[0].resource["service.name"].as_str(),
        Some("blocks")
    );
}

#[tokio::test]
async fn the_machine_is_measured() {
    let rig = start().await;
    let mut host = HostMetrics::new(rig.folder.path());
    host.samples();
    let samples = host.samples();
    let value = |name: &str| samples.iter().find(|s| s.labels.metric() == name).unwrap().value;
    assert!((0.0..=100.0).contains(&value("trimtab_host_cpu_percent")));
    assert!(value("trimtab_host_memory_used_bytes") > 0.0);
    assert!(value("trimtab_host_memory_used_bytes") < value("trimtab_host_memory_total_bytes"));
    assert!(value("trimtab_host_disk_used_bytes") <= value("trimtab_host_disk_total_bytes"));
    assert!(value("trimtab_host_uptime_seconds") > 0.0);
    assert!(samples.iter().any(|s| s.labels.get("interface") == Some("lo")));
    assert_eq!(
        rig.ingest
            .intake()
            .append(
                trimtab_telemetry::Batch {
                    samples,
                    ..Default::default()
                },
                ""
            )
            .await
            .unwrap(),
        0
    );
}
