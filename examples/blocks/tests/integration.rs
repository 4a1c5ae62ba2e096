//! The service as its users see it: a real process on a free port, over real HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use blocks::client::Client;
use serde_json::{Value, json};

struct Service {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    url: String,
    folder: PathBuf,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Service {
    fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    fn start_with(name: &str, environment: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("blocks-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let mut process = Command::new(env!("CARGO_BIN_EXE_blocks"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PORT", "0")
            .env("DATA", &folder)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let url = format!("http://{}", first["address"].as_str().unwrap());
        Service {
            process,
            lines,
            url,
            folder,
        }
    }
}

#[test]
fn blocks_are_created_read_listed_and_found() {
    let service = Service::start("crud");
    let client = Client::new(&service.url).unwrap();
    let body = json!({"title": "Garden", "text": "Plant the old roses", "tags": ["spring"]});
    let created = client.post("/blocks", &body).unwrap();
    assert_eq!(created.status, 201);
    let id = created.json["id"].as_str().unwrap();
    assert_eq!(
        client.get(&format!("/blocks/{id}")).unwrap().json["tags"][0],
        "spring"
    );
    assert_eq!(client.get("/blocks").unwrap().json[0]["id"], id);
    for query in ["roses", "old+ROSES", "spring", "garden"] {
        assert_eq!(
            client.get(&format!("/search?q={query}")).unwrap().json[0]["id"],
            id,
            "{query}"
        );
    }
    assert_eq!(client.get("/search?q=tulips").unwrap().json, json!([]));
    assert_eq!(client.get("/search").unwrap().status, 400);
    assert_eq!(client.post("/blocks", &json!({"text": 1})).unwrap().status, 400);
    assert_eq!(client.get("/plugins/no-such/blocks/x").unwrap().status, 404);
}

#[test]
fn edits_made_offline_merge_in_any_order() {
    let service = Service::start("sync");
    let client = Client::new(&service.url).unwrap();
    let edit = |value: &str, clock: u64, actor: &str| {
        let one = json!({"block": "b", "kind": "text", "value": value, "clock": clock, "actor": actor});
        client.post("/sync", &json!({"operations": [one]})).unwrap()
    };
    assert_eq!(edit("third", 3, "ann").json["applied"], 1);
    assert_eq!(edit("first", 1, "bob").json["applied"], 0);
    assert_eq!(edit("fourth", 4, "bob").json["clock"], 4);
    assert_eq!(client.get("/blocks/b").unwrap().json["text"], "fourth");
}

#[test]
fn metrics_count_what_was_done() {
    let service = Service::start("metrics");
    let client = Client::new(&service.url).unwrap();
    client.post("/blocks", &json!({"text": "x"})).unwrap();
    client.get("/search?q=x").unwrap();
    let metrics = client.get("/metrics").unwrap().text;
    for line in [
        "blocks_created_total 1",
        "search_queries_total 1",
        "sync_events_total 0",
        "active_users 1",
        "http_requests_total{method=\"POST\",route=\"/blocks\",status=\"201\"} 1",
    ] {
        assert!(metrics.lines().any(|there| there == line), "{line} in {metrics}");
    }
}

#[test]
fn sigterm_ends_it_in_good_order_and_data_stays() {
    let mut service = Service::start("stop");
    let client = Client::new(&service.url).unwrap();
    assert_eq!(
        client
            .post("/blocks", &json!({"id": "kept", "text": "x"}))
            .unwrap()
            .status,
        201
    );
    let killed = Command::new("kill")
        .args(["-TERM", &service.process.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(service.process.wait().unwrap().success());
    let lines: Vec<String> = service.lines.by_ref().map(Result::unwrap).collect();
    assert!(lines.iter().any(|line| line.contains("stopping")), "{lines:?}");
    let file = std::fs::read_to_string(service.folder.join("blocks.jsonl")).unwrap();
    assert!(file.contains("\"kept\""));
}

/// The body of the next request that `listener` gets, its head in lower case before it.
fn receive(listener: &TcpListener) -> (String, Value) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 4_096];
        let read = stream.read(&mut more).unwrap();
        assert!(read > 0, "the request ended early");
        bytes.extend_from_slice(&more[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if let Ok(json) = serde_json::from_str(body) {
            let head = head.to_lowercase();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .unwrap();
            return (head, json);
        }
    }
}

#[test]
fn spans_go_out_by_otlp_and_go_on_with_the_trace() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = Service::start_with(
        "otlp",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.version=r1"),
        ],
    );
    let address = service.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    write!(
        stream,
        "GET /search?q=two+words HTTP/1.1\r\nhost: x\r\ntraceparent: 00-{trace}-{parent}-01\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let (head, body) = receive(&listener);
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer abc"), "{head}");
    let batch = &body["resourceSpans"][0];
    let resource = batch["resource"]["attributes"].to_string();
    assert!(
        resource.contains("service.name") && resource.contains("service.version"),
        "{resource}"
    );
    let spans = batch["scopeSpans"][0]["spans"].as_array().unwrap();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let root = named("GET /search");
    assert!(spans.iter().all(|span| span["traceId"] == trace), "{spans:?}");
    assert_eq!(
        (&root["parentSpanId"], &root["kind"]),
        (&json!(parent), &json!(2))
    );
    assert_eq!(named("blocks.search")["parentSpanId"], root["spanId"]);
    assert_eq!(
        named("storage.read")["parentSpanId"],
        named("blocks.search")["spanId"]
    );
}
