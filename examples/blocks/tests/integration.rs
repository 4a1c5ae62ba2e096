//! The service as its users see it: a real process on a free port, over real HTTP.

use std::io::{BufRead, BufReader};
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
        let folder = std::env::temp_dir().join(format!("blocks-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let mut process = Command::new(env!("CARGO_BIN_EXE_blocks"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PORT", "0")
            .env("DATA", &folder)
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
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
