//! Starts the program, again and again, until told to stop.

use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::child::{Child, Log, with};
use super::limits::LimitKeeper;
use super::liveness::Watch;
use super::protocol::{Reply, Request};
use super::server::{self, Command};
use crate::folder::{Folder, SpecFile, unstarted};
use crate::log::{LogWriter, now};
use crate::process_table::ProcessId;
use crate::{Exit, Instance, InstanceState, Kind, port};

/// Other ports tried in a row when the program fails to bind.
const PORT_RETRIES_MAX: u32 = 5;
/// A program that ends later than this didn't fail to bind.
const BIND_TIME_MAX: Duration = Duration::from_secs(10);
/// Pauses between looks whether the program listens: short at first, longer for slow starters.
const LISTEN_POLL: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
/// Looks with the short pause.
const LISTEN_POLLS_SHORT: u32 = 80;
/// How often orphans that were adopted are reaped.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// Keeps the folder's instance until it is stopped.
pub(super) async fn run(folder: Folder) -> Result<(), String> {
    let file = folder
        .spec()
        .map_err(|error| error.to_string())?
        .ok_or("it holds no spec.json")?;
    let log = LogWriter::open(&folder.logs(), file.spec.logs.clone())
        .map_err(|error| format!("open its log: {error}"))?;
    let shim = ProcessId::of(std::process::id()).ok_or("/proc is not mounted")?;
    let before = folder.state().ok().flatten().map(|state| state.instance);
    let wish = before.as_ref().map(|instance| instance.address.port());
    let mut instance = unstarted(&file.spec);
    instance.state = InstanceState::Starting;
    instance.last_exit = before.and_then(|before| before.last_exit);
    let commands = server::listen(&folder).map_err(|error| format!("listen on its socket: {error}"))?;
    let mark = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let limits = LimitKeeper::new(&file, &mark);
    instance.limits = limits.note();
    let supervisor = Supervisor {
        log: Log::new(log.into()),
        mark,
        limits,
        folder,
        file,
        shim,
        child: None,
        instance,
        commands,
        port_wish: wish,
        port_retries: 0,
        failures: 0,
        started: Instant::now(),
    };
    supervisor.keep().await
}

struct Supervisor {
    folder: Folder,
    file: SpecFile,
    shim: ProcessId,
    child: Option<ProcessId>,
    mark: String,
    limits: LimitKeeper,
    log: Log,
    instance: Instance,
    commands: mpsc::Receiver<Command>,
    port_wish: Option<u16>,
    port_retries: u32,
    /// Ends in a row without a steady time between.
    failures: u32,
    started: Instant,
}

/// What to do after the program has ended, or couldn't start.
enum Next {
    Start,
    Pause(Duration),
    GiveUp,
    /// Stopped by command; whoever asked waits for the answer.
    Stopped(Vec<oneshot::Sender<Reply>>),
    /// This process was told to end by a signal.
    Leave,
}

impl Supervisor {
    async fn keep(mut self) -> Result<(), String> {
        let mut leave = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let mut next = Next::Start;
        loop {
            next = match next {
                Next::Start => self.start_and_watch(&mut leave).await,
                Next::Pause(pause) => {
                    self.enter(InstanceState::BackOff, None);
                    self.idle(Some(pause), &mut leave).await
                }
                Next::GiveUp => {
                    self.enter(InstanceState::Exited, None);
                    self.idle(None, &mut leave).await
                }
                Next::Stopped(waiting) => {
                    self.enter(InstanceState::Stopped, None);
                    for reply in waiting {
                        let _ = reply.send(Reply::Done(Box::new(self.instance.clone())));
                    }
                    // The answers go out over tasks of their own.
                    sleep(Duration::from_millis(20)).await;
                    return Ok(());
                }
                Next::Leave => return Ok(()),
            };
        }
    }

    async fn start_and_watch(&mut self, leave: &mut tokio::signal::unix::Signal) -> Next {
        with(&self.log, LogWriter::forget_recent);
        let (first, last) = port::PORTS;
        let Some(port) = port::find(self.port_wish) else {
            return self.cannot_start(format!("no port from {first} to {last} is free"));
        };
        self.port_wish = Some(port);
        self.instance.address = port::loopback(port);
        match Child::start(&self.file, port, &self.mark, &self.log, &self.limits) {
            Err(reason) => self.cannot_start(reason),
            Ok(child) => {
                self.started = Instant::now();
                self.instance.started_at = Some(now());
                self.instance.problem = None;
                self.enter(InstanceState::Starting, Some(child.id.clone()));
                self.say(&format!("started process {} on port {port}", child.id.pid));
                self.watch(child, leave).await
            }
        }
    }

