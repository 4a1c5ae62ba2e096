//! The run of a step.

use std::collections::VecDeque;
use std::future::Future;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use trimtab_model::Timestamp;

use super::record::{MARK, Recorded};
use super::{OutputLine, OutputStream, StepEnd, StepError, StepOutcome, StepSpec};
use crate::splitter::LineSplitter;
use crate::{LINE_BYTES_MAX, LINES_MAX};
use trimtab_child::{Masker, user};

/// Time between SIGTERM and SIGKILL for a step that is cancelled or takes too long.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// Time that output may still come after the step has ended.
const DRAIN: Duration = Duration::from_millis(500);
/// Lines kept for the outcome.
const LAST_LINES: usize = 50;
/// Lines that may wait for the sink.
const LINES_WAITING_MAX: usize = 64;
/// Exit code by which a shell says that a command was not found.
const NOT_FOUND: i32 = 127;

/// A line as it was read.
struct Raw {
    at: Timestamp,
    stream: OutputStream,
    line: Vec<u8>,
    cut_bytes: u64,
}

/// See [`crate::run_step`].
pub(super) async fn run(
    spec: &StepSpec,
    cancel: impl Future<Output = ()> + Send,
    sink: &mut (dyn FnMut(OutputLine) + Send),
) -> Result<StepOutcome, StepError> {
    let begun = Instant::now();
    let (recorded, mut child) = start(spec)?;
    let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
    if let Some(pipe) = child.stdout.take() {
        tokio::spawn(read(pipe, OutputStream::Stdout, sender.clone()));
    }
    if let Some(pipe) = child.stderr.take() {
        tokio::spawn(read(pipe, OutputStream::Stderr, sender.clone()));
    }
    drop(sender);
    let mut output = Output {
        masker: Masker::new(&spec.secrets),
        last: VecDeque::new(),
        lines: 0,
        dropped: 0,
        cut: 0,
        sink,
    };
    let mut cancel = std::pin::pin!(cancel);
    // None while it runs undisturbed; else why it was told to end, and when it will be killed.
    let mut ending: Option<(StepEnd, Instant)> = None;
    let limit_millis = u64::try_from(spec.timeout.as_millis()).unwrap_or(u64::MAX);
    let deadline = begun.checked_add(spec.timeout);
    let status = loop {
        let wake = ending.as_ref().map(|(_, kill_at)| *kill_at).or(deadline);
        tokio::select! {
            status = child.wait() => break status,
            Some(line) = lines.recv() => output.take(line),
            () = &mut cancel, if ending.is_none() => {
                recorded.signal(Signal::TERM);
                ending = Some((StepEnd::Cancelled, Instant::now() + KILL_GRACE));
            }
            () = async { match wake { Some(wake) => sleep_until(wake).await, None => std::future::pending().await } } => {
                match &mut ending {
                    None => {
                        recorded.signal(Signal::TERM);
                        ending = Some((StepEnd::TimedOut { limit_millis }, Instant::now() + KILL_GRACE));
                    }
                    Some((_, kill_at)) => {
                        recorded.signal(Signal::KILL);
                        *kill_at += KILL_GRACE;
                    }
                }
            }
        }
    };
    // Kills what the step left running in the background, which would keep the pipes open.
    drop(recorded);
    let rest = output.take_rest(&mut lines);
    let _ = tokio::time::timeout(DRAIN, rest).await;
    let status = status.map_err(|source| system(spec, "wait for", source))?;
    let end = ending.map_or_else(|| output.end(status), |(end, _)| end);
    Ok(StepOutcome {
        end,
        duration: begun.elapsed(),
        last_lines: output.last.into(),
        lines: output.lines,
        lines_dropped: output.dropped,
        lines_cut: output.cut,
    })
}

fn system(spec: &StepSpec, doing: &'static str, source: std::io::Error) -> StepError {
    StepError::System {
        step: spec.name.clone(),
        doing,
        path: "sh".into(),
        source,
    }
}

