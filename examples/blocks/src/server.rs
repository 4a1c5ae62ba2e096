//! The HTTP interface.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::block::{Register, Stamp};
use crate::client::percent_decode;
use crate::plugins::Plugins;
use crate::store::Store;
use crate::telemetry::{Span, Telemetry};
use crate::{crdt, otlp, search};

const BODY_BYTES_MAX: usize = 1 << 20;
const LIST_MAX: usize = 100;
/// Requests under way at the end have this long.
const GRACE: Duration = Duration::from_secs(4);

struct App {
    store: Store,
    plugins: Plugins,
    telemetry: Arc<Telemetry>,
}

/// Why a request was not served.
enum Failure {
    BadRequest(String),
    NotFound,
    Internal(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Internal(format!("storage: {error}"))
    }
}

enum Reply {
    Json(u16, Value),
    Text(String),
}

/// Serves until SIGTERM or SIGINT.
pub fn main() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), String> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port.parse().map_err(|_| format!("PORT: {port:?} is no port"))?;
    // Trimtab gives a folder that outlives a release; by hand DATA or ./data.
    let data = ["DATA", "TRIMTAB_DATA"]
        .iter()
        .find_map(std::env::var_os)
        .unwrap_or_else(|| "data".into());
    let data = PathBuf::from(data);
    let store = Store::open(&data).map_err(|error| format!("cannot open {}: {error}", data.display()))?;
    let (exporter, spans) = match otlp::Exporter::from_environment() {
        Some(exporter) => {
            let (sender, receiver) = mpsc::channel(otlp::QUEUE_MAX);
            (Some(tokio::spawn(exporter.run(receiver))), Some(sender))
        }
        None => (None, None),
    };
    let telemetry = Telemetry::new(spans, true);
    let app = Arc::new(App {
        store,
        plugins: Plugins::new("plugins".as_ref()),
        telemetry: Arc::clone(&telemetry),
    });
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|e| format!("cannot listen on {port}: {e}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    telemetry.log("INFO", "listening", json!({"address": address.to_string()}), None);

    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let graceful = Arc::new(GracefulShutdown::new());
    let accepting = tokio::spawn(accept(listener, Arc::clone(&app), Arc::clone(&graceful)));
    std::future::poll_fn(|context| {
        if terminate.poll_recv(context).is_ready() || interrupt.poll_recv(context).is_ready() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    accepting.abort();
    let _ = accepting.await;
    telemetry.log("INFO", "stopping", json!({}), None);
    if let Some(graceful) = Arc::into_inner(graceful) {
        let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    }
    drop((app, telemetry));
    if let Some(exporter) = exporter {
        let _ = tokio::time::timeout(Duration::from_secs(1), exporter).await;
    }
    Ok(())
}

async fn accept(listener: TcpListener, app: Arc<App>, graceful: Arc<GracefulShutdown>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, for example: others end soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let app = Arc::clone(&app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(handle(&app, request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(graceful.watch(connection));
    }
}

async fn handle(app: &App, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = route(&method, &path);
    if matches!(route, "/health" | "/metrics") {
        let text = if route == "/health" {
            "ok\n".to_owned()
        } else {
            app.telemetry.metrics()
        };
        return respond(Reply::Text(text));
    }
    let user = header("x-user").filter(|user| user.len() <= 100);
    if let Some(user) = &user {
        app.telemetry.seen(user);
    }
    let span = app
        .telemetry
        .root(&format!("{method} {route}"), header("traceparent").as_deref());
    span.set("http.request.method", method.as_str());
    span.set("http.route", route);
    let reply = match serve_request(app, route, request, &span).await {
        Ok(reply) => reply,
        Err(Failure::BadRequest(reason)) => Reply::Json(400, json!({"error": reason})),
        Err(Failure::NotFound) => Reply::Json(404, json!({"error": "there is no such thing"})),
        Err(Failure::Internal(reason)) => {
            span.fail(&reason);
            // Who met it is what people ask first.
            let fields = json!({"method": method.as_str(), "route": route, "user.id": user});
            app.telemetry.log("ERROR", &reason, fields, Some(&span));
            Reply::Json(500, json!({"error": "something went wrong; it was written down"}))
        }
    };
    let response = respond(reply);
    let status = response.status().as_u16();
    span.set("http.response.status_code", status);
    app.telemetry
        .served(method.as_str(), route, status, begun.elapsed());
    let fields = json!({
        "method": method.as_str(), "route": route, "status": status, "ms": begun.elapsed().as_millis() as u64,
    });
    app.telemetry.log("INFO", "request served", fields, Some(&span));
    response
}

fn route(method: &Method, path: &str) -> &'static str {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["health"]) => "/health",
        ("GET", ["metrics"]) => "/metrics",
        ("GET" | "POST", ["blocks"]) => "/blocks",
        ("GET", ["blocks", _]) => "/blocks/{id}",
        ("GET", ["search"]) => "/search",
        ("POST", ["sync"]) => "/sync",
        ("GET", ["plugins"]) => "/plugins",
        ("GET", ["plugins", _, "blocks", _]) => "/plugins/{name}/blocks/{id}",
        _ => "unknown",
    }
}

async fn serve_request(
    app: &App,
    route: &'static str,
    request: Request<Incoming>,
    span: &Span,
) -> Result<Reply, Failure> {
    let path = percent_decode(request.uri().path());
    let last = path.rsplit('/').next().unwrap_or_default().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (request.method(), route) {
        (&Method::POST, "/blocks") => create(app, &body(request).await?, span),
        (_, "/blocks") => {
            let count = parameter(&query, "limit")
                .and_then(|text| text.parse().ok())
                .unwrap_or(20);
            let ids = app.store.newest(count.min(LIST_MAX))?;
            let blocks = app.store.read_many(&ids, span)?;
            Ok(Reply::Json(
                200,
                blocks.iter().map(crate::block::Block::view).collect(),
            ))
        }
        (_, "/blocks/{id}") => {
            let block = app.store.read(&last, span)?.ok_or(Failure::NotFound)?;
            Ok(Reply::Json(200, block.view()))
        }
        (_, "/search") => {
            let words = parameter(&query, "q").ok_or(Failure::BadRequest("`q` is missing".to_owned()))?;
            let found = search::run(&app.store, &words, span).await?;
            Ok(Reply::Json(
                200,
                found.iter().map(crate::block::Block::view).collect(),
            ))
        }
        (_, "/sync") => sync(app, &body(request).await?, span),
        (_, "/plugins") => Ok(Reply::Json(200, json!(app.plugins.names()))),
        (_, "/plugins/{name}/blocks/{id}") => {
            let name = path.split('/').nth(2).unwrap_or_default();
            let plugin = {
                let _span = span.child("plugin.load");
                app.telemetry.count("plugin_loads_total", 1);
                app.plugins
                    .load(name)
                    .map_err(Failure::Internal)?
                    .ok_or(Failure::NotFound)?
            };
            let block = app.store.read(&last, span)?.ok_or(Failure::NotFound)?;
            Ok(Reply::Json(200, plugin.apply(&block)))
        }
        _ => Err(Failure::NotFound),
    }
}

fn create(app: &App, body: &Value, span: &Span) -> Result<Reply, Failure> {
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let value = text("text").ok_or(Failure::BadRequest("`text` must be a text".to_owned()))?;
    let stamp = Stamp {
        clock: 1,
        actor: "server".to_owned(),
    };
    let id = text("id").unwrap_or_else(|| format!("b-{:x}", fresh()));
    let block = app.store.update::<Failure>(&id, span, |block| {
        if block.clock() > 0 {
            return Err(Failure::BadRequest(format!("there is a block {id} already")));
        }
        block.title = Register {
            value: text("title").unwrap_or_default(),
            stamp: stamp.clone(),
        };
        block.text = Register { value, stamp };
        for tag in body["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            block
                .tags
                .entry(tag.to_owned())
                .or_default()
                .insert(format!("server-{id}"));
        }
        Ok(true)
    })??;
    app.telemetry.count("blocks_created_total", 1);
    Ok(Reply::Json(201, block.view()))
}

fn fresh() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() >> 16
}

fn sync(app: &App, body: &Value, span: &Span) -> Result<Reply, Failure> {
    app.telemetry.count("sync_events_total", 1);
    let operations = crdt::parse(body).map_err(Failure::BadRequest)?;
    let (mut applied, mut clock) = (0u64, 0);
    for operation in &operations {
        let block = app.store.update(&operation.block, span, |block| {
            let span = span.child("crdt.merge");
            span.set("block", operation.block.as_str());
            let changed = crdt::merge(block, &operation.change).inspect_err(|error| span.fail(&error.0))?;
            applied += u64::from(changed);
            Ok::<_, crdt::MergeError>(changed)
        })?;
        let block = block.map_err(|error| Failure::Internal(format!("sync failed: {}", error.0)))?;
        clock = clock.max(block.clock());
        app.telemetry.count("crdt_operations_total", 1);
    }
    Ok(Reply::Json(
        200,
        json!({"operations": operations.len(), "applied": applied, "clock": clock}),
    ))
}

async fn body(request: Request<Incoming>) -> Result<Value, Failure> {
    let bytes = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| Failure::BadRequest(format!("the body: {error}")))?
        .to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::BadRequest(format!("the body is no JSON: {error}")))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| percent_decode(&value.replace('+', " ")))
}

fn respond(reply: Reply) -> Response<Full<Bytes>> {
    let (status, kind, text) = match reply {
        Reply::Json(status, value) => (status, "application/json", value.to_string()),
        Reply::Text(text) => (200, "text/plain; version=0.0.4; charset=utf-8", text),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}
