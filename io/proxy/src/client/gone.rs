//! Noticing at once that the holder is gone: the kernel tells, nobody asks again and again.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{ClientError, PATIENCE, ProxyClient};
use crate::protocol::{HolderReply, HolderRequest};

/// How long a holder is taken to live when the kernel tells of no ends (before Linux 5.3).
const LOOK_PAUSE: Duration = Duration::from_secs(1);

impl ProxyClient {
    /// Waits until the holder that answers now has ended.
    ///
    /// # Errors
    /// When none answers.
    pub async fn holder_gone(&self) -> Result<(), ClientError> {
        let pid = self.holder_pid().await?;
        let Some(end) = end_of(pid) else {
            tokio::time::sleep(LOOK_PAUSE).await;
            return self.holder_pid().await.map(drop);
        };
        // It may have ended, and its number be another's, before the kernel was asked about it.
        if self.holder_pid().await? == pid {
            // An error means that nothing is told any more: look again.
            let _told = end.readable().await;
        }
        Ok(())
    }

    async fn holder_pid(&self) -> Result<u32, ClientError> {
        match self.ask_holder(&HolderRequest::Status, PATIENCE).await? {
            HolderReply::Status { status } => Ok(status.pid),
            other => Err(ClientError::Refused(format!(
                "read the holder's status: it said {other:?}"
            ))),
        }
    }
}

#[expect(
    deprecated,
    reason = "what takes its place is an unsafe function; an OwnedFd stays open for as long as it is owned"
)]
fn end_of(pid: u32) -> Option<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let end = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    AsyncFd::with_interest(end, Interest::READABLE).ok()
}
