//! A log as a stream of lines.

use std::time::Duration;

use super::LogReader;
use crate::folder::Folder;
use crate::{InstanceState, LogLine, LogStream, RuntimeError};

/// Pause between looks at a log for more.
const FOLLOW_POLL: Duration = Duration::from_millis(50);
/// Looks between two at the instance's state.
const LOOKS_PER_STATE: u32 = 5;

/// Lines of the folder's log from `from` on, until the instance is stopped or removed.
pub(crate) fn follow(folder: Folder, from: u64) -> LogStream {
    let reader = LogReader::new(folder.logs(), from);
    let follow = Follow {
        folder,
        reader,
        ready: Vec::new().into_iter(),
        looks: 0,
        over: false,
        failed: false,
    };
    Box::pin(futures_util::stream::unfold(follow, Follow::next))
}

struct Follow {
    folder: Folder,
    reader: LogReader,
    ready: std::vec::IntoIter<LogLine>,
    looks: u32,
    /// The instance was seen stopped: what it wrote is all there.
    over: bool,
    failed: bool,
}

impl Follow {
    async fn next(mut self) -> Option<(Result<LogLine, RuntimeError>, Self)> {
        loop {
            if let Some(line) = self.ready.next() {
                return Some((Ok(line), self));
            }
            if self.failed {
                return None;
            }
            let mut reader = self.reader;
            let (read, reader) = tokio::task::spawn_blocking(move || (reader.read(), reader))
                .await
                .ok()?;
            self.reader = reader;
            match read {
                Ok(lines) if !lines.is_empty() => self.ready = lines.into_iter(),
                // No lines, or no folder any more.
                _ if self.over => return None,
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    self.failed = true;
                    let path = self.folder.logs();
                    return Some((Err(RuntimeError::file("read", path)(error)), self));
                }
                _ if self.looks.is_multiple_of(LOOKS_PER_STATE) && self.is_over() => self.over = true,
                _ => tokio::time::sleep(FOLLOW_POLL).await,
            }
            self.looks = self.looks.wrapping_add(1);
        }
    }

    fn is_over(&self) -> bool {
        match self.folder.instance() {
            Ok(instance) => instance.is_none_or(|instance| instance.state == InstanceState::Stopped),
            Err(_) => !self.folder.path().exists(),
        }
    }
}
