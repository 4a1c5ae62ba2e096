//! Instances, a proxy in a temporary folder, and clients that count what failed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, RolloutId, ServiceName, Weight};
use trimtab_proxy::{
    Endpoint, Policy, Pool, Probe, Protocol, ProxyClient, ProxyConfig, Route, RoutingTable, Split,
};

pub(crate) const SERVICE: &str = "blocks";

pub(crate) fn release(name: &str) -> ReleaseId {
    ReleaseId::new(name).unwrap()
}

pub(crate) fn service() -> ServiceName {
    ServiceName::new(SERVICE).unwrap()
}

/// An instance of a release: a small HTTP server with a path for each kind of behaviour.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) release: String,
    pub(crate) address: SocketAddr,
    pub(crate) healthy: Arc<AtomicBool>,
    pub(crate) served: Arc<AtomicU64>,
}

impl Instance {
    pub(crate) async fn start(release: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let instance = Instance {
            release: release.to_owned(),
            address: listener.local_addr().unwrap(),
            healthy: Arc::new(AtomicBool::new(true)),
            served: Arc::default(),
        };
        let serving = instance.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let instance = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(instance.clone(), request));
                    let _ended = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        instance
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            instance: InstanceId::new(format!("{}-p{}", self.release, self.address.port())).unwrap(),
            address: self.address,
        }
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

async fn answer(instance: Instance, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/health" {
        let healthy = instance.healthy.load(Ordering::Relaxed);
        let response = Response::builder().status(if healthy { 200 } else { 500 });
        return Ok(response
            .body(full(if healthy { "fine" } else { "the disk is full" }))
            .unwrap());
    }
    instance.served.fetch_add(1, Ordering::Relaxed);
    let ok = |body: Body| {
        Response::builder()
            .header("x-release", &instance.release)
            .body(body)
            .unwrap()
    };
    let response = match path.split('/').nth(1).unwrap_or("") {
        "status" => {
            let status: u16 = path.split('/').nth(2).unwrap().parse().unwrap();
            Response::builder()
                .status(status)
                .body(full("asked for"))
                .unwrap()
        }
        "slow" => {
            let ms: u64 = path.split('/').nth(2).unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_millis(ms)).await;
            ok(full("at last"))
        }
        "headers" => {
            let lines: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            ok(full(format!(
                "{} {}\n{}",
                request.method(),
                request.uri(),
                lines.join("\n")
            )))
        }
        "echo" => {
            let body = request.into_body().collect().await;
            ok(full(body.map(|body| body.to_bytes()).unwrap_or_default()))
        }
        // Gives back each piece of the body as it comes.
        "mirror" => {
            let pieces = request.into_body();
            let stream = futures_util::stream::unfold(pieces, |mut pieces| async move {
                let piece = pieces.frame().await?.ok()?.into_data().ok()?;
                Some((Ok(Frame::data(piece)), pieces))
            });
            ok(StreamBody::new(Box::pin(stream)).boxed_unsync())
        }
        // Each release has files of its own.
        "assets" => {
            let found = path.split('/').nth(2) == Some(instance.release.as_str());
            let status = if found { 200 } else { 404 };
            Response::builder().status(status).body(full("")).unwrap()
        }
        "events" => {
            let stream = futures_util::stream::unfold(0, |number| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let event = format!("id: {number}\ndata: {number}\n\n");
                Some((Ok(Frame::data(Bytes::from(event))), number + 1))
            });
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(StreamBody::new(Box::pin(stream)).boxed_unsync())
                .unwrap()
        }
        "large" => {
            let size: usize = path.split('/').nth(2).unwrap().parse().unwrap();
            ok(full(vec![b'x'; size]))
        }
        "upgrade" => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgraded.await.unwrap());
                let mut space = [0; 1024];
                while let Ok(count @ 1..) = io.read(&mut space).await {
                    io.write_all(&space[..count]).await.unwrap();
                }
            });
            Response::builder()
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "echo")
                .body(full(""))
                .unwrap()
        }
        _ => ok(full(instance.release.clone())),
    };
    Ok(response)
}

pub(crate) fn pool(release_name: &str, instances: &[&Instance]) -> Pool {
    Pool {
        release: release(release_name),
        endpoints: instances.iter().map(|instance| instance.endpoint()).collect(),
        health: Probe {
            interval_ms: 50,
            timeout_ms: 500,
            ..Probe::default()
        },
        protocol: Protocol::Http1,
    }
}

/// A route for every host and path.
pub(crate) fn route(baseline: Pool, candidate: Option<(Pool, f64)>) -> Route {
    let candidate_weight = candidate.as_ref().map_or(Weight::ZERO, |(_, percent)| {
        Weight::from_percent(*percent).unwrap()
    });
    Route {
        service: service(),
        environment: EnvironmentName::new("production").unwrap(),
        host: "*".to_owned(),
        path_prefix: "/".to_owned(),
        generation: Generation(1),
        timeout_ms: 5_000,
        split: Split {
            rollout: candidate.as_ref().map(|_| RolloutId::new("rollout-1").unwrap()),
            baseline,
            candidate: candidate.map(|(pool, _)| pool),
            candidate_weight,
            sticky: None,
        },
        mirror: None,
        preview: None,
        policy: Policy::default(),
    }
}

