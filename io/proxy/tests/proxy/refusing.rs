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

/// One HTTP/2 frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Sends frames after the preface; every byte that came back until the end.
async fn speak_http2(proxy: &Proxy, frames: Vec<u8>) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frames);
    let mut seen = Vec::new();
    let reading = async {
        // A reset after the last frame is an end too.
        while matches!(reader.read_buf(&mut seen).await, Ok(1..)) {}
    };
    let writing = async {
        let _cut_off = writer.write_all(&bytes).await;
    };
    let both = futures_util::future::join(reading, writing);
    tokio::time::timeout(Duration::from_secs(10), both)
        .await
        .expect("the connection was not closed");
    seen
}

/// The error code of the GOAWAY among frames.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    while bytes.len() >= 9 {
        let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let payload = bytes.get(9..9 + length)?;
        if bytes[3] == 7 {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().unwrap()));
        }
        bytes = &bytes[9 + length..];
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_floods_end_the_connection() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    // GET http://x/ in HPACK; END_STREAM and END_HEADERS.
    let head = [0x82, 0x84, 0x86, 0x41, 0x01, b'x'];
    let mut rapid_reset = Vec::new();
    for stream in (1..20_000).step_by(2) {
        rapid_reset.extend(frame(1, 5, stream, &head));
        rapid_reset.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
    }
    let answer = speak_http2(&proxy, rapid_reset).await;
    assert_eq!(goaway(&answer), Some(ENHANCE_YOUR_CALM));
    assert!(instance.served() < 5_000, "{}", instance.served());
    // A head that never ends: CONTINUATION after CONTINUATION.
    let mut endless = frame(1, 1, 1, &head);
    let field = [&[0x00, 0x01, b'y', 0x7f, 0x81, 0x7d][..], &[b'z'; 16_000]].concat();
    for _ in 0..200 {
        endless.extend(frame(9, 0, 1, &field));
    }
    let answer = speak_http2(&proxy, endless).await;
    assert!(goaway(&answer).is_some(), "{answer:?}");
    assert_eq!(proxy.get("/").await.status(), 200);
}
