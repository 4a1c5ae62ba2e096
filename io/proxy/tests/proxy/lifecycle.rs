//! Switches, upgrades, deaths: what they cost those who ask.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trimtab_model::{EnvironmentName, Generation, Weight};
use trimtab_proxy::{ClientError, ProxyClient, ProxyConfig, RoutingTable, TableError};

use crate::counting::kill;
use crate::harness::{Instance, Load, Proxy, eventually, pool, program, release, route, service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_under_load_fail_nothing() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    let split = |percent: f64| {
        route(
            pool("blocks-r1", &[&blue]),
            Some((pool("blocks-r2", &[&green]), percent)),
        )
    };
    proxy.apply(split(0.0)).await;
    let load = Load::start(proxy.address, 8, "/");
    for round in 0..30 {
        load.more(20).await;
        let to = if round % 2 == 0 { 100.0 } else { 0.0 };
        proxy.apply(split(to)).await;
        let left = if round % 2 == 0 { "blocks-r1" } else { "blocks-r2" };
        let drained = proxy
            .client
            .wait_drained(&service(), &release(left), Duration::from_secs(5))
            .await
            .unwrap();
        assert!(drained.is_drained(), "{drained:?}");
        let instance = if round % 2 == 0 { &blue } else { &green };
        let before = instance.served();
        load.more(20).await;
        assert_eq!(instance.served(), before, "drained means that nothing more comes");
    }
    let (_, failures) = load.stop().await;
    assert_eq!(failures, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_fail_nothing_and_lose_no_count() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let mut frames = proxy.client.frames(0);
    let load = Load::start(proxy.address, 8, "/");
    for _ in 0..5 {
        load.more(50).await;
        let before = proxy.client.status().await.unwrap().worker_pid;
        proxy.client.upgrade(program()).await.unwrap();
        assert_ne!(proxy.client.status().await.unwrap().worker_pid, before);
    }
    load.more(50).await;
    let (ok, failures) = load.stop().await;
    assert_eq!(failures, Vec::<String>::new());
    let mut counted = 0;
    while counted < ok {
        let frame = tokio::time::timeout(Duration::from_secs(10), frames.next())
            .await
            .unwrap();
        counted += frame.cells.iter().map(|cell| cell.requests).sum::<u64>();
    }
    assert_eq!(counted, ok);
    eventually("old workers end", || async {
        proxy.client.status().await.unwrap().draining_pids.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_program_leaves_the_old_one_serving() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let before = proxy.client.status().await.unwrap().worker_pid;
    for bad in ["/nonexistent", "/bin/true"] {
        let error = proxy.client.upgrade(bad.into()).await.unwrap_err();
        assert!(error.to_string().contains(bad), "{error}");
    }
    assert_eq!(proxy.client.status().await.unwrap().worker_pid, before);
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_costs_at_most_what_was_in_flight() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let clients = 8;
    let load = Load::start(proxy.address, clients, "/");
    for round in 1..=3 {
        load.more(200).await;
        let before = proxy.client.status().await.unwrap();
        // Let it live for long enough that the restart is at once.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let start = Instant::now();
        kill(before.worker_pid);
        eventually("restarted", || async {
            proxy
                .client
                .status()
                .await
                .is_ok_and(|status| status.worker_restarts == round)
        })
        .await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(
            proxy.client.status().await.unwrap().table_version,
            before.table_version
        );
    }
    load.more(100).await;
    let (_, failures) = load.stop().await;
    assert!(failures.len() <= 3 * clients, "{failures:?}");
    assert!(
        failures.iter().all(|failure| failure.starts_with("closed")
            || failure.contains("reset")
            || failure.contains("pipe")),
        "{failures:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_holder_is_replaced_around_its_worker() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let load = Load::start(proxy.address, 4, "/");
    load.more(50).await;
    let before = proxy.client.status().await.unwrap();
    let watched = proxy.client.clone();
    let gone = tokio::spawn(async move { watched.holder_gone().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!gone.is_finished(), "it lives");
    kill(before.holder_pid);
    gone.await.unwrap().unwrap();
    assert!(proxy.client.holder_gone().await.is_err(), "none answers now");
    load.more(50).await;
    let again = ProxyClient::start_or_adopt(proxy.config.clone()).await.unwrap();
    let after = again.status().await.unwrap();
    assert_ne!(after.holder_pid, before.holder_pid);
    assert_eq!(
        (after.worker_pid, &after.listen),
        (before.worker_pid, &before.listen)
    );
    again.upgrade(program()).await.unwrap();
    load.more(50).await;
    let (_, failures) = load.stop().await;
    assert_eq!(failures, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_served_once_more_on_a_drain() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut first = vec![0; 4096];
    let count = stream.read(&mut first).await.unwrap();
    assert!(!String::from_utf8_lossy(&first[..count]).contains("connection: close"));
    proxy.client.upgrade(program()).await.unwrap();
    stream.write_all(ask).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(
        rest.starts_with("HTTP/1.1 200") && rest.contains("connection: close"),
        "{rest}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_requests_and_tunnels_count_as_in_flight() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let in_flight = async || {
        proxy
            .client
            .in_flight(&service(), &release("blocks-r1"))
            .await
            .unwrap()
            .requests
    };
    let mut tunnel = TcpStream::connect(proxy.address).await.unwrap();
    let ask = b"GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly";
    tunnel.write_all(ask).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"early") {
        assert_ne!(tunnel.read_buf(&mut seen).await.unwrap(), 0);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"));
    assert_eq!(in_flight().await, 1);
    let address = proxy.address;
    let slow = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /slow/400 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    eventually("two in flight", || async { in_flight().await == 2 }).await;
    // Both go on in the old worker, and the new one knows.
    proxy.client.upgrade(program()).await.unwrap();
    eventually("heard", || async {
        proxy
            .client
            .in_flight(&service(), &release("blocks-r1"))
            .await
            .unwrap()
            .unheard_workers
            == 0
    })
    .await;
    assert!(in_flight().await >= 1);
    assert!(slow.await.unwrap().starts_with("HTTP/1.1 200"));
    tunnel.write_all(b"more").await.unwrap();
    while !seen.ends_with(b"more") {
        assert_ne!(tunnel.read_buf(&mut seen).await.unwrap(), 0);
    }
    drop(tunnel);
    let drained = proxy
        .client
        .wait_drained(&service(), &release("blocks-r1"), Duration::from_secs(5))
        .await
        .unwrap();
    assert!(drained.is_drained(), "{drained:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_tables_are_refused_after_a_restart_too() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let mut newer = route(pool("blocks-r1", &[&instance]), None);
    newer.generation = Generation(7);
    proxy
        .client
        .apply(&RoutingTable::new(10, vec![newer.clone()]))
        .await
        .unwrap();
    kill(proxy.client.status().await.unwrap().worker_pid);
    let mut older = newer.clone();
    older.generation = Generation(6);
    older.split.candidate_weight = Weight::ZERO;
    let error = proxy
        .client
        .apply(&RoutingTable::new(11, vec![older]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Table(TableError::OlderGeneration { .. })),
        "{error}"
    );
    let error = proxy
        .client
        .apply(&RoutingTable::new(9, vec![newer]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Table(TableError::OlderVersion { .. })),
        "{error}"
    );
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = ProxyConfig::new(dir.path().join("proxy"), program(), vec![address]);
    config.arguments.clear();
    let error = ProxyClient::start_or_adopt(config).await.unwrap_err().to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("choose another"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_leaves_nothing() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    assert_eq!(proxy.get("/").await.status(), 200);
    let status = proxy.client.status().await.unwrap();
    proxy.client.shutdown().await.unwrap();
    assert!(TcpStream::connect(proxy.address).await.is_err());
    eventually("processes end", || async {
        [status.holder_pid, status.worker_pid].iter().all(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z"))
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_drains_while_another_serves_the_same_release() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let production = route(pool("blocks-r1", &[&instance]), None);
    let mut staging = production.clone();
    staging.environment = EnvironmentName::new("staging").unwrap();
    staging.host = "staging.test".to_owned();
    proxy.apply_all(vec![production, staging.clone()]).await;
    let address = proxy.address;
    let slow = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /slow/800 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
    });
    let (service, release) = (service(), release("blocks-r1"));
    eventually("in flight", || async {
        proxy.client.in_flight(&service, &release).await.unwrap().requests == 1
    })
    .await;
    let limit = Duration::from_secs(5);
    let start = Instant::now();
    let drained = proxy
        .client
        .wait_drained_in(&service, &staging.environment, &release, limit)
        .await
        .unwrap();
    assert!(
        drained.is_drained() && start.elapsed() < Duration::from_millis(500),
        "{drained:?}"
    );
    slow.await.unwrap();
}
