//! Clients and instances of different protocols, and what comes before and after a body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::grpc;
use crate::h2_wire::*;
use crate::harness::{Instance, Proxy, pool, route};

/// An instance that tells back the request as it came, once `until` is in it, after `before`, with
/// trailers after it.
async fn teller(before: &'static str, until: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !String::from_utf8_lossy(&seen).contains(until) {
                    if !matches!(stream.read_buf(&mut seen).await, Ok(1..)) {
                        return;
                    }
                }
                let head = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
                let end = "0\r\nX-Sum: 17\r\nContent-Length: 9\r\n\r\n";
                let text = String::from_utf8_lossy(&seen);
                let answer = format!("{before}{head}{:x}\r\n{text}\r\n{end}", text.len());
                let _gone = stream.write_all(answer.as_bytes()).await;
                let _end = stream.read(&mut [0; 1]).await;
            });
        }
    });
    address
}

async fn before(address: SocketAddr) -> (Instance, Proxy) {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|_| {}).await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = address;
    pool.health.unhealthy_after = 1_000_000;
    proxy.apply(route(pool, None)).await;
    (instance, proxy)
}

async fn grpc_proxy() -> (Instance, Proxy) {
    let instance = Instance::start("blocks-r1").await;
    let address = grpc::server(Arc::new(AtomicBool::new(true))).await;
    let proxy = Proxy::start(|_| {}).await;
    proxy
        .apply(route(grpc::grpc("blocks-r1", &instance, address), None))
        .await;
    (instance, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_trailers_pass_both_ways() {
    let (_instance, proxy) = before(teller("", "x-mine: 1\r\n\r\n").await).await;
    let post = |te: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\n{te}Connection: close\r\nTrailer: x-mine\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nx-mine: 1\r\nhost: evil\r\ntransfer-encoding: chunked\r\n\r\n"
        )
    };
    let answer = proxy.send(post("TE: trailers\r\n").as_bytes()).await;
    assert!(answer.0.ends_with("0\r\nX-Sum: 17\r\n\r\n"), "{answer:?}");
    assert!(answer.0.contains("\r\ntrailer: x-sum\r\n"), "{answer:?}");
    assert!(answer.0.contains("\r\nte: trailers\r\n"), "{answer:?}");
    assert!(
        answer.0.contains("0\r\nx-mine: 1\r\n\r\n") && !answer.0.contains("evil"),
        "{answer:?}"
    );
    // Who does not say that it wants them gets none; the instance answers once on a connection.
    let (_other, proxy) = before(teller("", "x-mine: 1\r\n\r\n").await).await;
    let answer = proxy.send(post("").as_bytes()).await;
    assert!(
        answer.0.ends_with("0\r\n\r\n") && !answer.0.contains("\r\ntrailer: x-sum"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_trailers_pass_to_and_from_http1() {
    let (_instance, proxy) = before(teller("", "x-mine: 1\r\n\r\n").await).await;
    let mut wire = Wire::settled(&proxy, &[]).await;
    wire.send(&post(1, "/", &[("trailer", "x-mine")])).await;
    wire.send(&frame(DATA, 0, 1, b"hi")).await;
    wire.send(&frame(HEADERS, 5, 1, &block(&[("x-mine", "1")]))).await;
    let told = wire.until(|frame| frame.kind == DATA).await.unwrap();
    let told = String::from_utf8_lossy(&told.payload).into_owned();
    assert!(told.ends_with("2\r\nhi\r\n0\r\nx-mine: 1\r\n\r\n"), "{told}");
    assert!(told.contains("\r\nvia: 2 trimtab\r\n"), "{told}");
    let end = wire.until(|frame| frame.ends(1)).await.unwrap();
    assert!(end.kind == HEADERS && end.payload.len() > 4, "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_clients_reach_http2_instances() {
    let (_instance, proxy) = grpc_proxy().await;
    let answer = proxy
        .send(b"POST /echo.Echo/Say HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close, te\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 17\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.body().starts_with("2\r\nhi\r\n0\r\n"), "{answer:?}");
    assert!(answer.0.contains("\r\nx-told: 17 te=Some"), "{answer:?}");
    assert!(answer.0.contains("\r\ngrpc-status: 0\r\n"), "{answer:?}");
    let plain = proxy
        .send(b"POST /echo.Echo/Say HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
        .await;
    assert_eq!(plain.body(), "3\r\nabc\r\n0\r\n\r\n");
    let old = proxy
        .send(b"POST /echo.Echo/Say HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert!(old.body() == "abc" && !old.0.contains("chunked"), "{old:?}");
    // Both bodies at once, and the connection is used again.
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = b"POST /echo.Echo/Chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut seen = Vec::new();
    for word in ["one", "two"] {
        stream
            .write_all(format!("3\r\n{word}\r\n").as_bytes())
            .await
            .unwrap();
        let reading = async {
            while !String::from_utf8_lossy(&seen).contains(word) {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    while !seen.ends_with(b"0\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    let again = b"GET /echo.Echo/Missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(again).await.unwrap();
    seen.clear();
    stream.read_to_end(&mut seen).await.unwrap();
    assert!(
        seen.starts_with(b"HTTP/1.1 200 OK"),
        "{}",
        String::from_utf8_lossy(&seen)
    );
    // A large body passes through little memory, and one that breaks off is not taken for whole.
    let large = "x".repeat(1_000_000);
    let request = format!(
        "POST /echo.Echo/Say HTTP/1.0\r\nContent-Length: {}\r\n\r\n{large}",
        large.len()
    );
    assert_eq!(proxy.send(request.as_bytes()).await.body(), large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_pass_to_those_who_know_them() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let (_instance, proxy) = before(teller(hints, "\r\n\r\n").await).await;
    let answer = proxy.get("/").await;
    assert!(
        answer
            .0
            .starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK"),
        "{answer:?}"
    );
    assert!(answer.0.contains("\r\ndate: "), "{answer:?}");
    let old = proxy.send(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.0.starts_with("HTTP/1.1 200 OK"), "{old:?}");
    let mut wire = Wire::settled(&proxy, &[]).await;
    wire.send(&request(1, &PLAIN)).await;
    assert_eq!(wire.failure(1).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_expects_to_continue_hears_a_refusal_first() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head =
        b"POST /status/413 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 900000\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).await.unwrap();
    let text = String::from_utf8_lossy(&seen);
    assert!(
        text.starts_with("HTTP/1.1 413") && text.contains("connection: close"),
        "{text}"
    );
    // RFC 9110 §10.1.1: HTTP/1.0 knows no such expectation.
    let (_instance, old) = before(teller("", "hello").await).await;
    let answer = old
        .send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert!(
        answer.status() == 200 && !answer.0.contains("100-continue"),
        "{answer:?}"
    );
    // An instance that says nothing of it keeps nobody waiting.
    let (_instance, proxy) = before(teller("", "hello").await).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head =
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    seen.clear();
    while !seen.ends_with(b"HTTP/1.1 100 Continue\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    stream.write_all(b"hello").await.unwrap();
    seen.clear();
    stream.read_to_end(&mut seen).await.unwrap();
    let text = String::from_utf8_lossy(&seen);
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains("expect: 100-continue"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_go_no_further_than_they_may() {
    let (_instance, proxy) = before(teller("", "\r\n\r\n").await).await;
    let ask = async |method: &str, target: &str, left: &str| {
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nMax-Forwards: {left}\r\nConnection: close\r\n\r\n"
        );
        proxy.send(text.as_bytes()).await
    };
    assert_eq!(ask("TRACE", "/", "0").await.status(), 405);
    let options = ask("OPTIONS", "*", "0").await;
    assert!(
        options.status() == 200 && options.0.contains("\r\nallow: GET"),
        "{options:?}"
    );
    let options = ask("OPTIONS", "*", "5").await;
    assert!(options.body().contains("OPTIONS * HTTP/1.1\r\n"), "{options:?}");
    assert!(options.body().contains("\r\nmax-forwards: 4\r\n"), "{options:?}");
    let get = ask("GET", "/", "0").await;
    assert!(get.body().contains("\r\nMax-Forwards: 0\r\n"), "{get:?}");
}