/// A proxy in a temporary folder; shut down when dropped.
pub(crate) struct Proxy {
    pub(crate) client: ProxyClient,
    pub(crate) config: ProxyConfig,
    pub(crate) address: SocketAddr,
    version: AtomicU64,
    _dir: tempfile::TempDir,
}

pub(crate) fn program() -> std::path::PathBuf {
    env!("CARGO_BIN_EXE_trimtab-proxy").into()
}

impl Proxy {
    pub(crate) async fn start(change: impl FnOnce(&mut ProxyConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ProxyConfig::new(
            dir.path().join("proxy"),
            program(),
            vec!["127.0.0.1:0".parse().unwrap()],
        );
        config.arguments.clear();
        config.threads = 2;
        config.limits.drain_ms = 3_000;
        change(&mut config);
        let client = ProxyClient::start_or_adopt(config.clone()).await.unwrap();
        let address = client.status().await.unwrap().listen[0];
        Proxy {
            client,
            config,
            address,
            version: AtomicU64::new(0),
            _dir: dir,
        }
    }

    /// A proxy that routes everything to one instance.
    pub(crate) async fn before(instance: &Instance) -> Self {
        let proxy = Proxy::start(|_| {}).await;
        proxy
            .apply(route(pool(&instance.release, &[instance]), None))
            .await;
        proxy
    }

    pub(crate) async fn apply(&self, route: Route) {
        self.apply_all(vec![route]).await;
    }

    pub(crate) async fn apply_all(&self, routes: Vec<Route>) {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        self.client
            .apply(&RoutingTable::new(version, routes))
            .await
            .unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        self.send(request.as_bytes()).await
    }

    /// Sends bytes on a connection of their own and reads the answer to the end.
    pub(crate) async fn send(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut text = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut text))
            .await
            .unwrap()
            .unwrap();
        Answer(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Without a runtime at hand: ask in a thread that has one.
        let client = self.client.clone();
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(client.shutdown())
        });
        let _gone = asked.join();
    }
}

/// What came back, as text.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) String);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.0
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// Polls until `check` holds, for ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let until = Instant::now() + Duration::from_secs(10);
    while !check().await {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Clients with keep-alive that take any closed connection or wrong status as a failure.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    pub(crate) ok: Arc<AtomicU64>,
    failures: Arc<std::sync::Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, clients: usize, path: &'static str) -> Self {
        let mut load = Load {
            stop: Arc::default(),
            ok: Arc::default(),
            failures: Arc::default(),
            tasks: Vec::new(),
        };
        for _ in 0..clients {
            let (stop, ok, failures) = (
                Arc::clone(&load.stop),
                Arc::clone(&load.ok),
                Arc::clone(&load.failures),
            );
            load.tasks.push(tokio::spawn(async move {
                let mut stream = None;
                while !stop.load(Ordering::Relaxed) {
                    match request(address, &mut stream, path).await {
                        Ok(()) => drop(ok.fetch_add(1, Ordering::Relaxed)),
                        Err(failure) => {
                            stream = None;
                            failures.lock().unwrap().push(failure);
                        }
                    }
                }
            }));
        }
        load
    }

    pub(crate) fn count(&self) -> u64 {
        self.ok.load(Ordering::Relaxed)
    }

    /// Waits until `count` more requests have succeeded.
    pub(crate) async fn more(&self, count: u64) {
        let goal = self.count() + count;
        eventually("load", || async { self.count() >= goal }).await;
    }

    /// Stops; how many succeeded, and what failed.
    pub(crate) async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        (
            self.ok.load(Ordering::Relaxed),
            std::mem::take(&mut self.failures.lock().unwrap()),
        )
    }
}

async fn request(address: SocketAddr, stream: &mut Option<TcpStream>, path: &str) -> Result<(), String> {
    if stream.is_none() {
        *stream = Some(
            TcpStream::connect(address)
                .await
                .map_err(|error| format!("connect: {error}"))?,
        );
    }
    let connection = stream.as_mut().unwrap();
    let sent = connection
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
        .await;
    sent.map_err(|error| format!("write: {error}"))?;
    let mut text = Vec::new();
    loop {
        let count = connection
            .read_buf(&mut text)
            .await
            .map_err(|error| format!("read: {error}"))?;
        if count == 0 {
            return Err(format!("closed after {} bytes", text.len()));
        }
        let answer = String::from_utf8_lossy(&text);
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .ok_or("no length")?;
        if body.len() < length.parse().map_err(|_| "bad length")? {
            continue;
        }
        if !head.starts_with("HTTP/1.1 200") {
            return Err(head.lines().next().unwrap_or("").to_owned());
        }
        if head.contains("connection: close") {
            *stream = None;
        }
        return Ok(());
    }
}
