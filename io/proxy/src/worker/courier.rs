//! A draining worker's counts on their way into the frames of the worker that leads.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use super::lead::Lead;
use crate::protocol::{self, Batch, Reply, Request, control_socket};

/// A leader that answers no delivery within this is asked again on a new connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the last delivery is tried.
const FINISH_FOR: Duration = Duration::from_secs(5);

/// Delivers batches one after the other, each once.
pub(super) struct Courier {
    socket: PathBuf,
    stream: Option<UnixStream>,
    number: u64,
    unsent: Option<Batch>,
}

impl Courier {
    pub(super) fn new(dir: &Path) -> Self {
        Courier {
            socket: control_socket(dir),
            stream: None,
            number: 0,
            unsent: None,
        }
    }

    /// Delivers what is pending; what fails stays for the next time.
    pub(super) async fn deliver(&mut self, lead: &Lead) -> bool {
        let batch = match self.unsent.take() {
            Some(batch) => batch,
            None => {
                self.number += 1;
                lead.take_batch()
            }
        };
        let request = Request::Deliver {
            pid: std::process::id(),
            number: self.number,
            batch,
        };
        let sent = match tokio::time::timeout(ANSWER_TIMEOUT, self.send(&request)).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if sent.is_err() {
            self.stream = None;
            if let Request::Deliver { batch, .. } = request {
                self.unsent = Some(batch);
            }
        }
        sent.is_ok()
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(UnixStream::connect(&self.socket).await?),
        };
        protocol::send(stream, request).await?;
        match protocol::receive(stream).await? {
            Reply::Done => Ok(()),
            _ => Err(io::Error::other("the delivery was refused")),
        }
    }

    /// Delivers the last counts before the process ends.
    pub(super) async fn finish(&mut self, lead: &Lead) {
        let until = Instant::now() + FINISH_FOR;
        lead.gather().await;
        // What failed before, then what came since.
        let mut left = if self.unsent.is_some() { 2 } else { 1 };
        while left > 0 && Instant::now() < until {
            if self.deliver(lead).await {
                left -= 1;
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        if left > 0 {
            tracing::error!("failed to deliver the last counts: no worker leads");
        }
    }
}
