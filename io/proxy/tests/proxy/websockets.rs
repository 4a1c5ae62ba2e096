//! WebSockets: over HTTP/2 too, and held to the standard on both sides.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::h2_wire::*;
use crate::harness::{Instance, Proxy, pool, program, route};

/// An instance that echoes messages.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn before(address: SocketAddr) -> (Instance, Proxy) {
    let instance = Instance::start("blocks-r1").await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = address;
    pool.health.unhealthy_after = 1_000_000;
    let proxy = Proxy::start(|config| config.limits.tunnel_grace_ms = 1_000).await;
    proxy.apply(route(pool, None)).await;
    (instance, proxy)
}

/// A client's frame, masked by zeros.
fn message(opcode: u8, text: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, 0x80 | text.len() as u8, 0, 0, 0, 0], text].concat()
}

const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/live"),
    (":authority", "x"),
    ("sec-websocket-version", "13"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_pass_over_http2() {
    let (_instance, proxy) = before(echo().await).await;
    let mut wire = Wire::open(&proxy, &[]).await;
    let settings = wire.next().await.unwrap();
    let can_connect = setting(8, 1);
    assert!(
        settings.payload.chunks(6).any(|offered| offered == can_connect),
        "{settings:?}"
    );
    wire.send(&frame(HEADERS, END_HEADERS, 1, &block(&CONNECT))).await;
    let answer = wire.until(|frame| frame.stream == 1).await.unwrap();
    assert_eq!(
        (answer.kind, answer.flags & END_STREAM, answer.payload[0]),
        (HEADERS, 0, 0x88)
    );
    for text in ["hi", "again"] {
        wire.send(&frame(DATA, 0, 1, &message(1, text.as_bytes()))).await;
        let echoed = wire.until(|frame| frame.stream == 1).await.unwrap();
        assert_eq!(echoed.payload[2..], *text.as_bytes(), "{echoed:?}");
    }
    // A drain says goodbye between two frames, and what the client answers ends it.
    proxy.client.upgrade(program()).await.unwrap();
    let goodbye = wire.until(|frame| frame.stream == 1).await.unwrap();
    assert_eq!(goodbye.payload, [0x88, 2, 0x03, 0xe9]);
    wire.send(&frame(DATA, END_STREAM, 1, &message(8, &[0x03, 0xe9])))
        .await;
    assert!(wire.until(|frame| frame.ends(1)).await.is_some());
    let mut frames = proxy.client.frames(0);
    loop {
        if let Some(cell) = frames.next().await.cells.first() {
            assert_eq!((cell.errors, cell.operation.as_str()), (0, "GET /live"));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_connects_are_refused() {
    let (_instance, proxy) = before(echo().await).await;
    let mut other = CONNECT;
    other[1].1 = "connect-udp";
    let mut version = CONNECT;
    version[5].1 = "8";
    for (fields, status) in [
        // 400 is in HPACK's static table, 501 is not: a literal that names :status.
        (vec![CONNECT[0], CONNECT[4]], &[0x48, 0x08][..]),
        (other.to_vec(), &[0x48, 0x08]),
        (version.to_vec(), &[0x8c]),
        (CONNECT[..5].to_vec(), &[0x8c]),
    ] {
        let mut wire = Wire::settled(&proxy, &[]).await;
        wire.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        let answer = wire.until(|frame| frame.stream == 1).await.unwrap();
        assert!(
            answer.kind == HEADERS && status.contains(&answer.payload[0]),
            "{fields:?} {answer:?}"
        );
    }
}

fn handshake(method: &str, version: &str, key: &str) -> Vec<u8> {
    format!(
        "{method} /live HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{version}{key}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a handshake and reads the head of what comes back.
async fn shake(proxy: &Proxy, bytes: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains("\r\n\r\n") {
            if !matches!(stream.read_buf(&mut seen).await, Ok(1..)) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_handshake_is_read_strictly() {
    let (_instance, proxy) = before(echo().await).await;
    let twice = format!("{KEY}{KEY}");
    for (what, bytes, status) in [
        ("right", handshake("GET", VERSION, KEY), "101"),
        ("no key", handshake("GET", VERSION, ""), "400"),
        ("two keys", handshake("GET", VERSION, &twice), "400"),
        (
            "short key",
            handshake("GET", VERSION, "Sec-WebSocket-Key: YQ==\r\n"),
            "400",
        ),
        (
            "no base64",
            handshake("GET", VERSION, "Sec-WebSocket-Key: !!!!\r\n"),
            "400",
        ),
        ("POST", handshake("POST", VERSION, KEY), "400"),
        ("no version", handshake("GET", "", KEY), "426"),
        (
            "old version",
            handshake("GET", "Sec-WebSocket-Version: 8\r\n", KEY),
            "426",
        ),
    ] {
        let answer = shake(&proxy, &bytes).await;
        assert_eq!(answer.get(9..12), Some(status), "{what}: {answer}");
        assert_eq!(
            answer.contains("sec-websocket-version: 13"),
            status == "426",
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instances_handshake_is_read_strictly() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_instance, proxy) = before(listener.local_addr().unwrap()).await;
    let right = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let cases = [
        (format!("{right}{accept}"), "101"),
        (right.to_owned(), "502"),
        (
            format!("{right}Sec-WebSocket-Accept: AAAALMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "502",
        ),
        (format!("{right}{accept}{accept}"), "502"),
        (format!("{right}{accept}Sec-WebSocket-Protocol: chat\r\n"), "502"),
        (
            format!("{right}{accept}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            "502",
        ),
        (format!("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n{accept}"), "502"),
        (
            format!("HTTP/1.1 101 x\r\nConnection: upgrade\r\n{accept}"),
            "502",
        ),
        (
            format!("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n{accept}"),
            "502",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n".to_owned(),
            "403",
        ),
    ];
    for (words, status) in cases {
        let answering = async {
            // Probes come too.
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = Vec::new();
                while !String::from_utf8_lossy(&seen).contains("\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut seen).await, Ok(1..)) {
                        break;
                    }
                }
                if String::from_utf8_lossy(&seen).contains("/live") {
                    let _gone = stream.write_all(format!("{words}\r\n").as_bytes()).await;
                    let _end = stream.read(&mut [0; 1]).await;
                }
            }
        };
        let asked = handshake("GET", VERSION, KEY);
        let answer = tokio::select! {
            answer = shake(&proxy, &asked) => answer,
            () = answering => unreachable!(),
        };
        assert_eq!(answer.get(9..12), Some(status), "{words}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_may_not_be_end_the_connection() {
    let (_instance, proxy) = before(echo().await).await;
    for wrong in [
        // Not masked, with a reserved bit, with a reserved opcode, a ping in pieces.
        vec![0x81, 0x01, b'x'],
        vec![0xc1, 0x81, 0, 0, 0, 0, b'x'],
        vec![0x83, 0x81, 0, 0, 0, 0, b'x'],
        vec![0x09, 0x80, 0, 0, 0, 0],
    ] {
        let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(&handshake("GET", VERSION, KEY)).await.unwrap();
        stream.write_all(&message(1, b"good")).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\x81\x04good") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
        stream.write_all(&wrong).await.unwrap();
        seen.clear();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut seen)).await;
        assert!(ended.unwrap().is_ok());
        assert_eq!(seen, [0x88, 0x02, 0x03, 0xea], "{wrong:?}");
    }
}
