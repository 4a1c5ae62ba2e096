//! What is refused, byte for byte.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Instance, Proxy, pool, route};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_framing_reaches_no_instance() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let post = "POST /echo HTTP/1.1\r\nHost: x\r\n";
    let cases: [(String, u16); 16] = [
        (
            format!(
                "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n"
            ),
            400,
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
            400,
        ),
        (
            format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
            400,
        ),
        (format!("{post}Content-Length: 5,5\r\n\r\nhello"), 400),
        (format!("{post}Content-Length: -1\r\n\r\n"), 400),
        (
            format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
            501,
        ),
        (
            format!("{post}Transfer-Encoding: \tchunked\x0b\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (format!("{post}X: 1\r\n folded: 2\r\n\r\n"), 400),
        (format!("{post}X : 1\r\n\r\n"), 400),
        ("GET / HTTP/1.1\nHost: x\n\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: x\nX: 1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(70_000)),
            431,
        ),
    ];
    for (request, status) in cases {
        let answer = proxy.send(request.as_bytes()).await;
        assert_eq!(answer.status(), status, "{request:?} {answer:?}");
        assert_eq!(
            answer.0.matches("HTTP/1.1").count(),
            1,
            "one answer, then the end: {answer:?}"
        );
    }
    assert_eq!(instance.served(), 0);
    assert_eq!(proxy.client.status().await.unwrap().endpoints.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_chunks_are_refused_in_mid_body() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    for body in [
        "5\r\nhelloX\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "zz\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
    ] {
        let request = format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(proxy.send(request.as_bytes()).await.status(), 400, "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_and_slow_heads_are_refused() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::start(|config| {
        config.limits.body_bytes_max = 1_000;
        config.limits.header_timeout_ms = 300;
    })
    .await;
    proxy.apply(route(pool("blocks-r1", &[&instance]), None)).await;
    let announced = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n";
    assert_eq!(proxy.send(announced).await.status(), 413);
    let chunk = format!("400\r\n{}\r\n0\r\n\r\n", "x".repeat(1024));
    let streamed = format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    assert_eq!(proxy.send(streamed.as_bytes()).await.status(), 413);
    // A byte now and then does not keep a head alive.
    let start = Instant::now();
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut text = String::new();
    let dripping = async {
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = dripping => {}
        _end = reader.read_to_string(&mut text) => {}
    }
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expecting_client_is_told_to_continue() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    assert_eq!(&seen[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    seen.clear();
    stream.read_to_end(&mut seen).await.unwrap();
    assert!(seen.starts_with(b"HTTP/1.1 200") && seen.ends_with(b"hi"));
}
