//! HTTP/2, TLS, WebSocket, HTTP/1.0.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Instance, Proxy, eventually, pool, program, route};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_without_tls() {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let url = |path: &str| format!("http://{}{path}", proxy.address);
    let answer = client.get(url("/")).send().await.unwrap();
    assert_eq!(
        (answer.version(), answer.status().as_u16()),
        (http::Version::HTTP_2, 200)
    );
    assert_eq!(answer.text().await.unwrap(), "blocks-r1");
    let headers = client
        .get(url("/headers"))
        .header("cookie", "a=1")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        headers.contains("cookie: a=1") && headers.contains("x-forwarded-for: 127.0.0.1"),
        "{headers}"
    );
    let body = "x".repeat(300_000);
    let echoed = client
        .post(url("/echo"))
        .body(body.clone())
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(echoed, body);
    let large = client
        .get(url("/large/2000000"))
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(large.len(), 2_000_000);
    let many = (0..200).map(|_| async { client.get(url("/")).send().await.unwrap().text().await.unwrap() });
    assert!(
        futures_util::future::join_all(many)
            .await
            .iter()
            .all(|text| text == "blocks-r1")
    );
    // A drain ends the connection without failing a stream.
    let slow = tokio::spawn(client.get(url("/slow/500")).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.client.upgrade(program()).await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(client.get(url("/")).send().await.unwrap().status(), 200);
    assert_eq!(client.get(url("/status/500")).send().await.unwrap().status(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_both_protocols() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let instance = Instance::start("blocks-r1").await;
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let (cert, key): (PathBuf, PathBuf) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let proxy = Proxy::start(|config| {
        config.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
        config.tls = Some(trimtab_proxy::TlsFiles { cert, key });
    })
    .await;
    proxy.apply(route(pool("blocks-r1", &[&instance]), None)).await;
    let port = proxy.client.status().await.unwrap().listen_tls[0].port();
    let trusted = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    for (http1, version) in [(true, http::Version::HTTP_11), (false, http::Version::HTTP_2)] {
        let builder = reqwest::Client::builder().tls_certs_only([trusted.clone()]);
        let client = if http1 { builder.http1_only() } else { builder }
            .build()
            .unwrap();
        let answer = client
            .get(format!("https://localhost:{port}/headers"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.version(), version);
        assert!(answer.text().await.unwrap().contains("x-forwarded-proto: https"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_taken_up_at_once() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let instance = Instance::start("blocks-r1").await;
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (first, second) = (make(), make());
    let files = tempfile::tempdir().unwrap();
    let (cert, key): (PathBuf, PathBuf) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&cert, first.cert.pem()).unwrap();
    std::fs::write(&key, first.signing_key.serialize_pem()).unwrap();
    let tls = trimtab_proxy::TlsFiles {
        cert: cert.clone(),
        key: key.clone(),
    };
    let proxy = Proxy::start(|config| {
        config.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
        config.tls = Some(tls);
    })
    .await;
    proxy.apply(route(pool("blocks-r1", &[&instance]), None)).await;
    let status = proxy.client.status().await.unwrap();
    let url = format!("https://localhost:{}/", status.listen_tls[0].port());
    let trusts = async |pem: String| {
        let trusted = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([trusted])
            .build()
            .unwrap();
        client.get(&url).send().await.is_ok()
    };
    assert!(trusts(first.cert.pem()).await && !trusts(second.cert.pem()).await);
    // One file without the other is no pair: the old certificate serves on, and the status says why.
    std::fs::write(&cert, second.cert.pem()).unwrap();
    eventually("the status says it", || async {
        proxy.client.status().await.unwrap().tls_error.is_some()
    })
    .await;
    assert!(trusts(first.cert.pem()).await);
    std::fs::write(&key, second.signing_key.serialize_pem()).unwrap();
    eventually("the new one serves", || async { trusts(second.cert.pem()).await }).await;
    let after = proxy.client.status().await.unwrap();
    assert_eq!(
        (after.worker_pid, after.counters.tls_reloads),
        (status.worker_pid, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_pass() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    let instance = Instance::start("blocks-r1").await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = address;
    pool.health.unhealthy_after = 1_000;
    let proxy = Proxy::start(|_| {}).await;
    proxy.apply(route(pool, None)).await;
    let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{}/live", proxy.address), stream)
        .await
        .unwrap();
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), text);
    }
    socket.close(None).await.unwrap();
    let mut frames = proxy.client.frames(0);
    loop {
        if let Some(cell) = frames.next().await.cells.first() {
            assert_eq!(
                (cell.requests, cell.errors, cell.operation.as_str()),
                (1, 0, "GET /live")
            );
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http10_and_bodies_that_end_with_the_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut space = [0; 4096];
            let _asked = stream.read(&mut space).await;
            let text = b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end";
            let _sent = tokio::io::AsyncWriteExt::write_all(&mut stream, text).await;
        }
    });
    let instance = Instance::start("blocks-r1").await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = address;
    let proxy = Proxy::start(|_| {}).await;
    proxy.apply(route(pool, None)).await;
    let old = proxy.send(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(
        old.body() == "until the end" && !old.0.contains("chunked"),
        "{old:?}"
    );
    let new = proxy.get("/").await;
    assert!(
        new.0.contains("transfer-encoding: chunked") && new.body() == "d\r\nuntil the end\r\n0\r\n\r\n",
        "{new:?}"
    );
}