    fn cannot_start(&mut self, reason: String) -> Next {
        self.say(&format!("cannot start: {reason}"));
        self.instance.problem = Some(reason);
        Next::GiveUp
    }

    /// Watches a started program to its end.
    async fn watch(&mut self, mut child: Child, leave: &mut tokio::signal::unix::Signal) -> Next {
        let mut polls = 0;
        let listens = self.file.spec.kind == Kind::Service;
        let mut liveness = Watch::begin(&self.file, self.instance.address);
        loop {
            let starting = self.instance.state == InstanceState::Starting;
            let poll = match (starting, polls < LISTEN_POLLS_SHORT) {
                (true, true) => LISTEN_POLL.0,
                (true, false) => LISTEN_POLL.1,
                (false, _) => REAP_EVERY,
            };
            tokio::select! {
                status = child.ended() => {
                    let pid = child.id.pid;
                    let exit = child.bury(status).await;
                    return self.after_end(pid, exit);
                }
                reason = liveness.dead() => return self.end_dead(child, reason).await,
                Some(command) = self.commands.recv() => {
                    let Some(command) = self.admit(command) else { continue };
                    return self.terminate(child, Some(command)).await;
                }
                _ = leave.recv() => return self.terminate(child, None).await,
                () = sleep(poll) => {
                    polls += 1;
                    reap_adopted(child.id.pid);
                    if starting && (!listens || port::is_listening(child.id.pid, self.instance.address.port())) {
                        self.enter(InstanceState::Running, Some(child.id.clone()));
                    } else if !starting {
                        // Keep the counts of lost and cut lines fresh.
                        self.write();
                    }
                }
            }
        }
    }

    /// Ends a program that doesn't answer any more; it counts as one that ended by itself.
    async fn end_dead(&mut self, mut child: Child, reason: String) -> Next {
        self.say(&format!("ending process {}: {reason}", child.id.pid));
        child.signal(Signal::TERM);
        let grace = self.file.spec.stop_grace;
        let status = match tokio::time::timeout(grace, child.ended()).await {
            Ok(status) => status,
            Err(_) => {
                child.signal(Signal::KILL);
                child.ended().await
            }
        };
        let pid = child.id.pid;
        let mut exit = child.bury(status).await;
        exit.reason = Some(reason);
        self.after_end(pid, exit)
    }

    /// What follows when the program ended by itself.
    fn after_end(&mut self, pid: u32, mut exit: Exit) -> Next {
        let ran = self.started.elapsed();
        exit.reason = self.limits.reason().or(exit.reason);
        let kind = self.file.spec.kind;
        // Only a program that should listen can have failed to.
        let listened = self.instance.state == InstanceState::Running || kind != Kind::Service;
        let port = self.instance.address.port();
        self.say(&format!(
            "process {pid} ended with {exit} after {:.1} s",
            ran.as_secs_f64()
        ));
        self.instance.last_exit = Some(exit);
        if !listened && ran < BIND_TIME_MAX && !port::is_free(port) && self.port_retries < PORT_RETRIES_MAX {
            self.port_retries += 1;
            self.port_wish = None;
            self.say(&format!(
                "port {port} is taken by another process: trying another"
            ));
            return Next::Start;
        }
        if kind == Kind::Once {
            return Next::GiveUp;
        }
        let backoff = &self.file.spec.backoff;
        if ran >= backoff.steady_after {
            self.failures = 0;
            self.port_retries = 0;
        }
        if self.failures >= backoff.restarts_max {
            let reason = format!(
                "it ended {} times in a row; see its last lines, mend it and start it again",
                self.failures + 1
            );
            self.say(&format!("giving up: {reason}"));
            self.instance.problem = Some(reason);
            return Next::GiveUp;
        }
        let pause = backoff
            .initial
            .saturating_mul(1 << self.failures.min(20))
            .min(backoff.longest);
        self.failures += 1;
        self.instance.restarts += 1;
        Next::Pause(pause)
    }

    /// Waits for commands while nothing runs, at most `pause`.
    async fn idle(&mut self, pause: Option<Duration>, leave: &mut tokio::signal::unix::Signal) -> Next {
        let until = pause.map(|pause| Instant::now() + pause);
        loop {
            tokio::select! {
                () = async { match until { Some(until) => sleep_until(until).await, None => std::future::pending().await } } => {
                    return Next::Start;
                }
                _ = leave.recv() => return Next::Leave,
                Some(command) = self.commands.recv() => {
                    let Some(command) = self.admit(command) else { continue };
                    if matches!(command.request, Request::Stop { .. }) {
                        return Next::Stopped(vec![command.reply]);
                    }
                    return self.begin_anew(command.reply);
                }
            }
        }
    }

