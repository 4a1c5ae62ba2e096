//! Worker processes: started, told what to do, waited for.

use std::cell::RefCell;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use super::HolderError;
use super::sockets::Sockets;
use crate::ProxyConfig;
use crate::handoff::{self, Order, Word};
use crate::link::Link;
use crate::protocol::{self, Request, control_socket};

/// A worker that says nothing for so long will not.
const WORD_TIMEOUT: Duration = Duration::from_secs(15);
/// A worker that does not end within its drain limit and this is killed.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// A worker process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pid: u32,
    pub(super) link: Link,
    pub(super) started: Instant,
    /// None for an adopted one, which is not a child of this process.
    child: Option<Child>,
}

/// Asks the worker of a holder that died for its sockets; it stays the worker.
pub(super) async fn adopt(dir: &Path) -> Option<(Sockets, Worker)> {
    let mut stream = UnixStream::connect(control_socket(dir)).await.ok()?;
    protocol::send(&mut stream, &Request::Surrender).await.ok()?;
    let received = tokio::time::timeout(WORD_TIMEOUT, async {
        loop {
            stream.readable().await?;
            match stream.try_io(tokio::io::Interest::READABLE, || handoff::receive(&stream)) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    });
    let (handed, sockets) = received.await.ok()?.ok()?;
    let worker = Worker {
        pid: handed.draining_pids.first().copied().unwrap_or(0),
        link: Link::new(stream),
        started: Instant::now(),
        child: None,
    };
    Some((Sockets::from_handed(&handed, sockets)?, worker))
}

impl Worker {
    /// Starts a worker and waits until it is ready to lead.
    pub(super) async fn prepare(
        config: &ProxyConfig,
        program: &Path,
        sockets: &Sockets,
        draining: &[u32],
    ) -> Result<Self, HolderError> {
        let fail = |reason: String| HolderError::Worker {
            program: program.to_owned(),
            reason,
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let child = Command::new(program)
            .args(&config.arguments)
            .arg("worker")
            .arg(&config.dir)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| fail(error.to_string()))?;
        let handed = handoff::send(&ours, &sockets.handed(draining), &sockets.borrowed());
        ours.set_nonblocking(true)?;
        let mut worker = Worker {
            pid: child.id(),
            link: Link::new(UnixStream::from_std(ours)?),
            started: Instant::now(),
            child: Some(child),
        };
        if let Err(error) = handed {
            worker.reap();
            return Err(fail(format!("it took no sockets: {error}")));
        }
        worker.expect(Word::Prepared, program).await?;
        Ok(worker)
    }

    /// Lets it lead; returns when it accepts.
    pub(super) async fn lead(&mut self, program: &Path) -> Result<(), HolderError> {
        self.say(Order::Lead).await;
        self.expect(Word::Leading, program).await
    }

    async fn say(&mut self, order: Order) {
        if let Err(error) = self.link.say(order.line()).await {
            // The end of the link tells the rest.
            tracing::warn!(%error, pid = self.pid, "failed to speak to a worker");
        }
    }

    async fn expect(&mut self, word: Word, program: &Path) -> Result<(), HolderError> {
        let reason = match tokio::time::timeout(WORD_TIMEOUT, self.link.hear()).await {
            Ok(Some(line)) if Word::parse(&line) == Some(word) => return Ok(()),
            Ok(Some(line)) => format!("it said {line:?} instead of {:?}", word.line()),
            Ok(None) => format!(
                "it ended before it said {:?}; its reason is in proxy.log",
                word.line()
            ),
            Err(_) => format!("it did not say {:?} within {WORD_TIMEOUT:?}", word.line()),
        };
        self.reap();
        Err(HolderError::Worker {
            program: program.to_owned(),
            reason,
        })
    }

    /// Tells it to give up the lead and waits until it has, or kills it: two must never lead.
    pub(super) async fn give_up(&mut self, order: Order) {
        self.say(order).await;
        let yielded = tokio::time::timeout(WORD_TIMEOUT, self.link.hear()).await;
        if !matches!(yielded, Ok(Some(line)) if Word::parse(&line) == Some(Word::Yielded)) {
            tracing::error!(pid = self.pid, "a worker did not give up the lead: killing it");
            self.reap();
        }
    }

    /// Makes sure that it is gone.
    pub(super) fn reap(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it is gone already.
            let _gone = child.kill();
            let _status = child.wait();
        } else if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(self.pid).unwrap_or(0)) {
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Waits beside everything else until it has drained.
    pub(super) fn drain(mut self, limit: Duration, draining: Rc<RefCell<Vec<u32>>>) {
        let pid = self.pid;
        draining.borrow_mut().push(pid);
        tokio::task::spawn_local(async move {
            self.wait(limit + KILL_AFTER).await;
            draining.borrow_mut().retain(|other| *other != pid);
        });
    }

    /// Tells it to stop and waits until it has.
    pub(super) async fn stop(&mut self, limit: Duration) {
        self.say(Order::Stop).await;
        self.wait(limit).await;
    }

    /// Waits for its end, at most `limit`.
    async fn wait(&mut self, limit: Duration) {
        let ended = tokio::time::timeout(limit, async { while self.link.hear().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::error!(pid = self.pid, "a worker did not end in time: killing it");
        } else if let Some(child) = &mut self.child {
            // The link closes a moment before the process is gone.
            let until = Instant::now() + Duration::from_secs(1);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        self.reap();
    }
}
