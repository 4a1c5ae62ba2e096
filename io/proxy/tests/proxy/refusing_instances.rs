//! What an instance may not answer: clients get a 502 or a broken connection, never two answers.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Instance, Proxy, pool, route};

/// An instance that answers every request with the same bytes, on a connection that stays open unless
/// they end with an empty promise.
async fn parrot() -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let words: Arc<Mutex<Vec<u8>>> = Arc::default();
    let said = Arc::clone(&words);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let words = Arc::clone(&said);
            tokio::spawn(async move {
                let mut space = [0; 4096];
                while let Ok(1..) = stream.read(&mut space).await {
                    let answer = words.lock().unwrap().clone();
                    if stream.write_all(&answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, words)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_answers_become_one_502() {
    let instance = Instance::start("blocks-r1").await;
    let (address, words) = parrot().await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = address;
    pool.health.unhealthy_after = 1_000_000;
    let proxy = Proxy::start(|_| {}).await;
    proxy.apply(route(pool, None)).await;
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    for head in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: five\r\n\r\nhello",
        "Content-Length: -5\r\n\r\nhello",
        "Content-Length: 5, 5\r\n\r\nhello",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "X: 1\r\n folded\r\n\r\n",
        "X : 1\r\n\r\n",
        "X\r\n\r\n",
        "X: a\0b\r\n\r\n",
    ] {
        *words.lock().unwrap() = format!("HTTP/1.1 200 OK\r\n{head}{second}").into_bytes();
        let answer = proxy.get("/").await;
        assert!(
            answer.status() == 502 && !answer.0.contains("smuggled"),
            "{head:?} {answer:?}"
        );
    }
    for start in [
        "HTTP/2.0 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 OK",
        "ICY 200 OK",
        "HTTP/1.1 101 Switch\r\nUpgrade: x",
    ] {
        *words.lock().unwrap() = format!("{start}\r\nContent-Length: 0\r\n\r\n").into_bytes();
        assert_eq!(proxy.get("/").await.status(), 502, "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_an_answer_is_nobodys_answer() {
    let instance = Instance::start("blocks-r1").await;
    let (address, words) = parrot().await;
    let mut pool = pool("blocks-r1", &[&instance]);
    pool.endpoints[0].address = address;
    pool.health.unhealthy_after = 1_000_000;
    let proxy = Proxy::start(|config| config.threads = 1).await;
    proxy.apply(route(pool, None)).await;
    // The second answer must not wait for the next client on a connection that is used again.
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    *words.lock().unwrap() = both.as_bytes().to_vec();
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.body(), "first");
    }
    // A body that ends early, or whose chunks are wrong, is broken off: the client must notice.
    for wrong in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
    ] {
        *words.lock().unwrap() = format!("HTTP/1.1 200 OK\r\n{wrong}").into_bytes();
        let answer = proxy.get("/").await;
        assert!(!answer.0.ends_with("0\r\n\r\n"), "{wrong:?} {answer:?}");
    }
}