fn start(spec: &StepSpec) -> Result<(Recorded, Child), StepError> {
    let bad = |reason: String| StepError::BadSpec {
        step: spec.name.clone(),
        reason,
    };
    if !spec.dir.is_dir() {
        return Err(bad(format!(
            "its folder {} is not there; check the commit out first",
            spec.dir.display()
        )));
    }
    if spec.command.contains('\0')
        || spec
            .env
            .iter()
            .any(|(name, value)| !is_variable(name) || value.contains('\0'))
    {
        return Err(bad(
            "its command or environment has a NUL byte, or a variable's name is empty or holds `=`"
                .to_owned(),
        ));
    }
    let mut recorded = Recorded::begin(&spec.records, &spec.name).map_err(|source| StepError::System {
        step: spec.name.clone(),
        doing: "write its record in",
        path: spec.records.clone(),
        source,
    })?;
    let mut builder = std::process::Command::new("sh");
    builder
        .arg("-c")
        .arg(&spec.command)
        .current_dir(&spec.dir)
        .env_clear();
    builder.env(
        "PATH",
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
    );
    builder
        .env("HOME", &spec.dir)
        .env("LANG", "C.UTF-8")
        .env("CI", "true");
    builder.envs(&spec.env).env(MARK, recorded.mark());
    builder
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(name) = &spec.user {
        let user = user::resolve(name).map_err(bad)?;
        user::give(&spec.dir, user)
            .map_err(|source| system(spec, "give the folder to the user of", source))?;
        builder.uid(user.uid).gid(user.gid);
    }
    let child = Command::from(builder)
        .spawn()
        .map_err(|source| system(spec, "start", source))?;
    if let Some(pid) = child.id() {
        recorded
            .started(pid)
            .map_err(|source| system(spec, "record the process of", source))?;
    }
    Ok((recorded, child))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// Sends lines from a pipe until it ends, or nobody listens.
async fn read(mut pipe: impl AsyncRead + Unpin, stream: OutputStream, lines: mpsc::Sender<Raw>) {
    let mut splitter = LineSplitter::default();
    let mut chunk = vec![0; LINE_BYTES_MAX];
    loop {
        let read = pipe.read(&mut chunk).await.unwrap_or(0);
        let ready = match read {
            0 => splitter.finish().into_iter().collect(),
            _ => splitter.feed(&chunk[..read]),
        };
        let at = now();
        for (line, cut_bytes) in ready {
            if lines
                .send(Raw {
                    at,
                    stream,
                    line,
                    cut_bytes,
                })
                .await
                .is_err()
            {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What becomes of the lines.
struct Output<'a> {
    masker: Masker,
    last: VecDeque<String>,
    lines: u64,
    dropped: u64,
    cut: u64,
    sink: &'a mut (dyn FnMut(OutputLine) + Send),
}

impl Output<'_> {
    async fn take_rest(&mut self, lines: &mut mpsc::Receiver<Raw>) {
        while let Some(line) = lines.recv().await {
            self.take(line);
        }
    }

    fn take(&mut self, raw: Raw) {
        let is_cut = raw.cut_bytes > 0;
        let mut text = self.masker.mask(&raw.line, is_cut);
        if is_cut {
            text.push_str(&format!(" [trimtab: cut {} bytes]", raw.cut_bytes));
        }
        self.lines += 1;
        self.cut += u64::from(is_cut);
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text.clone());
        if self.lines > LINES_MAX {
            self.dropped += 1;
            return;
        }
        (self.sink)(OutputLine {
            at: raw.at,
            stream: raw.stream,
            text,
        });
    }

    fn end(&self, status: ExitStatus) -> StepEnd {
        match (status.code(), status.signal()) {
            (Some(0), _) => StepEnd::Passed,
            (Some(NOT_FOUND), _) => StepEnd::NotFound {
                command: self.last.iter().rev().find_map(|line| not_found(line)),
            },
            (Some(code), _) => StepEnd::Failed { code },
            (None, Some(signal)) => StepEnd::Killed { signal },
            (None, None) => StepEnd::Failed { code: -1 },
        }
    }
}

/// The command that a shell's words say was not found: `sh: 1: NAME: not found`, `bash: line 1: NAME: command not found`, or
/// `env: ‘NAME’: No such file or directory`.
fn not_found(line: &str) -> Option<String> {
    let endings = [
        ": not found",
        ": command not found",
        ": No such file or directory",
    ];
    let words = endings
        .iter()
        .find_map(|ending| line.trim_end().strip_suffix(ending))?;
    let name = words.rsplit(": ").next()?.trim_matches(['‘', '’', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_command_is_told_from_the_shells_words() {
        for (line, name) in [
            ("sh: 1: frobnicate: not found", Some("frobnicate")),
            ("sh: line 1: frobnicate: command not found", Some("frobnicate")),
            ("env: ‘frobnicate’: No such file or directory", Some("frobnicate")),
            ("all fine", None),
            (": not found", None),
        ] {
            assert_eq!(not_found(line).as_deref(), name, "{line}");
        }
    }
}
