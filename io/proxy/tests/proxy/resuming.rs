//! What goes on after a death as it stood before, and what is asked twice because of one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trimtab_model::EnvironmentName;
use trimtab_proxy::Policy;

use crate::counting::kill;
use crate::harness::{Instance, Proxy, eventually, pool, release, route, service};

type Seen = Arc<Mutex<BTreeMap<String, u32>>>;

/// Serves the first request of each connection; at a later one for `mute` it closes the connection, for
/// `half` in the middle of its answer.
async fn moody(seen: Seen) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let (mut text, mut is_first) = (Vec::new(), true);
                while let Ok(1..) = stream.read_buf(&mut text).await {
                    let asked = String::from_utf8_lossy(&text).into_owned();
                    if !asked.contains("\r\n\r\n") {
                        continue;
                    }
                    text.clear();
                    let line: Vec<&str> = asked.split(' ').take(2).collect();
                    *seen.lock().unwrap().entry(line.join(" ")).or_default() += 1;
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    let is_last = !is_first && (asked.contains("/mute") || asked.contains("/half"));
                    let answer = match is_last {
                        true if asked.contains("/mute") => "",
                        true => &answer[..12],
                        false => answer,
                    };
                    if stream.write_all(answer.as_bytes()).await.is_err() || is_last {
                        return;
                    }
                    is_first = false;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_sent_again_only_where_that_is_safe() {
    let seen = Seen::default();
    let instance = Instance::start("blocks-r1").await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = moody(Arc::clone(&seen)).await;
    // Probes have connections of their own.
    pool.health.interval_ms = 60_000;
    let proxy = Proxy::start(|config| config.threads = 1).await;
    proxy.apply(route(pool, None)).await;
    let body = "Content-Length: 2\r\n\r\nhi";
    for (method, path, rest, status, times) in [
        ("GET", "/mute/1", "\r\n", 200, 2),
        ("PUT", "/mute/2", "\r\n", 200, 2),
        ("DELETE", "/mute/3", "\r\n", 200, 2),
        ("POST", "/mute/4", "\r\n", 502, 1),
        ("PATCH", "/mute/5", "\r\n", 502, 1),
        ("PUT", "/mute/6", body, 502, 1),
        ("GET", "/half/7", "\r\n", 502, 1),
        ("DELETE", "/half/8", "\r\n", 502, 1),
    ] {
        assert_eq!(proxy.get("/fine").await.status(), 200);
        let text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}");
        let answer = proxy.send(text.as_bytes()).await;
        assert_eq!(answer.status(), status, "{method} {path} {answer:?}");
        let count = seen.lock().unwrap().get(&format!("{method} {path}")).copied();
        assert_eq!(count, Some(times), "{method} {path}");
    }
}

async fn kill_worker(proxy: &Proxy) {
    let before = proxy.client.status().await.unwrap();
    kill(before.worker_pid);
    eventually("another worker serves", || async {
        let now = proxy.client.status().await;
        now.is_ok_and(|now| now.worker_pid != before.worker_pid && now.table_version == before.table_version)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pauses_splits_and_drains_outlive_a_killed_worker() {
    let (blue, other, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let split = |instances: &[&Instance], paused: bool| {
        let mut route = route(
            pool("blocks-r1", instances),
            Some((pool("blocks-r2", &[&green]), 30.0)),
        );
        route.policy = Policy {
            paused,
            hold_ms: 20_000,
            ..Policy::default()
        };
        route
    };
    proxy.apply(split(&[&blue, &other], true)).await;
    // A request that is held dies with the worker; the pause does not.
    let mut held = TcpStream::connect(proxy.address).await.unwrap();
    held.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    eventually("it is held", || async {
        proxy.client.status().await.unwrap().counters.held == 1
    })
    .await;
    kill_worker(&proxy).await;
    assert!(!matches!(held.read(&mut [0; 1]).await, Ok(1..)));
    let asked = async {
        let answer = proxy.get("/").await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    };
    let released = async {
        eventually("the next is held too", || async {
            proxy.client.status().await.unwrap().counters.held == 1
        })
        .await;
        assert_eq!(blue.served() + other.served() + green.served(), 0);
        // The split of one instance fewer: the pause is over.
        proxy.apply(split(&[&blue], false)).await;
    };
    tokio::join!(asked, released);
    kill_worker(&proxy).await;
    let (before, asked) = (green.served(), 400);
    for _ in 0..asked {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    let share = (green.served() - before) as f64 / f64::from(asked);
    assert!((0.17..0.43).contains(&share), "{share}");
    assert_eq!(other.served(), 0, "it has left");
    let production = EnvironmentName::new("production").unwrap();
    let leaving = [other.endpoint().instance];
    let (service, release) = (service(), release("blocks-r1"));
    let drained =
        proxy
            .client
            .wait_drained_of(&service, &production, &release, &leaving, Duration::from_secs(5));
    assert!(drained.await.unwrap().is_drained());
}
