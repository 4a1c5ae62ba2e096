//! What goes on until it ends: a rollout watched, log lines followed.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;
use trimtab_api as api;

use crate::server::{PATIENCE, Server};

async fn line_with(lines: &mut tokio::io::Lines<BufReader<ChildStdout>>, text: &str) -> String {
    let found = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("more lines");
            if line.contains(text) {
                return line;
            }
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("a line with {text:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_rollout_is_told_in_lines_until_it_ends() {
    let server = Server::start(false).await;
    // A run stands for its newest rollout; without a name it is the newest under way.
    for words in [&["watch", "run-3"][..], &["watch"]] {
        let mut child = server.command("viewer", words).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = line_with(&mut lines, "rollout-4").await;
        assert!(first.contains("95.0 % to blocks-r3"), "{first}");
        line_with(&mut lines, "baseline   blocks-r1  412 requests, 1 errors").await;
        line_with(&mut lines, "verdict    collecting: no regression so far").await;
    }
    let mut child = server.command("viewer", &["watch", "rollout-4"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    line_with(&mut lines, "verdict").await;
    server.demo.roll_back();
    line_with(&mut lines, "Rolled back: error rate 14.2 %").await;
    line_with(&mut lines, "next: trimtab").await;
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1), "the candidate does not serve");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_is_over_is_told_to_programs_as_one_line() {
    let server = Server::start(false).await;
    let said = server
        .run("viewer", &["watch", "rollout-3", "--output", "json"])
        .await;
    assert_eq!(said.status, 1, "{said:?}");
    let lines: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["state"], "rolled_back");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_followed_as_they_come() {
    let server = Server::start(false).await;
    for (extra, first) in [(&[][..], ' '), (&["--output", "json"], '{')] {
        let words = [&["logs", "--follow", "--limit", "1"][..], extra].concat();
        let mut child = server.command("viewer", &words).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..5 {
            let line = line_with(&mut lines, "").await;
            assert!(first == ' ' || line.starts_with(first), "{line}");
        }
    }
}

/// `script` (of bsdutils, part of every Debian) gives the program a terminal of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_live_view_draws_and_takes_keys_on_a_terminal() {
    let server = Server::start(false).await;
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} watch rollout-4", env!("CARGO_BIN_EXE_trimtab")))
        .arg("/dev/null")
        .env("TRIMTAB_URL", &server.url)
        .env("TRIMTAB_TOKEN", "operator")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut keys, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = String::new();
    let mut until = async |text: &str| {
        let found = async {
            let mut part = [0; 8192];
            while !seen.contains(text) {
                let length = shown.read(&mut part).await.unwrap();
                assert!(length > 0, "the view ended before {text:?}: {seen}");
                seen.push_str(&String::from_utf8_lossy(&part[..length]));
            }
        };
        timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("the view shows {text:?}"));
    };
    until("keys: p promote").await;
    keys.write_all(b"p").await.unwrap();
    until("promote rollout-4? y for yes").await;
    keys.write_all(b"y").await.unwrap();
    until("Accepted").await;
    let asked = server.demo.asked().pop().unwrap().command;
    assert!(matches!(asked, api::Command::Promote { .. }), "{asked:?}");
    server.demo.roll_back();
    // The terminal's first screen returns, with the end written on it.
    until("\x1b[?1049l").await;
    until("trimtab logs --release blocks-r3").await;
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
}
