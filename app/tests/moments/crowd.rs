//! Users of every kind, who count for themselves and share no code with the proxy: kept connections, a new one
//! for each request, HTTP/2 streams, WebSockets, event streams, slow uploads and downloads.
//!
//! They are strict: nothing is asked twice, so whatever the proxy cuts is a failure. What the proxy's manual
//! promises is none: a WebSocket closed with 1001, an event stream that ends with its last chunk.

mod bodies;
mod events;
mod requests;
mod sockets;
mod streams;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// Longest wait for an answer, or for the next piece of one.
const PATIENCE: Duration = Duration::from_secs(20);

/// A note: idle connections that were closed without a word. No planned change does this.
pub(crate) const IDLE_CLOSED: &str = "idle connections closed without notice";

/// What users saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// What went well, by kind.
    pub(crate) good: BTreeMap<&'static str, u64>,
    /// What did not.
    pub(crate) failures: Vec<Failure>,
    /// Ends that are promised, and messages on their way then: no failures.
    pub(crate) notes: BTreeMap<&'static str, u64>,
    /// Good answers by the release that gave them.
    pub(crate) by_release: BTreeMap<String, u64>,
}

/// Something that did not go well; times are seconds since the beginning.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) began: f64,
    pub(crate) at: f64,
    pub(crate) kind: &'static str,
    pub(crate) what: String,
}

impl Tally {
    /// Everything that was asked.
    pub(crate) fn asked(&self) -> u64 {
        self.good.values().sum::<u64>() + self.failures.len() as u64
    }
}

/// What the members of a crowd share.
pub(crate) struct Square {
    to: SocketAddr,
    stop: AtomicBool,
    began: Instant,
    tally: Mutex<Tally>,
    in_flight: AtomicUsize,
}

impl Square {
    fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap()
    }

    fn good(&self, kind: &'static str, release: &str) {
        let mut tally = self.tally();
        *tally.good.entry(kind).or_default() += 1;
        *tally.by_release.entry(release.to_owned()).or_default() += 1;
    }

    fn note(&self, what: &'static str, count: u64) {
        *self.tally().notes.entry(what).or_default() += count;
    }

    fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight {
            square: Arc::clone(self),
            began: self.began.elapsed().as_secs_f64(),
        }
    }
}

/// Something under way, until it is dropped.
struct InFlight {
    square: Arc<Square>,
    began: f64,
}

impl InFlight {
    fn failed(&self, kind: &'static str, what: String) {
        let failure = Failure {
            began: self.began,
            at: self.square.began.elapsed().as_secs_f64(),
            kind,
            what,
        };
        self.square.tally().failures.push(failure);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.square.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Users at work.
pub(crate) struct Crowd {
    square: Arc<Square>,
    members: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Most things that are under way at once.
    pub(crate) const IN_FLIGHT_MAX: usize = 21;

    /// About 120 requests a second, and what lasts besides.
    pub(crate) fn start(to: SocketAddr) -> Crowd {
        let square = Arc::new(Square {
            to,
            stop: AtomicBool::new(false),
            began: Instant::now(),
            tally: Mutex::new(Tally::default()),
            in_flight: AtomicUsize::new(0),
        });
        let mut members = Vec::new();
        for number in 0..4 {
            members.push(tokio::spawn(requests::keep_alive(Arc::clone(&square), number)));
        }
        for number in 0..3 {
            members.push(tokio::spawn(requests::new_connections(
                Arc::clone(&square),
                number,
            )));
        }
        let shared = Arc::default();
        for number in 0..4 {
            members.push(tokio::spawn(streams::http2(
                Arc::clone(&square),
                Arc::clone(&shared),
                number,
            )));
        }
        for _ in 0..3 {
            members.push(tokio::spawn(sockets::web_socket(Arc::clone(&square))));
            members.push(tokio::spawn(events::event_stream(Arc::clone(&square))));
        }
        for number in 0..2 {
            members.push(tokio::spawn(bodies::upload(Arc::clone(&square), number)));
            members.push(tokio::spawn(bodies::download(Arc::clone(&square))));
        }
        assert_eq!(members.len(), Crowd::IN_FLIGHT_MAX);
        Crowd { square, members }
    }

    /// What was seen so far.
    pub(crate) fn tally(&self) -> Tally {
        self.square.tally().clone()
    }

    /// What is under way now.
    pub(crate) fn in_flight(&self) -> usize {
        self.square.in_flight.load(Relaxed)
    }

    /// Waits for what is under way.
    pub(crate) async fn stop(self) -> Tally {
        self.square.stop.store(true, Relaxed);
        for member in self.members {
            member.await.unwrap();
        }
        self.square.tally().clone()
    }
}

/// Waits for something, at most as long as people do.
async fn in_time<T, E: std::fmt::Display>(
    what: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: nothing for {} s", PATIENCE.as_secs())),
    }
}
