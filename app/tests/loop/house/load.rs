//! Users: keep-alive connections that ask at a steady rate and count for themselves.
//!
//! The client is strict on purpose: it never asks twice, so a connection that the proxy closes on it counts
//! as a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
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
    /// Users who had the service's flag on in any answer.
    pub(crate) on: BTreeSet<u32>,
    /// Users who had it off.
    pub(crate) off: BTreeSet<u32>,
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
        Load::of_people(address, rate, path, 0)
    }

    /// The same by so many people, who take turns and say who they are in `x-user`.
    pub(crate) fn of_people(address: SocketAddr, rate: u32, path: &'static str, people: u32) -> Load {
        let turn = Arc::new(AtomicU32::new(0));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * CONNECTIONS / rate;
        let users = (0..CONNECTIONS)
            .map(|number| {
                let user = User {
                    address,
                    path,
                    people,
                    turn: Arc::clone(&turn),
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

    /// Begins anew with who has the flag on; says what was seen until now.
    pub(crate) fn forget_flag(&self) -> Seen {
        let mut seen = self.seen.lock().unwrap();
        let before = seen.clone();
        seen.on.clear();
        seen.off.clear();
        before
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
    people: u32,
    turn: Arc<AtomicU32>,
    seen: Arc<Mutex<Seen>>,
}

struct Answer {
    status: u16,
    release: String,
    /// Who asked, and whether he had the flag on, when either is told.
    flag: Option<(u32, bool)>,
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
            if let Ok(Answer {
                flag: Some((person, on)),
                ..
            }) = &answer
            {
                let side = if *on { &mut seen.on } else { &mut seen.off };
                side.insert(*person);
            }
            match answer {
                Ok(answer) if answer.status < 500 => {
                    seen.good += 1;
                    *seen.by_release.entry(answer.release).or_default() += 1;
                }
                Ok(answer) => seen.failures.push(match answer.flag {
                    Some((_, true)) => format!("{} by {:?} with the flag on", answer.status, answer.release),
                    _ => format!("{} by {:?}", answer.status, answer.release),
                }),
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
        let person = self.turn.fetch_add(1, Relaxed).checked_rem(self.people);
        let who = person.map_or_else(String::new, |person| format!("x-user: user-{person}\r\n"));
        let request = format!("GET {} HTTP/1.1\r\nhost: notes.example\r\n{who}\r\n", self.path);
        stream.get_mut().write_all(request.as_bytes()).await?;
        let first = line(stream).await?;
        let mut answer = Answer {
            status: first
                .split(' ')
                .nth(1)
                .and_then(|word| word.parse().ok())
                .unwrap_or(599),
            release: String::new(),
            flag: None,
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
                "x-flag" => answer.flag = person.map(|person| (person, value.trim() == "on")),
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
