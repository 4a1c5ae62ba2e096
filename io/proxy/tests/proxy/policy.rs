//! What a route does besides sharing out its traffic.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trimtab_proxy::{Ejection, LimitBy, Maintenance, Policy, RateLimit, Route, Tester, TesterBy};

use crate::harness::{Answer, Instance, Proxy, eventually, pool, release, route};

fn with(mut route: Route, policy: Policy) -> Route {
    route.policy = policy;
    route
}

async fn one_lane() -> Proxy {
    Proxy::start(|config| config.threads = 1).await
}

async fn ask(proxy: &Proxy, headers: &str) -> Answer {
    let request = format!("GET /x HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
    proxy.send(request.as_bytes()).await
}

async fn held(proxy: &Proxy, count: u64) {
    eventually("requests are held", || async {
        proxy.client.status().await.unwrap().counters.held >= count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_route_holds_requests_and_releases_them_to_the_new_release() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let paused = Policy {
        paused: true,
        hold_ms: 20_000,
        ..Policy::default()
    };
    proxy
        .apply(with(route(pool("blocks-r1", &[&blue]), None), paused))
        .await;
    let waiting = async {
        let asked = (0..5).map(|_| proxy.get("/"));
        let answers = futures_util::future::join_all(asked).await;
        assert!(
            answers.iter().all(|answer| answer.body() == "blocks-r2"),
            "{answers:?}"
        );
    };
    let switch = async {
        held(&proxy, 5).await;
        proxy.apply(route(pool("blocks-r2", &[&green]), None)).await;
    };
    tokio::join!(waiting, switch);
    assert_eq!((blue.served(), green.served()), (0, 5));
    let short = Policy {
        paused: true,
        hold_ms: 50,
        ..Policy::default()
    };
    proxy
        .apply(with(route(pool("blocks-r2", &[&green]), None), short))
        .await;
    let answer = proxy.get("/").await;
    assert!(
        answer.status() == 503 && answer.0.contains("retry-after: 1"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_an_instance_instead_of_failing() {
    let blue = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let hold = || Policy {
        hold_ms: 20_000,
        ..Policy::default()
    };
    proxy
        .apply(with(route(pool("blocks-r1", &[]), None), hold()))
        .await;
    let start = async {
        held(&proxy, 1).await;
        proxy
            .apply(with(route(pool("blocks-r1", &[&blue]), None), hold()))
            .await;
    };
    let (answer, ()) = tokio::join!(proxy.get("/"), start);
    assert_eq!(answer.body(), "blocks-r1");

    // Whoever waits for an arm that loses its share is served by the other.
    let split = |percent: f64| {
        let arms = route(
            pool("blocks-r1", &[&blue]),
            Some((pool("blocks-r2", &[]), percent)),
        );
        with(arms, hold())
    };
    proxy.apply(split(100.0)).await;
    let back = async {
        held(&proxy, 2).await;
        proxy.apply(split(0.0)).await;
    };
    let (answer, ()) = tokio::join!(proxy.get("/"), back);
    assert_eq!(answer.body(), "blocks-r1");

    // An instance that is restarted in its place refuses connections for a moment.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut restarted = pool("blocks-r1", &[&blue]);
    restarted.endpoints[0].address = listener.local_addr().unwrap();
    restarted.health.unhealthy_after = 1_000_000;
    let address = restarted.endpoints[0].address;
    drop(listener);
    proxy.apply(with(route(restarted, None), hold())).await;
    let start = async {
        held(&proxy, 4).await;
        let listener = TcpListener::bind(address).await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _asked = stream.read(&mut [0; 4096]).await;
            let text = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nback";
            let _sent = stream.write_all(text).await;
        }
    };
    tokio::select! {
        answer = proxy.get("/") => assert_eq!(answer.body(), "back"),
        () = start => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_keeps_failing_is_left_out() {
    let good = Instance::start("blocks-r1").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut both = pool("blocks-r1", &[&good, &good]);
    both.endpoints[1].address = listener.local_addr().unwrap();
    both.health.unhealthy_after = 1_000_000;
    // Takes connections and closes them without an answer.
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let proxy = one_lane().await;
    let policy = Policy {
        ejection: Some(Ejection {
            failures: 2,
            for_ms: 60_000,
        }),
        ..Policy::default()
    };
    proxy.apply(with(route(both, None), policy)).await;
    let mut failed = 0;
    for _ in 0..30 {
        failed += u32::from(proxy.get("/").await.status() == 502);
    }
    assert_eq!(failed, 2);
    eventually("it is counted", || async {
        proxy.client.status().await.unwrap().counters.ejections == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_joins_starts_slowly() {
    let (old, new) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r1").await,
    );
    let proxy = one_lane().await;
    let policy = || Policy {
        slow_start_ms: 3_000,
        ..Policy::default()
    };
    proxy
        .apply(with(route(pool("blocks-r1", &[&old]), None), policy()))
        .await;
    // Old enough not to be new.
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    proxy
        .apply(with(route(pool("blocks-r1", &[&old, &new]), None), policy()))
        .await;
    let before = old.served();
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    let (old, new) = (old.served() - before, new.served());
    // A tenth of every other turn, and more as time passes; a slow machine may use it all up.
    let share_max = 0.1 + began.elapsed().as_secs_f64() / 3.0;
    assert!(
        new >= 1 && old + new == 100 && new as f64 <= 50.0 * share_max + 8.0,
        "{old} {new}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_rate_are_told_when_to_come_back() {
    let blue = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let policy = Policy {
        rate_limit: Some(RateLimit {
            per_second: 1,
            burst: 5,
            by: LimitBy::Header("x-user".to_owned()),
        }),
        ..Policy::default()
    };
    proxy
        .apply(with(route(pool("blocks-r1", &[&blue]), None), policy))
        .await;
    let began = Instant::now();
    let mut passed = 0;
    for _ in 0..20 {
        let answer = ask(&proxy, "x-user: ann\r\n").await;
        match answer.status() {
            200 => passed += 1,
            status => assert!(
                status == 429 && answer.0.contains("\r\nretry-after: 1\r\n"),
                "{answer:?}"
            ),
        }
    }
    // Both lanes share the allowance.
    assert!(
        (5..=5 + began.elapsed().as_secs() + 1).contains(&passed),
        "{passed}"
    );
    assert_eq!(ask(&proxy, "x-user: bob\r\n").await.status(), 200);
    assert_eq!(blue.served(), passed + 1);
    eventually("they are counted", || async {
        proxy.client.status().await.unwrap().counters.rate_limited == 20 - passed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_maintenance_page_is_for_everyone_but_testers() {
    let blue = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&blue).await;
    let policy = Policy {
        maintenance: Some(Maintenance {
            page: "<h1>Back at nine</h1>".to_owned(),
            retry_after_s: 600,
        }),
        testers: vec![Tester {
            by: TesterBy::Header("x-beta".to_owned()),
            value: "yes".to_owned(),
            release: release("blocks-r1"),
        }],
        ..Policy::default()
    };
    proxy
        .apply(with(route(pool("blocks-r1", &[&blue]), None), policy))
        .await;
    let closed = ask(&proxy, "").await;
    assert!(
        closed.status() == 503 && closed.body() == "<h1>Back at nine</h1>",
        "{closed:?}"
    );
    assert!(closed.0.contains("retry-after: 600") && closed.0.contains("content-type: text/html"));
    assert_eq!(ask(&proxy, "x-beta: yes\r\n").await.body(), "blocks-r1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hashed_file_missing_in_one_arm_comes_from_the_other() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let route = || {
        route(
            pool("blocks-r1", &[&blue]),
            Some((pool("blocks-r2", &[&green]), 0.0)),
        )
    };
    let policy = Policy {
        asset_fallback: true,
        ..Policy::default()
    };
    proxy.apply(with(route(), policy)).await;
    for (path, status) in [
        ("/assets/blocks-r1/app.3f9a2b1c.js", 200),
        ("/assets/blocks-r2/app.3f9a2b1c.js", 200),
        ("/assets/blocks-r9/app.3f9a2b1c.js", 404),
        ("/assets/blocks-r2/app.js", 404),
    ] {
        assert_eq!(proxy.get(path).await.status(), status, "{path}");
    }
    eventually("it is counted", || async {
        proxy.client.status().await.unwrap().counters.assets_crossed == 1
    })
    .await;
    proxy.apply(route()).await;
    assert_eq!(proxy.get("/assets/blocks-r2/app.3f9a2b1c.js").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forwarded_is_written_where_asked_for() {
    let blue = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|config| config.trusted_peers = vec!["127.0.0.1/32".to_owned()]).await;
    let policy = Policy {
        forwarded: true,
        ..Policy::default()
    };
    proxy
        .apply(with(route(pool("blocks-r1", &[&blue]), None), policy))
        .await;
    let answer = proxy
        .send(b"GET /headers HTTP/1.1\r\nhost: shop.test:99\r\nforwarded: for=\"[2001:db8::1]\"\r\nconnection: close\r\n\r\n")
        .await;
    let expected = "forwarded: for=\"[2001:db8::1]\", for=127.0.0.1;proto=http;host=\"shop.test:99\"";
    assert!(answer.body().lines().any(|line| line == expected), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_may_outlast_the_time_out_but_not_stand_still() {
    let blue = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let policy = Policy {
        stall_timeout_ms: Some(2_000),
        body_bytes_max: Some(100),
        ..Policy::default()
    };
    let mut route = with(route(pool("blocks-r1", &[&blue]), None), policy);
    route.timeout_ms = 1_000;
    proxy.apply(route).await;
    let head = |length: usize| {
        format!("POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(head(20).as_bytes()).await.unwrap();
    for _ in 0..20 {
        stream.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with(&"x".repeat(20)),
        "{text}"
    );

    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(head(20).as_bytes()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert_eq!(proxy.send((head(101) + "x").as_bytes()).await.status(), 413);
}
