//! gRPC, and HTTP/2 toward instances: trailers both ways, streams both ways at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use trimtab_proxy::{Health, Pool, Protocol};

use crate::harness::{Instance, Proxy, eventually, pool, route};

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn frames(frames: Vec<Frame<Bytes>>) -> Body {
    StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok))).boxed_unsync()
}

fn trailers(pairs: &[(&'static str, &str)]) -> Frame<Bytes> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    Frame::trailers(headers)
}

/// A gRPC server as others see one: health, echoes, and ways to fail.
pub(crate) async fn server(healthy: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let healthy = Arc::clone(&healthy);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&healthy), request));
                let _ended = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

async fn answer(healthy: Arc<AtomicBool>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let ok = Frame::data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]));
    let mut response = Response::builder().header("content-type", "application/grpc");
    let body = match parts.uri.path() {
        "/grpc.health.v1.Health/Check" if healthy.load(Ordering::Relaxed) => {
            frames(vec![ok, trailers(&[("grpc-status", "0")])])
        }
        "/grpc.health.v1.Health/Check" => {
            let down = Frame::data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 2]));
            frames(vec![down, trailers(&[("grpc-status", "0")])])
        }
        "/echo.Echo/Say" => {
            let collected = body.collect().await.unwrap();
            let theirs = collected
                .trailers()
                .and_then(|trailers| trailers.get("x-sum"))
                .cloned();
            let told = format!(
                "{} te={:?} from={:?}",
                theirs.as_ref().map_or("none", |sum| sum.to_str().unwrap()),
                parts.headers.get("te"),
                parts.headers.get("x-forwarded-for")
            );
            frames(vec![
                Frame::data(collected.to_bytes()),
                trailers(&[("grpc-status", "0"), ("x-told", &told)]),
            ])
        }
        "/echo.Echo/Chat" => {
            let echo = futures_util::stream::unfold(body, |mut body| async move {
                match body.frame().await?.ok()?.into_data() {
                    Ok(piece) => Some((Ok(Frame::data(piece)), body)),
                    Err(_) => None,
                }
            });
            let end = futures_util::stream::iter([Ok(trailers(&[("grpc-status", "0")]))]);
            StreamBody::new(Box::pin(echo.chain(end))).boxed_unsync()
        }
        "/echo.Echo/Broken" => {
            response = response.header("grpc-status", "13");
            frames(vec![])
        }
        "/echo.Echo/Missing" => frames(vec![trailers(&[("grpc-status", "5")])]),
        "/echo.Echo/Cut" => frames(vec![Frame::data(Bytes::from_static(b"x"))]),
        _ => std::future::pending().await,
    };
    Ok(response.body(body).unwrap())
}

/// A pool of one gRPC server.
pub(crate) fn grpc(name: &str, instance: &Instance, address: SocketAddr) -> Pool {
    let mut pool = pool(name, &[instance]);
    pool.endpoints[0].address = address;
    pool.protocol = Protocol::Grpc;
    pool
}

async fn client(proxy: &Proxy) -> SendRequest<Body> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    client
}

