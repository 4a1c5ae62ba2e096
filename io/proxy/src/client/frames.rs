//! Reading frames, across restarts of either side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::Frame;
use crate::protocol::{self, Request};

/// Pause before the proxy is looked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Frames read ahead.
const AHEAD_MAX: usize = 64;

/// Frames in order, each once; found again by itself when the proxy restarts.
#[derive(Debug)]
pub struct FrameStream {
    frames: mpsc::Receiver<Frame>,
}

impl FrameStream {
    pub(super) fn start(socket: PathBuf, after: u64) -> Self {
        let (sender, frames) = mpsc::channel(AHEAD_MAX);
        tokio::spawn(async move {
            let mut after = after;
            while !sender.is_closed() {
                // Whatever ended the connection, the next one begins where this one stopped.
                let _ended = read(&socket, &mut after, &sender).await;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        });
        FrameStream { frames }
    }

    /// The next frame; waits for as long as it takes. Nothing is lost if this is cancelled.
    pub async fn next(&mut self) -> Frame {
        match self.frames.recv().await {
            Some(frame) => frame,
            // Only when the runtime is ending.
            None => std::future::pending().await,
        }
    }
}

async fn read(socket: &Path, after: &mut u64, frames: &mpsc::Sender<Frame>) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    protocol::send(&mut stream, &Request::Frames { after: *after }).await?;
    loop {
        let frame: Frame = tokio::select! {
            frame = protocol::receive(&mut stream) => frame?,
            () = frames.closed() => return Ok(()),
        };
        if frame.sequence > *after {
            *after = frame.sequence;
            frames.send(frame).await.map_err(std::io::Error::other)?;
        }
    }
}
