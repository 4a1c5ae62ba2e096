//! Where requests go, and in what shape they arrive.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trimtab_model::{Timestamp, Weight};
use trimtab_proxy::{Health, Mirror, Preview, preview_token};

use crate::harness::{Instance, Proxy, eventually, pool, release, route};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_arrive_with_the_proxys_own_headers() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let answer = proxy
        .send(b"GET /headers?x=1 HTTP/1.1\r\nHost: shop.test:99\r\nX-Mine: 1\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n")
        .await;
    let body = answer.body();
    assert!(body.starts_with("GET /headers?x=1\n"), "{answer:?}");
    for line in [
        "host: shop.test:99",
        "x-mine: 1",
        "via: 1.1 trimtab",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.test:99",
    ] {
        assert!(body.lines().any(|other| other == line), "{line} in {body}");
    }
    assert!(
        !body.contains("6.6.6.6") && !body.contains("x-hop") && body.contains("\nte: trailers"),
        "{body}"
    );
    let trace = body
        .lines()
        .find(|line| line.starts_with("traceparent: "))
        .unwrap();
    assert!(
        trace.contains("4bf92f3577b34da6a3ce929d0e0e4736") && !trace.contains("00f067aa0ba902b7"),
        "{trace}"
    );
    let begun = proxy.get("/headers").await;
    assert!(begun.body().contains("traceparent: 00-"), "{begun:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_peers_are_believed() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|config| config.trusted_peers = vec!["127.0.0.0/8".to_owned()]).await;
    proxy.apply(route(pool("blocks-r1", &[&instance]), None)).await;
    let request = b"GET /headers HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let answer = proxy.send(request).await;
    assert!(
        answer.body().contains("x-forwarded-for: 6.6.6.6, 127.0.0.1"),
        "{answer:?}"
    );
    assert!(answer.body().contains("x-forwarded-proto: https"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_and_longest_prefix_choose_the_route() {
    let (one, two, three) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
        Instance::start("blocks-r3").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let mut api = route(pool("blocks-r2", &[&two]), None);
    api.path_prefix = "/api".to_owned();
    let mut named = route(pool("blocks-r3", &[&three]), None);
    named.host = "shop.test".to_owned();
    proxy
        .apply_all(vec![route(pool("blocks-r1", &[&one]), None), api, named])
        .await;
    for (host, path, expected) in [
        ("x", "/", "blocks-r1"),
        ("x", "/api", "blocks-r2"),
        ("x", "/api/y?z", "blocks-r2"),
        ("x", "/apix", "blocks-r1"),
        ("SHOP.test:8080", "/api", "blocks-r3"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(
            proxy.send(request.as_bytes()).await.body(),
            expected,
            "{host}{path}"
        );
    }
    let mut only = route(pool("blocks-r3", &[&three]), None);
    only.host = "shop.test".to_owned();
    proxy.apply(only).await;
    assert_eq!(proxy.get("/").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unhealthy_endpoint_gets_no_traffic_and_none_means_maintenance() {
    let (one, two) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r1").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    proxy.apply(route(pool("blocks-r1", &[&one, &two]), None)).await;
    two.healthy.store(false, Ordering::Relaxed);
    let health = async || proxy.client.status().await.unwrap().endpoints;
    eventually("unhealthy", || async {
        health()
            .await
            .iter()
            .any(|e| e.health == Health::Unhealthy && e.last_body == "the disk is full")
    })
    .await;
    let before = two.served();
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    assert_eq!(two.served(), before);
    one.healthy.store(false, Ordering::Relaxed);
    eventually("all unhealthy", || async {
        health().await.iter().all(|e| e.health == Health::Unhealthy)
    })
    .await;
    let answer = proxy.get("/").await;
    assert!(
        answer.status() == 503 && answer.0.contains("retry-after"),
        "{answer:?}"
    );
    one.healthy.store(true, Ordering::Relaxed);
    eventually("healthy again", || async { proxy.get("/").await.status() == 200 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_tried_at_another_instance() {
    let one = Instance::start("blocks-r1").await;
    let mut pool = pool("blocks-r1", &[&one]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut endpoint = one.endpoint();
    endpoint.address = gone.local_addr().unwrap();
    drop(gone);
    pool.endpoints.push(endpoint);
    pool.health.unhealthy_after = 1_000;
    let proxy = Proxy::start(|_| {}).await;
    proxy.apply(route(pool, None)).await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_idle_costs_no_request() {
    // An instance that closes each connection at the second request, without a byte.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut space = [0; 4096];
                let _asked = stream.read(&mut space).await;
                let _sent = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
                let _asked = stream.read(&mut space).await;
            });
        }
    });
    let instance = Instance::start("blocks-r1").await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = address;
    let proxy = Proxy::start(|config| config.threads = 1).await;
    proxy.apply(route(pool, None)).await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.body(), "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_instances_time_out() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let mut slow = route(pool("blocks-r1", &[&instance]), None);
    slow.timeout_ms = 150;
    proxy.apply(slow).await;
    let start = std::time::Instant::now();
    assert_eq!(proxy.get("/slow/5000").await.status(), 504);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(proxy.get("/slow/1").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testers_reach_the_candidate_by_header() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let mut split = route(
        pool("blocks-r1", &[&blue]),
        Some((pool("blocks-r2", &[&green]), 0.0)),
    );
    split.preview = Some(Preview {
        secret: "s".to_owned(),
    });
    proxy.apply(split).await;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let token = preview_token("s", &release("blocks-r2"), Timestamp(now + 60_000));
    let ask = |token: &str| {
        format!(
            "GET /headers HTTP/1.1\r\nhost: x\r\nx-trimtab-preview: blocks-r2\r\nx-trimtab-preview-token: {token}\r\nconnection: close\r\n\r\n"
        )
    };
    let answer = proxy.send(ask(&token).as_bytes()).await;
    assert!(
        answer.0.contains("x-release: blocks-r2") && !answer.body().contains("preview"),
        "{answer:?}"
    );
    assert_eq!(proxy.send(ask("1.00").as_bytes()).await.status(), 403);
    assert_eq!(proxy.get("/").await.body(), "blocks-r1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_safe_requests_is_mirrored() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let mut mirrored = route(pool("blocks-r1", &[&blue]), None);
    mirrored.mirror = Some(Mirror {
        pool: pool("blocks-r2", &[&green]),
        share: Weight::from_percent(50.0).unwrap(),
    });
    proxy.apply(mirrored).await;
    let mut frames = proxy.client.frames(0);
    for _ in 0..100 {
        assert_eq!(proxy.get("/").await.body(), "blocks-r1");
        let post = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
        assert_eq!(proxy.send(post).await.body(), "hi");
    }
    eventually("copies", || async { green.served() >= 25 }).await;
    assert!(green.served() <= 75, "{}", green.served());
    let (mut live, mut copies) = (0, 0);
    while live < 200 || copies < green.served() {
        for cell in frames.next().await.cells {
            if cell.mirrored {
                copies += cell.requests
            } else {
                live += cell.requests
            }
            assert_eq!(cell.mirrored, cell.release == release("blocks-r2"));
        }
    }
    assert_eq!((live, copies), (200, green.served()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_both_ways_at_once() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"POST /mirror HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let mut seen = Vec::new();
    for round in 0..5 {
        let piece = format!("piece-{round}");
        stream
            .write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
            .await
            .unwrap();
        while !String::from_utf8_lossy(&seen).contains(&piece) {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    while !seen.ends_with(b"0\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    // The connection is good for another.
    stream
        .write_all(b"GET /large/3000000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut large = Vec::new();
    stream.read_to_end(&mut large).await.unwrap();
    let head = String::from_utf8_lossy(&large[..large.len().min(200)]).into_owned();
    assert!(
        large.len() > 3_000_000 && large.ends_with(b"xxx"),
        "{} {head:?}",
        large.len()
    );
}
