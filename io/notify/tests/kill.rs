//! A message that was taken is delivered, though the process that took it is killed.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderMap;
use trimtab_model::Severity;
use trimtab_notify::{Channel, Message, Outbox, Receivers, Schedule, Secret, Status, Webhook};

const CHILD_OUTBOX: &str = "TRIMTAB_TEST_OUTBOX";
const CHILD_URL: &str = "TRIMTAB_TEST_URL";

async fn open(path: &str, url: &str) -> Outbox {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let webhook = Some(Webhook {
        url: url.to_owned(),
        secret: Secret::new("hush"),
    });
    let schedule = Schedule {
        pause_min: Duration::from_millis(20),
        pause_max: Duration::from_millis(100),
        ..Schedule::default()
    };
    Outbox::open_with(
        path,
        Receivers {
            webhook,
            ..Receivers::default()
        },
        schedule,
    )
    .await
    .unwrap()
}

#[test]
#[ignore = "the child of soak_kill_nine_loses_no_message"]
fn child_enqueues_until_killed() {
    let (Ok(path), Ok(url)) = (std::env::var(CHILD_OUTBOX), std::env::var(CHILD_URL)) else {
        return;
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let outbox = open(&path, &url).await;
            for n in 0.. {
                let key = format!("{}-{n}", std::process::id());
                let message = Message {
                    key: key.clone(),
                    channel: Channel::Webhook,
                    severity: Severity::High,
                    title: "title".to_owned(),
                    body: "body".to_owned(),
                    link: None,
                    fields: vec![],
                };
                outbox.enqueue(message).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "\ntaken {key}").unwrap();
                out.flush().unwrap();
            }
        });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_kill_nine_loses_no_message() {
    let rounds: u64 = std::env::var("TRIMTAB_SOAK_ROUNDS").map_or(4, |text| text.parse().unwrap());
    let received: Arc<Mutex<HashSet<String>>> = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let sink = Arc::clone(&received);
    let router = Router::new().fallback(move |headers: HeaderMap| async move {
        sink.lock()
            .unwrap()
            .insert(headers["x-trimtab-delivery"].to_str().unwrap().to_owned());
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db").to_str().unwrap().to_owned();
    let mut taken = HashSet::new();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "child_enqueues_until_killed",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_OUTBOX, &path)
            .env(CHILD_URL, &url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut left = 5 + round * 7 % 30;
        let mut line = String::new();
        loop {
            line.clear();
            if lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            if let Some(key) = line.strip_prefix("taken ").and_then(|key| key.strip_suffix('\n')) {
                taken.insert(key.to_owned());
                left = left.saturating_sub(1);
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
    }
    let outbox = open(&path, &url).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while outbox.counts().await.unwrap().waiting > 0 {
        assert!(Instant::now() < deadline, "{:?}", outbox.counts().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all = outbox.deliveries(1_000).await.unwrap();
    assert!(
        all.iter().all(|delivery| delivery.status == Status::Delivered),
        "{all:?}"
    );
    let received = received.lock().unwrap();
    let lost: Vec<_> = taken.difference(&received).collect();
    assert!(
        lost.is_empty(),
        "{lost:?} of {} were taken and never arrived",
        taken.len()
    );
}