async fn call(client: &mut SendRequest<Body>, method: &str, body: Body) -> Response<Incoming> {
    let request = Request::builder()
        .method("POST")
        .uri(format!("http://test/echo.Echo/{method}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

async fn status(client: &mut SendRequest<Body>, method: &str) -> Option<String> {
    let response = call(
        client,
        method,
        frames(vec![Frame::data(Bytes::from_static(b"hi"))]),
    )
    .await;
    let (mut parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    parts
        .headers
        .extend(collected.trailers().cloned().unwrap_or_default());
    Some(parts.headers.get("grpc-status")?.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways_and_tell_how_it_went() {
    let instance = Instance::start("blocks-r1").await;
    let healthy = Arc::new(AtomicBool::new(true));
    let address = server(Arc::clone(&healthy)).await;
    let proxy = Proxy::start(|config| config.threads = 1).await;
    proxy
        .apply(route(grpc("blocks-r1", &instance, address), None))
        .await;
    let mut client = client(&proxy).await;
    let message = Bytes::from(vec![b'x'; 200_000]);
    let body = frames(vec![
        Frame::data(message.clone()),
        Frame::data(message.clone()),
        trailers(&[("x-sum", "42")]),
    ]);
    let said = call(&mut client, "Say", body)
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    let told = said.trailers().unwrap()["x-told"].to_str().unwrap().to_owned();
    assert_eq!(told, "42 te=Some(\"trailers\") from=Some(\"127.0.0.1\")");
    assert_eq!(said.to_bytes().len(), 400_000);
    for (method, expected) in [("Broken", Some("13")), ("Missing", Some("5")), ("Cut", None)] {
        assert_eq!(status(&mut client, method).await.as_deref(), expected, "{method}");
    }
    let mut counted = proxy.client.frames(0);
    let mut cells = Vec::new();
    while cells.len() < 4 {
        let frame = tokio::time::timeout(Duration::from_secs(10), counted.next())
            .await
            .unwrap();
        cells.extend(frame.cells.into_iter().map(|cell| {
            let name = cell.operation.rsplit('/').next().unwrap().to_owned();
            (name, cell.requests, cell.errors, cell.client_errors)
        }));
    }
    cells.sort();
    let expected = [
        ("Broken", 1, 1, 0),
        ("Cut", 1, 1, 0),
        ("Missing", 1, 0, 1),
        ("Say", 1, 0, 0),
    ];
    assert_eq!(
        cells,
        expected.map(|(name, requests, errors, client)| (name.to_owned(), requests, errors, client))
    );

    let health = async |wanted: Health| {
        let status = proxy.client.status().await.unwrap();
        status.endpoints[0].health == wanted
    };
    eventually("it is healthy", || health(Health::Healthy)).await;
    healthy.store(false, Ordering::Relaxed);
    eventually("it is not", || health(Health::Unhealthy)).await;
    assert_eq!(
        status(&mut client, "Say").await.as_deref(),
        Some("14"),
        "refused in gRPC's own way"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_many_clients_share_a_connection_and_outlive_a_switch() {
    let (blue, green) = (
        Instance::start("blocks-r1").await,
        Instance::start("blocks-r2").await,
    );
    let healthy = Arc::new(AtomicBool::new(true));
    let (first, second) = (server(Arc::clone(&healthy)).await, server(healthy).await);
    let proxy = Proxy::start(|config| config.threads = 1).await;
    proxy.apply(route(grpc("blocks-r1", &blue, first), None)).await;
    let mut chats = Vec::new();
    for number in 0..20 {
        let mut client = client(&proxy).await;
        let (say, said) = mpsc::unbounded_channel::<Bytes>();
        let said = futures_util::stream::unfold(said, |mut said| async move {
            Some((Ok(Frame::data(said.recv().await?)), said))
        });
        // hyper sends the head with the first piece or without.
        say.send(Bytes::from(format!("hello {number}"))).unwrap();
        let answer = call(
            &mut client,
            "Chat",
            StreamBody::new(Box::pin(said)).boxed_unsync(),
        )
        .await;
        chats.push((client, say, answer.into_body()));
    }
    for round in 0..3 {
        if round == 1 {
            proxy.apply(route(grpc("blocks-r2", &green, second), None)).await;
        }
        for (number, (_, say, heard)) in chats.iter_mut().enumerate() {
            let heard = heard.frame().await.unwrap().unwrap().into_data().unwrap();
            let expected = if round == 0 {
                format!("hello {number}")
            } else {
                format!("{number} in {round}")
            };
            assert_eq!(heard, expected);
            say.send(Bytes::from(format!("{number} in {}", round + 1)))
                .unwrap();
        }
    }
    for (_, say, mut heard) in chats {
        drop(say);
        let mut last = None;
        while let Some(frame) = heard.frame().await {
            last = frame.unwrap().into_trailers().ok();
        }
        assert_eq!(last.unwrap()["grpc-status"], "0");
    }
    eventually("all are counted", || async {
        proxy.client.status().await.unwrap().counters.requests == 20
    })
    .await;
    let counters = proxy.client.status().await.unwrap().counters;
    assert_eq!(counters.upstream_connections, 1, "twenty streams, one connection");
}
