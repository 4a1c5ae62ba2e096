//! Users: keep-alive connections that ask at a steady rate and count for themselves.
//!
//! The client is strict on purpose: it never asks twice, so a connection that the proxy closes on it counts
//! as a failure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const CONNECTIONS: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(20);

/// What users saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Good answers.
    pub(crate) good: u64,
    /// Bad ones: what and when.
    pub(crate) failures: Vec<String>,
    /// Good answers by the release that gave them.
    pub(crate) by_release: BTreeMap<String, u64>,
}

/// Users at work.
pub(crate) struct Load {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    users: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// How many users there are, each with one request under way at most.
    pub(crate) const CONNECTIONS: usize = CONNECTIONS as usize;

    /// So many requests a second to a path, until stopped.
    pub(crate) fn start(address: SocketAddr, rate: u32, path: &'static str) -> Load {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * CONNECTIONS / rate;
        let users = (0..CONNECTIONS)
            .map(|number| {
                let user = User {
                    address,
                    path,
                    seen: Arc::clone(&seen),
                };
                let stop = Arc::clone(&stop);
                tokio::spawn(async move {
                    tokio::time::sleep(pause * number / CONNECTIONS).await;
                    user.ask_on(pause, &stop).await;
                })
            })
            .collect();
        Load { seen, stop, users }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits for the answers that are under way.
    pub(crate) async fn stop(self) -> Seen {
        self.stop.store(true, Relaxed);
        for user in self.users {
            user.await.unwrap();
        }
        self.seen.lock().unwrap().clone()
    }
}

struct User {
    address: SocketAddr,
    path: &'static str,
    seen: Arc<Mutex<Seen>>,
}

struct Answer {
    status: u16,
    release: String,
    close: bool,
}

impl User {
    async fn ask_on(&self, pause: Duration, stop: &AtomicBool) {
        let mut connection = None;
        let mut tick = tokio::time::interval(pause);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Relaxed) {
            tick.tick().await;
            let fresh = connection.is_none();
            let answer = match tokio::time::timeout(PATIENCE, self.ask(&mut connection)).await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(_) => Err("no answer".to_owned()),
            };
            if answer.as_ref().map_or(true, |answer| answer.close) {
                connection = None;
            }
            let mut seen = self.seen.lock().unwrap();
            match answer {
                Ok(answer) if answer.status < 500 => {
                    seen.good += 1;
                    *seen.by_release.entry(answer.release).or_default() += 1;
                }
                Ok(answer) => seen
                    .failures
                    .push(format!("{} by {:?}", answer.status, answer.release)),
                Err(error) => {
                    let kind = if fresh { "new" } else { "used" };
                    seen.failures.push(format!("{error} on a {kind} connection"));
                }
            }
        }
    }

    async fn ask(&self, connection: &mut Option<BufReader<TcpStream>>) -> std::io::Result<Answer> {
        let stream = match connection {
            Some(stream) => stream,
            None => connection.insert(BufReader::new(TcpStream::connect(self.address).await?)),
        };
        let request = format!("GET {} HTTP/1.1\r\nhost: notes.example\r\n\r\n", self.path);
        stream.get_mut().write_all(request.as_bytes()).await?;
        let first = line(stream).await?;
        let mut answer = Answer {
            status: first
                .split(' ')
                .nth(1)
                .and_then(|word| word.parse().ok())
                .unwrap_or(599),
            release: String::new(),
            close: false,
        };
        let mut length = 0;
        loop {
            let field = line(stream).await?;
            let Some((name, value)) = field.split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "connection" => answer.close = value.trim().eq_ignore_ascii_case("close"),
                "x-release" => value.trim().clone_into(&mut answer.release),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(answer)
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_owned())
}
