//! The worker: one lane per core that serves, and a lead that speaks with holder and `serve`.

mod accept;
mod admit;
mod assets;
mod bridge;
mod challenge;
mod control;
mod corked;
mod courier;
mod draw;
mod ending;
mod endpoint;
mod exchange;
mod extended;
mod forward;
mod front_h1;
mod front_h2;
mod grpc;
mod h2_guard;
mod health;
mod health_h2;
mod lane;
mod lead;
mod limiter;
mod mirror;
mod operation;
mod outgoing;
mod page;
mod pass_h2;
mod pipe;
mod pool;
mod relay;
mod response_h1;
mod routes;
mod sample;
mod spool;
mod tally;
mod tls;
mod trace;
mod tunnel;
mod upstream;
mod upstream_h2;
mod websocket;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ProxyConfig;
use crate::handoff::{self, Handed, Order, Word};
use crate::link::Link;
use accept::Listeners;
use control::Surrender;
use courier::Courier;
use draw::LanePlace;
use lane::LaneConfig;
use lead::Lead;
use limiter::Limiters;
use tls::Certificates;

/// How often lanes hand over their counts; a frame covers no more than twice this.
const TICK: Duration = Duration::from_millis(100);

/// Why a worker cannot serve; each finishes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] crate::settings::ConfigError),
    /// A file of the proxy's folder cannot be used.
    #[error("read {path}: {reason}; mend it, or move it away to start without it")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate or key cannot be used.
    #[error("load TLS from {file}: {reason}")]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The holder did not hand over what it should.
    #[error("take the listening sockets from the holder: {0}; a worker is started by `holder`, not by hand")]
    Handoff(String),
    /// The system refused something.
    #[error("start the worker: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a worker: called in the process that the holder started with `worker DIR`. Returns when
/// the worker was replaced and has drained.
pub fn main(dir: &Path) -> Result<(), WorkerError> {
    let config = ProxyConfig::read(dir)?;
    let link = handoff::inherited()?;
    let (handed, sockets) =
        handoff::receive(&link).map_err(|error| WorkerError::Handoff(error.to_string()))?;
    if sockets.len() != 1 + handed.plain + handed.tls {
        return Err(WorkerError::Handoff(format!("{} sockets came", sockets.len())));
    }
    raise_descriptor_limit();
    let certificates = Certificates::load(&config)?;
    let lanes = start_lanes(&config, &handed, &sockets, certificates.as_ref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        link.set_nonblocking(true)?;
        let link = Link::new(UnixStream::from_std(link)?);
        let lead = Rc::new(Lead::new(config, lanes, &handed.draining_pids, certificates));
        run(lead, link, handed, sockets).await
    })
}

/// A proxy needs two descriptors per request under way: as many as the system grants.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}

