//! Frames: exact, in order, and there after whatever died.

use std::collections::HashMap;
use std::time::Duration;

use trimtab_model::Arm;
use trimtab_proxy::{Cell, Frame, FrameStream, ProxyClient};

use crate::harness::{Instance, Load, Proxy, eventually, pool, release, route};

/// Reads until `count` live requests are in.
async fn read(frames: &mut FrameStream, count: u64) -> Vec<Frame> {
    let (mut read, mut seen) = (Vec::new(), 0);
    while seen < count {
        let frame = tokio::time::timeout(Duration::from_secs(10), frames.next())
            .await
            .unwrap();
        seen += frame.cells.iter().map(|cell| cell.requests).sum::<u64>();
        read.push(frame);
    }
    read
}

fn sum(frames: &[Frame], value: impl Fn(&Cell) -> u64) -> u64 {
    frames.iter().flat_map(|frame| &frame.cells).map(value).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_equal_what_clients_and_instances_counted() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    proxy
        .apply(route(
            pool("blocks-r1", &[&blue]),
            Some((pool("blocks-r2", &[&green]), 30.0)),
        ))
        .await;
    let mut frames = proxy.client.frames(0);
    let load = Load::start(proxy.address, 8, "/blocks/17");
    load.more(2_000).await;
    let (ok, failures) = load.stop().await;
    assert_eq!(failures, Vec::<String>::new());
    for _ in 0..5 {
        assert_eq!(proxy.get("/status/503").await.status(), 503);
        assert_eq!(proxy.get("/status/404").await.status(), 404);
    }
    let frames = read(&mut frames, ok + 10).await;
    assert_eq!(sum(&frames, |cell| cell.requests), ok + 10);
    assert_eq!(sum(&frames, |cell| cell.latency.total()), ok + 10);
    assert_eq!(sum(&frames, |cell| cell.errors), 5);
    assert_eq!(sum(&frames, |cell| cell.client_errors), 5);
    let of = |name: &str| {
        sum(&frames, |cell| {
            if cell.release == release(name) {
                cell.requests
            } else {
                0
            }
        })
    };
    assert_eq!(
        (of("blocks-r1"), of("blocks-r2")),
        (blue.served(), green.served())
    );
    // Six standard deviations around 30 %.
    let (share, spread) = (
        of("blocks-r2") as f64 / (ok + 10) as f64,
        (0.21 / (ok + 10) as f64).sqrt(),
    );
    assert!((share - 0.3).abs() < 6.0 * spread, "{share}");
    for cell in frames.iter().flat_map(|frame| &frame.cells) {
        assert_eq!(cell.arm == Arm::Candidate, cell.release == release("blocks-r2"));
        assert_eq!(cell.weight.percent(), 30.0);
        assert!(
            ["GET /blocks/{id}", "GET /status/{id}"].contains(&cell.operation.as_str()),
            "{}",
            cell.operation
        );
    }
    let busy = frames
        .iter()
        .filter(|frame| frame.cells.iter().any(|cell| cell.requests > 50));
    assert!(busy.into_iter().all(|frame| frame.interval_ms <= 1_200));
    let failed: Vec<_> = frames
        .iter()
        .flat_map(|frame| &frame.requests)
        .filter(|record| record.status == 503)
        .collect();
    assert_eq!(failed.len(), 5);
    assert!(
        failed
            .iter()
            .all(|record| record.trace_id.len() == 32 && record.start_nanos > 1_600_000_000_000_000_000)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_wait_on_disk_for_serve_to_come_back() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let mut frames = proxy.client.frames(0);
    for _ in 0..10 {
        proxy.get("/").await;
    }
    let first = read(&mut frames, 10).await;
    let last = first.last().unwrap().sequence;
    proxy.client.acknowledge(last).await.unwrap();
    drop(frames);
    // serve is away; the proxy goes on, is even killed in between.
    for _ in 0..7 {
        proxy.get("/").await;
    }
    eventually("spooled", || async {
        proxy.client.status().await.unwrap().frame_sequence > last
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = proxy.client.status().await.unwrap();
    kill(before.worker_pid);
    eventually("a new worker", || async {
        proxy
            .client
            .status()
            .await
            .is_ok_and(|status| status.worker_pid != before.worker_pid)
    })
    .await;
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    let serve = ProxyClient::start_or_adopt(proxy.config.clone()).await.unwrap();
    assert_eq!(serve.status().await.unwrap().holder_pid, before.holder_pid);
    let mut frames = serve.frames(last);
    let rest = read(&mut frames, 12).await;
    assert_eq!(sum(&rest, |cell| cell.requests), 12);
    let sequences: Vec<u64> = first.iter().chain(&rest).map(|frame| frame.sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_bounded() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|config| config.threads = 1).await;
    proxy.apply(route(pool("blocks-r1", &[&instance]), None)).await;
    let mut frames = proxy.client.frames(0);
    for number in 0..130 {
        let word: String = [number / 26, number % 26]
            .iter()
            .map(|n| char::from(b'a' + *n as u8))
            .collect();
        proxy.get(&format!("/{word}")).await;
    }
    let frames = read(&mut frames, 130).await;
    let mut operations: HashMap<&str, u64> = HashMap::new();
    for cell in frames.iter().flat_map(|frame| &frame.cells) {
        *operations.entry(&cell.operation).or_default() += cell.requests;
    }
    assert_eq!((operations.len(), operations.get("other")), (101, Some(&30)));
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
