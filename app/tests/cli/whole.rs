//! The whole program as a newcomer starts it: what goes wrong at the start, and nothing left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::server::{PATIENCE, command, finish};

/// Processes that were started with a folder in their words, or work beneath it.
fn processes(root: &Path) -> Vec<String> {
    let here = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let works = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let there = words.contains(root.to_str().unwrap()) || works.starts_with(root);
        if there && !words.is_empty() && entry.file_name().to_str() != Some(here.as_str()) {
            found.push(words);
        }
    }
    found
}

async fn nothing_runs(root: &Path) {
    let begun = Instant::now();
    loop {
        let left = processes(root);
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "still running: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn tell(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<_> = (0..N)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    std::array::from_fn(|n| held[n].local_addr().unwrap().port())
}

fn configuration(ports: [u16; 4], repository: &Path) -> String {
    let [listen, grpc, http, traffic] = ports;
    format!(
        "listen: 127.0.0.1:{listen}\notlp_grpc: 127.0.0.1:{grpc}\notlp_http: 127.0.0.1:{http}\n\
         traffic: 127.0.0.1:{traffic}\nrepositories:\n  - {{service: shop, path: {repository:?}, branch: main}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_leaves_nothing_running_however_it_is_ended() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("demo");
        let mut demo = command(&["demo", "--dir", root.to_str().unwrap()]);
        let mut demo = demo.current_dir(env!("CARGO_MANIFEST_DIR")).spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        // A step is under way then: it has to go, too.
        let begun = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("install") {
                    return;
                }
            }
            panic!("the demo ended before its first step");
        };
        timeout(PATIENCE, begun).await.expect("the first step ends");
        assert!(!processes(&root).is_empty());
        tell(&demo, signal);
        let status = timeout(PATIENCE, demo.wait())
            .await
            .expect("the demo ends")
            .unwrap();
        assert!(!status.success(), "{signal:?}: the story was not told to its end");
        nothing_runs(&root).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let mut outside = command(&["demo", "--exit", "--dir", path]);
    outside.current_dir("/");
    let said = finish(outside).await;
    assert_eq!(said.status, 1);
    assert!(said.err.contains("inside a checkout of Trimtab"), "{}", said.err);

    let mut poor = command(&["demo", "--exit", "--dir", path]);
    poor.current_dir(env!("CARGO_MANIFEST_DIR")).env("PATH", path);
    let said = finish(poor).await;
    assert_eq!(said.status, 1);
    assert!(said.err.contains("apt-get install git"), "{}", said.err);

    std::fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let mut full = command(&["demo", "--exit", "--dir", path]);
    full.current_dir(env!("CARGO_MANIFEST_DIR"));
    let said = finish(full).await;
    assert_eq!(said.status, 1);
    assert!(
        said.err.contains("holds thesis.txt, which no demo made"),
        "{}",
        said.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_its_setting() {
    for (taken, setting) in ["listen", "otlp_grpc", "otlp_http", "traffic"]
        .into_iter()
        .enumerate()
    {
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports::<4>();
        let _other = std::net::TcpListener::bind(("127.0.0.1", ports[taken])).unwrap();
        let file = dir.path().join("server.yaml");
        std::fs::write(&file, configuration(ports, dir.path())).unwrap();
        let data = dir.path().join("data");
        let words = [
            "serve",
            "--data",
            data.to_str().unwrap(),
            "--config",
            file.to_str().unwrap(),
        ];
        let said = finish(command(&words)).await;
        assert_eq!(said.status, 1, "{setting}: {said:?}");
        let port = ports[taken].to_string();
        for text in [port.as_str(), setting, "trimtab-server.yaml"] {
            assert!(said.err.contains(text), "{setting} says {text:?}: {}", said.err);
        }
        nothing_runs(dir.path()).await;
    }
}