    /// Answers what needs no change of the process and refuses what is old; hands back the rest (stop, restart).
    fn admit(&mut self, command: Command) -> Option<Command> {
        if let Some(given) = command.request.generation() {
            if given < self.instance.generation {
                let _ = command.reply.send(Reply::Older {
                    newest: self.instance.generation,
                });
                return None;
            }
            self.instance.generation = given;
            self.write();
        }
        match command.request {
            Request::Stop { .. } | Request::Restart { .. } => Some(command),
            Request::Status | Request::Advance { .. } => {
                let _ = command.reply.send(Reply::Done(Box::new(self.instance.clone())));
                None
            }
        }
    }

    fn begin_anew(&mut self, reply: oneshot::Sender<Reply>) -> Next {
        self.failures = 0;
        self.port_retries = 0;
        self.instance.restarts += 1;
        self.instance.state = InstanceState::Starting;
        // Answered before the start: whoever asked watches the folder for the new process.
        let _ = reply.send(Reply::Done(Box::new(self.instance.clone())));
        Next::Start
    }

    /// SIGTERM, then SIGKILL after the grace. `command` is none when this process is told to end.
    async fn terminate(&mut self, mut child: Child, command: Option<Command>) -> Next {
        let mut grace = self.file.spec.stop_grace;
        let (mut stops, mut restart) = (Vec::new(), None);
        let leaving = command.is_none();
        match command {
            Some(Command {
                request: Request::Stop { grace: asked, .. },
                reply,
            }) => {
                grace = asked;
                stops.push(reply);
            }
            Some(Command { reply, .. }) => restart = Some(reply),
            None => {}
        }
        self.enter(InstanceState::Stopping, Some(child.id.clone()));
        child.signal(Signal::TERM);
        let begun = Instant::now();
        let mut killed = false;
        let status = loop {
            tokio::select! {
                status = child.ended() => break status,
                () = sleep_until(begun + grace), if !killed => {
                    killed = true;
                    child.signal(Signal::KILL);
                }
                Some(command) = self.commands.recv() => match self.admit(command) {
                    Some(Command { request: Request::Stop { grace: asked, .. }, reply }) => {
                        grace = grace.min(asked);
                        stops.push(reply);
                    }
                    Some(Command { reply, .. }) if restart.is_some() || !stops.is_empty() => {
                        let reason = "it is being stopped or restarted already".to_owned();
                        let _ = reply.send(Reply::Refused { reason });
                    }
                    Some(Command { reply, .. }) => restart = Some(reply),
                    None => {}
                }
            }
        };
        let pid = child.id.pid;
        let exit = child.bury(status).await;
        let how = if killed {
            format!(" (killed after {grace:?})")
        } else {
            String::new()
        };
        self.say(&format!("process {pid} was stopped: {exit}{how}"));
        self.instance.last_exit = Some(exit);
        match restart {
            _ if !stops.is_empty() => Next::Stopped(stops),
            _ if leaving => {
                self.enter(InstanceState::Stopping, None);
                Next::Leave
            }
            Some(reply) => self.begin_anew(reply),
            None => Next::Leave,
        }
    }

    fn enter(&mut self, state: InstanceState, child: Option<ProcessId>) {
        self.instance.state = state;
        self.instance.pid = child.as_ref().map(|child| child.pid);
        self.child = child;
        self.write();
    }

    fn write(&mut self) {
        (self.instance.lines_dropped, self.instance.lines_cut) =
            with(&self.log, |log| (log.dropped(), log.cut()));
        let written = self.folder.write_state(
            self.shim.clone(),
            self.child.clone(),
            self.mark.clone(),
            self.instance.clone(),
        );
        if let Err(error) = written {
            // A full disk: the next change tries again, and the socket tells the truth meanwhile.
            self.say(&format!("failed to {error}"));
        }
    }

    fn say(&self, text: &str) {
        with(&self.log, |log| log.say(text));
    }
}

/// Reaps processes that were orphaned beneath the instance and came to this process as their subreaper.
fn reap_adopted(own: u32) {
    let me = std::process::id();
    for stat in crate::process_table::all() {
        if stat.parent == me && stat.pid != own && !stat.lives() {
            let pid = i32::try_from(stat.pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::NOHANG);
        }
    }
}
