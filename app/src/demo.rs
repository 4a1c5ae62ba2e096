//! The whole story on one machine: a good release goes live, a bad one is caught and taken back.

mod chapter;
mod figures;
mod mailbox;
mod outcome;
mod place;
mod progress;
mod receivers;
mod repository;
mod story;
mod traffic;
mod way;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::commands::client::{Client, read_token};
use outcome::Ending;
use place::Place;
use progress::Progress;
pub(crate) use way::Way;

/// Longest wait for the server's first answer.
const START: Duration = Duration::from_secs(30);
/// Longest wait for everything to stop.
const STOP: Duration = Duration::from_secs(30);
/// Lines of the server's log that are shown when it does not start.
const LOG_LINES: usize = 5;

/// Plays the story. With `exit`, stops everything at the end; without, it serves until Ctrl-C. Returns whether
/// the bad release was rolled back while the good one serves. With `json`, its figures are all that goes to
/// standard output.
///
/// # Errors
/// When it cannot be played: no checkout, no git, the server does not start.
pub(crate) async fn run(exit: bool, way: Way, dir: Option<PathBuf>, json: bool) -> Result<bool> {
    repository::check().await?;
    let mut progress = Progress::new(json);
    let received = receivers::Received::default();
    let inboxes = receivers::start(&received).await?;
    let place = Place::make(dir, way, &inboxes).await?;
    let mut server = Server::start(&place)?;
    let mut good = false;
    let mut terminate = signal(SignalKind::terminate())?;
    let told = tokio::select! {
        told = play(&place, &received, &mut server, &mut progress, &mut good, Ask { exit, json }) => told,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    progress.line("\nstopping the server, its proxy and every instance");
    server.stop().await;
    if told.is_err() {
        progress.line(&format!("what it wrote is kept in {}", place.root.display()));
    } else {
        place.leave();
    }
    told.map(|()| good)
}

#[derive(Clone, Copy)]
struct Ask {
    exit: bool,
    json: bool,
}

async fn play(
    place: &Place,
    received: &receivers::Received,
    server: &mut Server,
    progress: &mut Progress,
    good: &mut bool,
    ask: Ask,
) -> Result<()> {
    let client = server.answers(place).await?;
    for line in [
        "A small service is built from git, tested, shipped and watched; then comes a release with a fault.",
        "",
        &format!("  dashboard    {}", place.url()),
        &format!(
            "  sign in      {} (once, within 15 minutes)",
            server.link(place).await
        ),
        &format!("  users' port  {}", place.traffic),
        &format!("  data folder  {}", place.data.display()),
    ] {
        progress.line(line);
    }
    let ending = tokio::select! {
        told = story::tell(place, &client, received, progress) => told?,
        status = server.child.wait() => bail!("{}", ended(place, &status?.to_string())),
    };
    *good = ending.good;
    if ask.json {
        println!("{}", serde_json::to_string_pretty(&ending.figures)?);
    }
    if !ask.exit {
        stay(place, progress, &ending)?;
        let status = server.child.wait().await?;
        bail!("{}", ended(place, &status.to_string()));
    }
    Ok(())
}

fn stay(place: &Place, progress: &mut Progress, ending: &Ending) -> Result<()> {
    let program = std::env::current_exe()?;
    let program = program.display();
    progress.title("Everything keeps running until Ctrl-C. Look around:");
    if let Some(incident) = &ending.incident {
        progress.line(&format!("  {}/incidents/{incident}", place.url()));
    }
    progress.line(&format!(
        "  export TRIMTAB_URL={} TRIMTAB_DATA={}",
        place.url(),
        place.data.display()
    ));
    progress.line(&format!("  {program} status"));
    if let Some(incident) = &ending.incident {
        progress.line(&format!("  {program} explain {incident}"));
        progress.line(&format!("  {program} postmortem {incident}"));
    }
    Ok(())
}

/// Why the server is gone, with the end of its log.
fn ended(place: &Place, status: &str) -> String {
    let log = std::fs::read_to_string(place.log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines
        .get(lines.len().saturating_sub(LOG_LINES)..)
        .unwrap_or_default();
    format!(
        "failed to keep the server running: it ended with {status}\n{}\n  the whole log: {}",
        last.join("\n"),
        place.log().display()
    )
}

/// `trimtab serve`, told to end with everything that it starts.
struct Server {
    child: Child,
    /// Held open: when this process dies, however it does, the server sees its end and stops everything.
    _life: Option<ChildStdin>,
    link: watch::Receiver<Option<String>>,
}

impl Server {
    fn start(place: &Place) -> Result<Self> {
        let log = std::fs::File::create(place.log())?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--data")
            .arg(&place.data)
            .arg("--config")
            .arg(place.data.join("trimtab-server.yaml"))
            .env("TRIMTAB_EPHEMERAL", "stdin")
            // Ctrl-C reaches the whole group of a terminal; the server is stopped in order instead.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("failed to start `trimtab serve`")?;
        let (tell, link) = watch::channel(None);
        if let Some(out) = child.stdout.take() {
            tokio::spawn(async move {
                let mut lines = BufReader::new(out).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    // The link is for the person at this terminal, and for no log.
                    if let Some(at) = line.find("http").filter(|_| line.contains("/login?code=")) {
                        tell.send_replace(line.get(at..).map(str::to_owned));
                    }
                }
            });
        }
        Ok(Server {
            _life: child.stdin.take(),
            child,
            link,
        })
    }

    /// The one-time link, or how else to sign in.
    async fn link(&self, place: &Place) -> String {
        let mut link = self.link.clone();
        let told = tokio::time::timeout(Duration::from_secs(5), link.wait_for(Option::is_some)).await;
        match told {
            Ok(Ok(link)) => link.clone().unwrap_or_default(),
            _ => format!(
                "with the token in {}",
                place.data.join("keys/admin.token").display()
            ),
        }
    }

    async fn answers(&mut self, place: &Place) -> Result<Client> {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{}", ended(place, &status.to_string()));
            }
            if let Some(token) = read_token(&place.data) {
                let client = Client::new(&place.url(), Some(token))?;
                if client.get("/api/v1/health").await.is_ok() {
                    return Ok(client);
                }
            }
            if begun.elapsed() > START {
                bail!(
                    "failed to reach the server within {} s\n  see {}",
                    START.as_secs(),
                    place.log().display()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// SIGTERM, so that the server stops its proxy and instances; it was asked to be ephemeral.
    async fn stop(&mut self) {
        let id = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = id {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            eprintln!(
                "trimtab: the server did not stop within {} s and is killed",
                STOP.as_secs()
            );
            let _ = self.child.kill().await;
        }
    }
}
