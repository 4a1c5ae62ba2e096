//! What could go on for ever ends kindly when its release, or the worker, drains.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use trimtab_model::EnvironmentName;
use trimtab_proxy::Pool;

use crate::harness::{Instance, Proxy, eventually, pool, program, release, route, service};

/// Answers every WebSocket message in kind, and says in the end how it was closed.
async fn websockets() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<u16>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (closed, closings) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let closed = closed.clone();
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    match message {
                        Message::Close(frame) => {
                            let code = frame.map_or(0, |frame| u16::from(frame.code));
                            let _over = closed.send(code);
                        }
                        message if message.is_text() => drop(socket.send(message).await),
                        _ => {}
                    }
                }
            });
        }
    });
    (address, closings)
}

/// A pool whose health does not matter, at `address`.
fn at(name: &str, instance: &Instance, address: SocketAddr) -> Pool {
    let mut pool = pool(name, &[instance]);
    pool.endpoints[0].address = address;
    pool.health.unhealthy_after = 1_000;
    pool
}

async fn open(proxy: &Proxy) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let url = format!("ws://{}/live", proxy.address);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap().into_text().unwrap(),
        "hello"
    );
    socket
}

async fn closing(socket: &mut WebSocketStream<TcpStream>) -> u16 {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next())
            .await
            .unwrap();
        if let Message::Close(Some(frame)) = message.unwrap().unwrap() {
            return frame.code.into();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_websocket_gets_1001_and_time_to_say_goodbye() {
    let (address, mut closings) = websockets().await;
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|config| config.limits.tunnel_grace_ms = 20_000).await;
    proxy.apply(route(at("blocks-r1", &blue, address), None)).await;
    let mut socket = open(&proxy).await;
    proxy
        .apply(route(
            pool("blocks-r2", &[&green]),
            Some((at("blocks-r1", &blue, address), 0.0)),
        ))
        .await;
    // Still open: a switch away from a release is no drain.
    socket.send(Message::text("on")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), "on");
    let production = EnvironmentName::new("production").unwrap();
    let (service, release) = (service(), release("blocks-r1"));
    let drained = proxy
        .client
        .wait_drained_in(&service, &production, &release, Duration::from_secs(10));
    let goodbye = async {
        assert_eq!(closing(&mut socket).await, 1001);
        // tungstenite answers the close frame by itself as it reads on.
        assert!(socket.next().await.is_none());
    };
    let (drained, ()) = tokio::join!(drained, goodbye);
    assert!(drained.unwrap().is_drained());
    assert_eq!(
        closings.recv().await,
        Some(1001),
        "the instance hears the client's goodbye"
    );
}

/// Uploads in forty pieces over two seconds; the answer.
async fn upload(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 40000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..40 {
        stream.write_all(&[b'u'; 1_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Reads five megabytes at leisure; how many bytes came.
async fn download(address: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"GET /large/5000000 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let (mut space, mut count) = (vec![0; 200_000], 0);
    loop {
        match stream.read(&mut space).await.unwrap() {
            0 => return count,
            more => count += more,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_changes_break_no_upload_download_or_request() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let proxy = Proxy::start(|config| config.limits.drain_ms = 60_000).await;
    let split = |percent: f64| {
        route(
            pool("blocks-r1", &[&blue]),
            Some((pool("blocks-r2", &[&green]), percent)),
        )
    };
    proxy.apply(split(0.0)).await;
    let load = crate::harness::Load::start(proxy.address, 4, "/x");
    let changes = async {
        for round in 0..3 {
            for percent in [5.0, 50.0, 100.0, 0.0] {
                proxy.apply(split(percent)).await;
                load.more(20).await;
            }
            if round < 2 {
                proxy.client.upgrade(program()).await.unwrap();
            }
        }
    };
    let uploads = futures_util::future::join_all((0..6).map(|_| upload(proxy.address)));
    let downloads = futures_util::future::join_all((0..6).map(|_| download(proxy.address)));
    let (uploads, downloads, ()) = tokio::join!(uploads, downloads, changes);
    for text in uploads {
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with(&"u".repeat(40_000)),
            "{:.300}",
            text
        );
    }
    assert!(downloads.iter().all(|count| *count > 5_000_000), "{downloads:?}");
    let (served, failures) = load.stop().await;
    assert!(served >= 240 && failures.is_empty(), "{served} {failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_and_event_streams_leave_a_worker_that_drains() {
    let (address, _closings) = websockets().await;
    let blue = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|config| {
        config.limits.tunnel_grace_ms = 300;
        config.limits.drain_ms = 20_000;
    })
    .await;
    let mut sockets = route(at("blocks-r1", &blue, address), None);
    sockets.path_prefix = "/live".to_owned();
    proxy
        .apply_all(vec![sockets, route(pool("blocks-r1", &[&blue]), None)])
        .await;
    let mut socket = open(&proxy).await;
    // This one never says goodbye: the grace period ends it.
    let mut silent = open(&proxy).await.into_inner();
    let mut events = TcpStream::connect(proxy.address).await.unwrap();
    events
        .write_all(b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("data: 1\n\n") {
        assert_ne!(events.read_buf(&mut text).await.unwrap(), 0);
    }
    let began = Instant::now();
    proxy.client.upgrade(program()).await.unwrap();
    assert_eq!(closing(&mut socket).await, 1001);
    let mut last = Vec::new();
    silent.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, [0x88, 0x02, 0x03, 0xe9]);
    events.read_to_end(&mut text).await.unwrap();
    assert!(text.ends_with(b"0\r\n\r\n"), "an event stream ends whole");
    drop(socket);
    eventually("the old worker ends", || async {
        proxy.client.status().await.unwrap().draining_pids.is_empty()
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "well before the drain limit"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_instances_drain_while_the_others_of_their_release_serve() {
    let (leaving, staying) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r1").await,
    );
    let proxy = Proxy::start(|_| {}).await;
    proxy
        .apply(route(pool("blocks-r1", &[&leaving, &staying]), None))
        .await;
    // Both are busy with slow requests: the balancer gives each a turn.
    let slow = |ms: u32| {
        let address = proxy.address;
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let text = format!("GET /slow/{ms} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut seen = String::new();
            stream.read_to_string(&mut seen).await.unwrap();
            assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
        })
    };
    let first: Vec<_> = (0..8).map(|_| slow(700)).collect();
    eventually("both are busy", || async {
        leaving.served() > 0 && staying.served() > 0
    })
    .await;
    proxy.apply(route(pool("blocks-r1", &[&staying]), None)).await;
    let served = leaving.served();
    // The release itself is never idle.
    let more: Vec<_> = (0..4).map(|_| slow(4_000)).collect();
    let production = EnvironmentName::new("production").unwrap();
    let (release, named) = (release("blocks-r1"), [leaving.endpoint().instance]);
    let began = Instant::now();
    let drained = proxy
        .client
        .wait_drained_of(&service(), &production, &release, &named, Duration::from_secs(4))
        .await
        .unwrap();
    assert!(
        drained.is_drained() && began.elapsed() < Duration::from_secs(3),
        "{drained:?}"
    );
    let release_itself = proxy
        .client
        .in_flight_in(&service(), &production, &release)
        .await
        .unwrap();
    assert!(release_itself.requests >= 4, "{release_itself:?}");
    assert_eq!(leaving.served(), served, "nothing new went to it");
    let none = proxy
        .client
        .wait_drained_of(&service(), &production, &release, &[], Duration::ZERO)
        .await
        .unwrap();
    assert!(none.is_drained());
    for request in first.into_iter().chain(more) {
        request.await.unwrap();
    }
}
