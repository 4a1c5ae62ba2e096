//! Adopting a proxy that runs, or starting one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::{ClientError, RETRY_PAUSE, exchange};
use crate::ProxyConfig;
use crate::protocol::{HolderReply, HolderRequest, Reply, Request, control_socket, holder_socket, log_file};

/// A proxy accepts within this after its start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// A running one answers within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// A log larger than this is put aside at the next start.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Bytes of the log shown when the proxy does not start.
const LOG_TAIL_BYTES: usize = 2_000;

pub(super) async fn start_or_adopt(config: &ProxyConfig) -> Result<(), ClientError> {
    config
        .check()
        .map_err(|error| ClientError::Refused(error.to_string()))?;
    let write = |path: &Path, source| ClientError::Write {
        path: path.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.dir)
        .map_err(|source| write(&config.dir, source))?;
    let path = ProxyConfig::path(&config.dir);
    write_config(&path, config).map_err(|source| write(&path, source))?;
    if is_running(&config.dir).await {
        return Ok(());
    }
    let log = log_file(&config.dir);
    let mut child = spawn(config, &log).map_err(|source| ClientError::Start {
        program: config.program.clone(),
        reason: source.to_string(),
    })?;
    let until = Instant::now() + START_TIMEOUT;
    loop {
        if is_running(&config.dir).await {
            // Reaped when it ends, so that it leaves no zombie in a long-lived `serve`.
            std::thread::spawn(move || child.wait());
            return Ok(());
        }
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || Instant::now() > until {
            let reason = match ended {
                Some(status) => format!("it ended with {status}: {}", tail(&log)),
                None => format!("it did not accept within {START_TIMEOUT:?}: {}", tail(&log)),
            };
            // Gone already, or of no use.
            let _gone = child.kill();
            let _status = child.wait();
            return Err(ClientError::Start {
                program: config.program.clone(),
                reason,
            });
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Whether holder and worker both answer.
async fn is_running(dir: &Path) -> bool {
    let (holder, worker) = (holder_socket(dir), control_socket(dir));
    let both = async {
        let holder = exchange::<_, HolderReply>(&holder, &HolderRequest::Status).await;
        holder.is_ok() && exchange::<_, Reply>(&worker, &Request::Status).await.is_ok()
    };
    tokio::time::timeout(ANSWER_TIMEOUT, both).await.unwrap_or(false)
}

fn write_config(path: &Path, config: &ProxyConfig) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(config)?)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

fn spawn(config: &ProxyConfig, log: &Path) -> std::io::Result<Child> {
    if std::fs::metadata(log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        std::fs::rename(log, log.with_extension("log.1"))?;
    }
    let out: File = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(&config.program)
        .args(&config.arguments)
        .arg("holder")
        .arg(&config.dir)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
}

fn tail(log: &Path) -> String {
    let content = std::fs::read(log).unwrap_or_default();
    let start = content.len().saturating_sub(LOG_TAIL_BYTES);
    String::from_utf8_lossy(&content[start..]).trim().to_owned()
}
