//! The whole story on one machine: a good release goes live, a bad one is caught and taken back.

mod place;
mod receivers;
mod story;
mod traffic;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::commands::client::{Client, read_token};
use place::Place;

/// Longest wait for the server's first answer.
const START: Duration = Duration::from_secs(30);
/// Longest wait for everything to stop.
const STOP: Duration = Duration::from_secs(20);

/// Plays the story. With `exit`, stops everything at the end and returns whether the bad release was rolled back
/// while the good one serves; without, it serves until Ctrl-C.
///
/// # Errors
/// When it cannot be played: no checkout, no git, the server does not start.
pub(crate) async fn run(exit: bool, dir: Option<PathBuf>) -> Result<bool> {
    let received = receivers::Received::default();
    let inbox = receivers::start(received.clone()).await?;
    let place = Place::make(dir, inbox).await?;
    println!("working in {}", place.root.display());
    let mut server = start(&place)?;
    let told = tokio::select! {
        told = play(&place, &received, &mut server, exit) => told,
        _ = tokio::signal::ctrl_c() => Ok(false),
    };
    stop(&mut server).await;
    told
}

async fn play(place: &Place, received: &receivers::Received, server: &mut Child, exit: bool) -> Result<bool> {
    let client = wait(place, server).await?;
    println!("dashboard: {}", place.url());
    let good = story::tell(place, &client, received).await?;
    if !exit {
        println!("everything keeps running; Ctrl-C stops it");
        server.wait().await?;
    }
    Ok(good)
}

fn start(place: &Place) -> Result<Child> {
    let log = std::fs::File::create(place.root.join("serve.log"))?;
    Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg("--data")
        .arg(&place.data)
        .arg("--config")
        .arg(place.data.join("trimtab-server.yaml"))
        .env("TRIMTAB_EPHEMERAL", "1")
        // Ctrl-C reaches the whole group of a terminal; the server is stopped in order instead.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("failed to start `trimtab serve`")
}

async fn wait(place: &Place, server: &mut Child) -> Result<Client> {
    let begun = std::time::Instant::now();
    loop {
        if let Some(status) = server.try_wait()? {
            let log = std::fs::read_to_string(place.root.join("serve.log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            bail!("failed to start the server: it ended with {status}: {last}");
        }
        if let Some(token) = read_token(&place.data) {
            let client = Client::new(&place.url(), Some(token))?;
            if client.get("/api/v1/health").await.is_ok() {
                return Ok(client);
            }
        }
        if begun.elapsed() > START {
            bail!(
                "failed to reach the server within {} s (see {})",
                START.as_secs(),
                place.root.join("serve.log").display()
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// SIGTERM, so that the server stops its proxy and instances; they were asked to be ephemeral.
async fn stop(server: &mut Child) {
    let id = server
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = id {
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(STOP, server.wait()).await.is_err() {
        eprintln!(
            "the server did not stop within {} s and is killed",
            STOP.as_secs()
        );
        let _ = server.kill().await;
    }
}
