//! Holder and worker talking: one word per line.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Link {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Link {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Link {
            lines: BufReader::new(reader).lines(),
            writer,
        }
    }

    /// Says a word.
    pub(crate) async fn say(&mut self, word: &str) -> io::Result<()> {
        self.writer.write_all(format!("{word}\n").as_bytes()).await
    }

    /// The next word; none when the other side is gone. Nothing is lost if this is cancelled.
    pub(crate) async fn hear(&mut self) -> Option<String> {
        self.lines.next_line().await.ok().flatten()
    }
}
