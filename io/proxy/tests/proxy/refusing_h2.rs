//! HTTP/2 requests that RFC 9113 calls malformed: none reaches an instance.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Instance, Proxy};
use crate::refusing::frame;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A header block in HPACK, every field a literal (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

const PLAIN: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/bad"),
    (":authority", "x"),
];

/// Sends `frames` and then a good request on stream 101; whether that was answered with 200 before the
/// connection ended, and the status of stream 1 if it got one.
async fn speak(proxy: &Proxy, frames: Vec<u8>) -> bool {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frames);
    let mut good = PLAIN;
    good[2].1 = "/good";
    bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 101, &block(&good)));
    // The connection may be closed in the middle of it.
    let _cut_off = stream.write_all(&bytes).await;
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let mut rest = &seen[..];
            while rest.len() >= 9 {
                let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
                let number = u32::from_be_bytes(rest[5..9].try_into().unwrap());
                if (rest[3], number) == (DATA, 101) {
                    return true;
                }
                let Some(next) = rest.get(9 + length..) else { break };
                rest = next;
            }
            if !matches!(stream.read_buf(&mut seen).await, Ok(1..)) {
                return false;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("neither an answer nor an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_http2_requests_reach_no_instance() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let with = |more: &[(&str, &str)]| {
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &block(&[&PLAIN, more].concat()),
        )
    };
    let only = |fields: &[(&str, &str)]| frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields));
    let body = |length: &str, data: &[u8]| {
        let mut head = PLAIN.to_vec();
        head[0].1 = "POST";
        head.push(("content-length", length));
        let head = frame(HEADERS, END_HEADERS, 1, &block(&head));
        [head, frame(DATA, END_STREAM, 1, data)].concat()
    };
    assert!(speak(&proxy, with(&[("x-fine", "1")])).await);
    assert_eq!(instance.served(), 2, "the helper itself works");
    for (what, frames) in [
        ("upper case", with(&[("X-Upper", "1")])),
        ("connection", with(&[("connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "h2c")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("te", with(&[("te", "gzip")])),
        ("line feed", with(&[("x", "a\nb")])),
        ("carriage return", with(&[("x", "a\r\nx-smuggled: 1")])),
        ("null", with(&[("x", "a\0b")])),
        ("blank in a name", with(&[("x y", "1")])),
        ("another host", with(&[("host", "y")])),
        ("two hosts", with(&[("host", "x"), ("host", "x")])),
        ("late pseudo header", with(&[("x", "1"), (":path", "/other")])),
        ("two paths", with(&[(":path", "/other")])),
        ("unknown pseudo header", with(&[(":smuggled", "1")])),
        ("response's pseudo header", with(&[(":status", "200")])),
        ("no method", only(&PLAIN[1..])),
        ("no path", only(&[PLAIN[0], PLAIN[1], PLAIN[3]])),
        ("no host", only(&PLAIN[..3])),
        (
            "a path that is none",
            only(&[PLAIN[0], PLAIN[1], (":path", "bad"), PLAIN[3]]),
        ),
        (
            "blank in the path",
            only(&[PLAIN[0], PLAIN[1], (":path", "/a b"), PLAIN[3]]),
        ),
        (
            "blank in the method",
            only(&[(":method", "GET /x"), PLAIN[1], PLAIN[2], PLAIN[3]]),
        ),
        (
            "even stream",
            frame(HEADERS, END_STREAM | END_HEADERS, 2, &block(&PLAIN)),
        ),
        ("data without a stream", frame(DATA, END_STREAM, 1, b"x")),
        (
            "a broken block",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 40]),
        ),
        (
            "frame in a block",
            [
                frame(HEADERS, END_STREAM, 1, &block(&PLAIN)),
                frame(6, 0, 0, &[0; 8]),
            ]
            .concat(),
        ),
    ] {
        let before = instance.served();
        let answered = speak(&proxy, frames).await;
        assert_eq!(
            instance.served() - before,
            u64::from(answered),
            "{what} reached the instance"
        );
    }
    // A body of another length than said: the instance sees it broken off, never whole.
    for (length, data) in [("3", &b"hello"[..]), ("9", b"hello")] {
        let _answered = speak(&proxy, body(length, data)).await;
    }
    assert_eq!(proxy.get("/").await.status(), 200);
}
