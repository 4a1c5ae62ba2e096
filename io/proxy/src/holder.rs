//! The holder: keeps the listening sockets open and a worker running. Small, so that it need never
//! be restarted: whatever can go wrong with a request goes wrong in a worker.

mod sockets;
mod workers;

use std::cell::RefCell;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};

use crate::ProxyConfig;
use crate::handoff::Order;
use crate::protocol::{self, HolderReply, HolderRequest, HolderStatus, holder_socket};
use sockets::Sockets;
use workers::Worker;

/// A request on the holder's socket comes within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A worker that lived shorter than this is started again with a growing pause.
const SHORT_LIFE: Duration = Duration::from_secs(1);
const RESTART_PAUSE: Duration = Duration::from_millis(50);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// After so many short lives in a row, the program before the upgrade is tried again.
const SHORT_LIVES_MAX: u32 = 3;

/// Why a holder cannot run; each finishes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] crate::settings::ConfigError),
    /// Another holder runs in this folder.
    #[error("hold the sockets in {0}: another proxy runs there; stop it first, or adopt it")]
    Running(PathBuf),
    /// An address cannot be listened on.
    #[error("listen on {address}: {source}; stop what uses it, or choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The worker could not be started.
    #[error("start a worker from {program}: {reason}")]
    Worker {
        /// The program.
        program: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The system refused something.
    #[error("run the holder: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the holder in `dir`, where `config.json` must be. Returns after [`crate::ProxyClient::shutdown`].
pub fn main(dir: &Path) -> Result<(), HolderError> {
    let config = ProxyConfig::read(dir)?;
    // Away from the terminal and the group of whoever started it. Fails for a leader of a session
    // or group, which is on its own already.
    let _own = rustix::process::setsid();
    let lock = File::create(dir.join("holder.lock"))?;
    if lock.try_lock().is_err() {
        return Err(HolderError::Running(dir.to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let holder = Holder::start(config).await?;
        holder.run().await
    })
}

struct Holder {
    config: ProxyConfig,
    sockets: Sockets,
    requests: UnixListener,
    worker: Worker,
    program: PathBuf,
    /// The program before the last upgrade.
    program_before: Option<PathBuf>,
    restarts: u64,
    short_lives: u32,
    draining: Rc<RefCell<Vec<u32>>>,
}

impl Holder {
    async fn start(config: ProxyConfig) -> Result<Self, HolderError> {
        let draining = Rc::new(RefCell::new(Vec::new()));
        let program = config.program.clone();
        let (sockets, worker) = match workers::adopt(&config.dir).await {
            Some((sockets, worker)) => {
                tracing::info!(pid = worker.pid, "adopted the worker of a holder that died");
                (sockets, worker)
            }
            None => {
                let sockets = Sockets::bind(&config)?;
                let mut worker = Worker::prepare(&config, &program, &sockets, &[]).await?;
                worker.lead(&program).await?;
                (sockets, worker)
            }
        };
        let path = holder_socket(&config.dir);
        sockets::remove_stale(&path)?;
        Ok(Holder {
            requests: UnixListener::bind(&path)?,
            config,
            sockets,
            worker,
            program,
            program_before: None,
            restarts: 0,
            short_lives: 0,
            draining,
        })
    }

    async fn run(mut self) -> Result<(), HolderError> {
        loop {
            tokio::select! {
                line = self.worker.link.hear() => match line {
                    Some(line) => tracing::warn!(line, "the worker said something unasked"),
                    None => self.restart().await,
                },
                Ok((mut stream, _)) = self.requests.accept() => {
                    let request = tokio::time::timeout(REQUEST_TIMEOUT, protocol::receive(&mut stream)).await;
                    if let Ok(Ok(request)) = request {
                        if matches!(request, HolderRequest::Shutdown) {
                            return self.shut_down(stream).await;
                        }
                        let reply = self.reply(request).await;
                        // Who asked may have gone; what was asked is done.
                        let _gone = protocol::send(&mut stream, &reply).await;
                    }
                }
            }
        }
    }

    async fn reply(&mut self, request: HolderRequest) -> HolderReply {
        match request {
            HolderRequest::Status => HolderReply::Status {
                status: self.status(),
            },
            HolderRequest::Upgrade { program } => match self.upgrade(program).await {
                Ok(()) => HolderReply::Done,
                Err(error) => HolderReply::Failed {
                    what: error.to_string(),
                },
            },
            HolderRequest::Shutdown => HolderReply::Done,
        }
    }

    fn status(&self) -> HolderStatus {
        HolderStatus {
            pid: std::process::id(),
            worker_pid: self.worker.pid,
            draining_pids: self.draining.borrow().clone(),
            worker_restarts: self.restarts,
            listen: self.sockets.addresses(false),
            listen_tls: self.sockets.addresses(true),
        }
    }

    /// Starts a worker in the place of one that died, at once; connections wait in the queue.
    async fn restart(&mut self) {
        let lived = self.worker.started.elapsed();
        tracing::error!(pid = self.worker.pid, ?lived, "the worker died: starting another");
        self.worker.reap();
        self.restarts += 1;
        self.short_lives = if lived < SHORT_LIFE {
            self.short_lives + 1
        } else {
            0
        };
        loop {
            if self.short_lives > 0 {
                let pause = RESTART_PAUSE.saturating_mul(1 << self.short_lives.min(10));
                tokio::time::sleep(pause.min(RESTART_PAUSE_MAX)).await;
            }
            if self.short_lives >= SHORT_LIVES_MAX
                && let Some(before) = self.program_before.take()
            {
                tracing::error!(program = %before.display(), "going back to the program before the upgrade");
                self.program = before;
            }
            match self.start_worker().await {
                Ok(worker) => {
                    self.worker = worker;
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "failed to start a worker");
                    self.short_lives += 1;
                }
            }
        }
    }

    async fn start_worker(&self) -> Result<Worker, HolderError> {
        let draining = self.draining.borrow().clone();
        let mut worker = Worker::prepare(&self.config, &self.program, &self.sockets, &draining).await?;
        worker.lead(&self.program).await?;
        Ok(worker)
    }

    /// Prepares a worker from `program`; only when it is ready does the old one give up the lead.
    async fn upgrade(&mut self, program: PathBuf) -> Result<(), HolderError> {
        self.config = ProxyConfig::read(&self.config.dir)?;
        let mut draining = self.draining.borrow().clone();
        draining.push(self.worker.pid);
        let mut next = Worker::prepare(&self.config, &program, &self.sockets, &draining).await?;
        self.worker.give_up(Order::Yield).await;
        let led = next.lead(&program).await;
        let old = std::mem::replace(&mut self.worker, next);
        let limit = Duration::from_millis(self.config.limits.drain_ms);
        old.drain(limit, Rc::clone(&self.draining));
        self.short_lives = 0;
        match led {
            Ok(()) => {
                self.program_before = Some(std::mem::replace(&mut self.program, program));
                Ok(())
            }
            Err(error) => {
                // The program before serves again.
                self.worker.reap();
                self.restart().await;
                Err(error)
            }
        }
    }

    async fn shut_down(mut self, mut stream: UnixStream) -> Result<(), HolderError> {
        self.sockets.close();
        let limit = Duration::from_millis(self.config.limits.drain_ms) + Duration::from_secs(5);
        self.worker.stop(limit).await;
        let until = Instant::now() + limit;
        while !self.draining.borrow().is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for path in [
            holder_socket(&self.config.dir),
            protocol::control_socket(&self.config.dir),
        ] {
            // Left over, it would only be removed at the next start.
            let _kept = std::fs::remove_file(path);
        }
        let _gone = protocol::send(&mut stream, &HolderReply::Done).await;
        Ok(())
    }
}
