//! One run of the instance's program.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child as Process, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::limits::LimitKeeper;
use crate::folder::{MARK, SpecFile};
use crate::log::{LineSplitter, LogWriter, now};
use crate::process_table::{self, ProcessId, kill_leftovers};
use crate::{Exit, LogStreamKind, command};
use trimtab_child::{Masker, user};

/// Time that output may still come after the process has ended, from whoever holds its pipes.
const DRAIN: Duration = Duration::from_millis(300);
/// Bytes read from a pipe at once.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) type Log = Arc<Mutex<LogWriter>>;

/// Runs a closure on the log.
pub(super) fn with<T>(log: &Log, act: impl FnOnce(&mut LogWriter) -> T) -> T {
    act(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A started program with its output being captured.
pub(super) struct Child {
    process: Process,
    pub(super) id: ProcessId,
    mark: String,
    capture: Vec<JoinHandle<()>>,
    close: watch::Sender<bool>,
    log: Log,
}

impl Child {
    /// Starts the program within its limits; the reason for people when it can't be.
    pub(super) fn start(
        file: &SpecFile,
        port: u16,
        mark: &str,
        log: &Log,
        limits: &LimitKeeper,
    ) -> Result<Child, String> {
        let spec = &file.spec;
        let search = spec.search_path(&file.search_path);
        let (program, arguments) = spec.command.split_first().ok_or("the command is empty")?;
        let folder = spec.working_folder();
        let program = command::find(program, &folder, &search)
            .map_err(|unusable| format!("the program {program:?} cannot be run: {unusable}"))?;
        // The working folder is entered here, while this process may still go everywhere.
        std::env::set_current_dir(&folder)
            .map_err(|error| format!("the folder {} cannot be entered: {error}", folder.display()))?;
        let mut builder = std::process::Command::new("/proc/self/exe");
        builder
            .args(&file.shim_args)
            .args(["stage", &std::process::id().to_string(), &limits.stage_word()]);
        builder.arg(program).args(arguments);
        spec.fill_environment(&mut builder, &file.search_path, port);
        builder.env(MARK, mark);
        builder
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(name) = &spec.user {
            let user = user::resolve(name)?;
            builder.uid(user.uid).gid(user.gid);
        }
        let mut process = Command::from(builder)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the process cannot be started: {error}"))?;
        let id = process
            .id()
            .and_then(ProcessId::of)
            .ok_or_else(|| "the process ended before it could be looked at".to_owned())?;
        limits
            .take_in(id.pid)
            .map_err(|error| format!("its control group does not take it in: {error}"))?;
        let masker = Arc::new(spec.masker());
        let (close, closing) = watch::channel(false);
        let mut capture = Vec::new();
        if let Some(pipe) = process.stdout.take() {
            capture.push(tokio::spawn(copy(
                pipe,
                LogStreamKind::Stdout,
                (log.clone(), masker.clone()),
                closing.clone(),
            )));
        }
        if let Some(pipe) = process.stderr.take() {
            capture.push(tokio::spawn(copy(
                pipe,
                LogStreamKind::Stderr,
                (log.clone(), masker),
                closing,
            )));
        }
        Ok(Child {
            process,
            id,
            mark: mark.to_owned(),
            capture,
            close,
            log: log.clone(),
        })
    }

    /// Waits for the process to end. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.process.wait().await
    }

    /// Signals its whole group.
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        process_table::signal_group(self.id.pid, signal);
    }

    /// Kills what the process left behind, takes the last of its output and tells how it ended.
    pub(super) async fn bury(self, status: std::io::Result<std::process::ExitStatus>) -> Exit {
        process_table::signal_group(self.id.pid, rustix::process::Signal::KILL);
        let mark = format!("{MARK}={}", self.mark);
        let _ = tokio::task::spawn_blocking(move || kill_leftovers(None, &mark)).await;
        let mut capture = self.capture;
        let all = async {
            for task in &mut capture {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            let _ = self.close.send(true);
            for task in capture {
                if !task.is_finished() {
                    let _ = task.await;
                }
            }
        }
        let status = status.ok();
        Exit {
            at: now(),
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            last_lines: with(&self.log, |log| log.recent()),
            reason: None,
        }
    }
}

/// Copies lines from a pipe to the log until it ends or `closing` says so.
async fn copy(
    mut pipe: impl AsyncRead + Unpin,
    stream: LogStreamKind,
    (log, masker): (Log, Arc<Masker>),
    mut closing: watch::Receiver<bool>,
) {
    let mut splitter = LineSplitter::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = tokio::select! {
            read = pipe.read(&mut chunk) => read,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let Ok(read @ 1..) = read else { break };
        with(&log, |log| {
            splitter.feed(&chunk[..read], |line, cut| keep(log, &masker, stream, line, cut));
            log.flush();
        });
    }
    with(&log, |log| {
        splitter.finish(|line, cut| keep(log, &masker, stream, line, cut));
        log.flush();
    });
}

/// Keeps a line without the instance's secrets; a line of an instance that has none is kept byte for byte.
fn keep(log: &mut LogWriter, masker: &Masker, stream: LogStreamKind, line: &[u8], cut: u64) {
    if masker.is_empty() {
        log.line(stream, line, cut);
    } else {
        log.line(stream, masker.mask(line, cut > 0).as_bytes(), cut);
    }
}
