//! Asks an instance by a command, run as the instance is: folder, environment and user.

use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::folder::SpecFile;
use crate::process_table::signal_group;
use crate::{ProbeResult, command, health};
use trimtab_child::user;

/// Bytes of its output that are kept.
const OUTPUT_BYTES_MAX: usize = 1024;
/// Time that its output may still come after it has ended.
const DRAIN: Duration = Duration::from_millis(50);

/// Kills the whole group when it is dropped: what a probe starts never outlives it.
struct Ended(u32);

impl Drop for Ended {
    fn drop(&mut self) {
        signal_group(self.0, rustix::process::Signal::KILL);
    }
}

/// Runs the command once; healthy when it ends with 0 in time.
pub(crate) async fn ask(file: &SpecFile, port: u16, words: &[String], limit: Duration) -> ProbeResult {
    let mut seen = health::timed(limit, run(file, port, words)).await;
    // A command has no HTTP status: its exit code decided.
    if let Some(code) = seen.status.take() {
        seen.healthy = code == 0;
        if !seen.healthy {
            seen.error = Some(format!("exit code {code}: {:?}", seen.body));
        }
    }
    seen
}

async fn run(file: &SpecFile, port: u16, words: &[String]) -> Result<(Option<u16>, String)> {
    let spec = &file.spec;
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Error::other("the command is empty"))?;
    let folder = spec.working_folder();
    let program = command::find(program, &folder, &spec.search_path(&file.search_path))
        .map_err(|unusable| Error::other(format!("{program:?} cannot be run: {unusable}")))?;
    let mut builder = std::process::Command::new(program);
    builder.args(arguments).current_dir(&folder).process_group(0);
    spec.fill_environment(&mut builder, &file.search_path, port);
    builder
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(name) = &spec.user {
        let user = user::resolve(name).map_err(Error::other)?;
        builder.uid(user.uid).gid(user.gid);
    }
    let mut process = Command::from(builder).kill_on_drop(true).spawn()?;
    let _ended = process.id().map(Ended);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let pipes = (process.stdout.take(), process.stderr.take());
    let readers = tokio::spawn(drain(pipes.0, Arc::clone(&kept)));
    let other = tokio::spawn(drain(pipes.1, Arc::clone(&kept)));
    let status = process.wait().await?;
    // What it left in the background may hold the pipes for ever.
    let _ = tokio::time::timeout(DRAIN, async { tokio::join!(readers, other) }).await;
    let code = status.code().map_or(u16::MAX, |code| code.unsigned_abs() as u16);
    let text = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((Some(code), String::from_utf8_lossy(&text).trim().to_owned()))
}

/// Reads to the end, so that no command waits for its pipe, and keeps the beginning.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, kept: Arc<Mutex<Vec<u8>>>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&chunk[..room]);
    }
}