fn start_lanes(
    config: &ProxyConfig,
    handed: &Handed,
    sockets: &[OwnedFd],
    certificates: Option<&Arc<Certificates>>,
) -> Result<Vec<mpsc::UnboundedSender<lane::Order>>, WorkerError> {
    let count = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    let lane_config = LaneConfig {
        limits: config.limits.clone(),
        trusted_peers: config.trusted_peers()?,
        connections_max: (config.limits.connections_max / count).max(1),
        place: LanePlace { number: 0, count },
        limiters: Limiters::default(),
        challenges: crate::protocol::challenges_dir(&config.dir),
    };
    let tls_config = certificates.map(Certificates::config).transpose()?;
    let mut lanes = Vec::new();
    for number in 0..count {
        let own = |from: usize, count: usize| -> std::io::Result<Vec<std::net::TcpListener>> {
            sockets[from..from + count]
                .iter()
                .map(|socket| Ok(socket.try_clone()?.into()))
                .collect()
        };
        let listeners = Listeners {
            plain: own(1, handed.plain)?,
            tls: own(1 + handed.plain, handed.tls)?,
            tls_config: tls_config.clone(),
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        let lane_config = LaneConfig {
            place: LanePlace { number, count },
            ..lane_config.clone()
        };
        let seed = fastrand::u64(..);
        std::thread::Builder::new()
            .name(format!("lane-{number}"))
            .spawn(move || {
                if let Err(error) = lane::run(lane_config, seed, listeners, inbox) {
                    tracing::error!(%error, "a lane failed: ending, to be started again");
                    std::process::exit(1);
                }
            })?;
        lanes.push(orders);
    }
    Ok(lanes)
}

async fn run(
    lead: Rc<Lead>,
    mut link: Link,
    handed: Handed,
    sockets: Vec<OwnedFd>,
) -> Result<(), WorkerError> {
    let (relink, mut relinked) = mpsc::unbounded_channel();
    let control = UnixListener::from_std({
        let socket = std::os::unix::net::UnixListener::from(sockets[0].try_clone()?);
        socket.set_nonblocking(true)?;
        socket
    })?;
    let surrender = Rc::new(Surrender {
        sockets,
        plain: handed.plain,
        tls: handed.tls,
        relink,
    });
    let mut control = Some(control);
    let mut leading: Option<Leading> = None;
    link.say(Word::Prepared.line()).await?;
    let mut is_linked = true;
    loop {
        let line = tokio::select! {
            line = link.hear(), if is_linked => line,
            Some(stream) = relinked.recv() => {
                tracing::info!("a new holder took the sockets");
                (link, is_linked) = (Link::new(stream), true);
                continue;
            }
        };
        match line.as_deref().map(Order::parse) {
            Some(Some(Order::Lead)) => {
                if let Some(control) = control.take() {
                    lead.take_lead().await?;
                    leading = Some(Leading::start(&lead, control, &surrender));
                }
                link.say(Word::Leading.line()).await?;
            }
            Some(Some(order @ (Order::Yield | Order::Stop))) => {
                return finish(&lead, leading, link, order == Order::Stop).await;
            }
            Some(None) => tracing::warn!(?line, "the holder said something unknown"),
            // Prepared for a holder that is gone.
            None if leading.is_none() => return Ok(()),
            None => {
                tracing::error!("the holder is gone: serving on until a new one asks for the sockets");
                is_linked = false;
            }
        }
    }
}

/// What runs while this worker leads.
struct Leading {
    control: JoinHandle<()>,
    ticker: JoinHandle<()>,
    reloader: JoinHandle<()>,
    stop: Rc<std::cell::Cell<bool>>,
}

impl Leading {
    fn start(lead: &Rc<Lead>, control: UnixListener, surrender: &Rc<Surrender>) -> Self {
        lead.order(|| lane::Order::Accept);
        let stop = Rc::new(std::cell::Cell::new(false));
        Leading {
            control: tokio::task::spawn_local(control::serve(Rc::clone(lead), control, Rc::clone(surrender))),
            ticker: tokio::task::spawn_local(tick(Rc::clone(lead), Rc::clone(&stop))),
            reloader: tokio::task::spawn_local(Rc::clone(lead).reload_certificates()),
            stop,
        }
    }

    /// Ends both; the ticker at its own pace, for counts under way would be lost.
    async fn end(self) {
        self.control.abort();
        self.reloader.abort();
        let _aborted = self.control.await;
        self.stop.set(true);
        let _ended = self.ticker.await;
    }
}

async fn tick(lead: Rc<Lead>, stop: Rc<std::cell::Cell<bool>>) {
    while !stop.get() {
        tokio::time::sleep(TICK).await;
        lead.gather().await;
        lead.frame();
    }
}

/// Gives up the lead and ends once everything open has ended, or the drain limit has passed.
async fn finish(
    lead: &Rc<Lead>,
    leading: Option<Leading>,
    mut link: Link,
    is_stop: bool,
) -> Result<(), WorkerError> {
    lead.order(|| lane::Order::Drain);
    if let Some(leading) = leading {
        leading.end().await;
    }
    lead.gather().await;
    lead.frame();
    let until = Instant::now() + Duration::from_millis(lead.config.limits.drain_ms);
    if is_stop {
        while !lead.is_idle() && Instant::now() < until {
            tokio::time::sleep(TICK / 4).await;
            lead.gather().await;
            lead.frame();
        }
        lead.close_spool();
        link.say(Word::Yielded.line()).await?;
        return Ok(());
    }
    lead.close_spool();
    link.say(Word::Yielded.line()).await?;
    let mut courier = Courier::new(&lead.config.dir);
    while lead.connections_open() > 0 && Instant::now() < until {
        courier.deliver(lead).await;
        tokio::time::sleep(TICK / 2).await;
        lead.gather().await;
    }
    courier.finish(lead).await;
    Ok(())
}
