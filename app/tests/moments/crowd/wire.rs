//! HTTP/1.1 by hand: heads and bodies of answers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Wire(BufReader<TcpStream>);

/// An answer up to its body.
pub(crate) struct Head {
    pub(crate) status: u16,
    fields: BTreeMap<String, String>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn release(&self) -> &str {
        self.field("x-release")
    }

    pub(crate) fn closes(&self) -> bool {
        self.field("connection").eq_ignore_ascii_case("close")
    }

    /// An error's text, if the answer is one.
    pub(crate) fn expect_good(&self) -> Result<(), String> {
        if (200..400).contains(&self.status) {
            Ok(())
        } else {
            Err(format!("{} by {:?}", self.status, self.release()))
        }
    }
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Wire(BufReader::new(stream)))
    }

    /// Whether the other side has closed it while nothing was asked.
    pub(crate) fn is_closed(&self) -> bool {
        match self.0.get_ref().try_read(&mut [0]) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }

    /// Sends a request's head; `more` are further fields, each with its line's end.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, more: &str) -> io::Result<()> {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: notes.example\r\n{more}\r\n");
        self.send(head.as_bytes()).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes).await
    }

    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut head = Head {
            status: status.ok_or_else(|| io::Error::other(format!("{first:?} is no status")))?,
            fields: BTreeMap::new(),
        };
        loop {
            let field = self.line().await?;
            let Some((name, value)) = field.split_once(':') else {
                return Ok(head);
            };
            head.fields
                .insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }

    /// The whole body of an answer.
    pub(crate) async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        if head.field("transfer-encoding").is_empty() {
            let length = head.field("content-length").parse();
            let mut body = vec![0; length.map_err(|_| io::Error::other("no length"))?];
            self.0.read_exact(&mut body).await?;
            return Ok(body);
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend(chunk);
        }
        Ok(body)
    }

    /// The next chunk of a body; none at its proper end.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16)
            .map_err(|_| io::Error::other(format!("{size:?} is no length of a chunk")))?;
        let mut chunk = vec![0; size];
        self.0.read_exact(&mut chunk).await?;
        self.line().await?;
        Ok((size > 0).then_some(chunk))
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut text = String::new();
        if self.0.read_line(&mut text).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(text.trim_end().to_owned())
    }
}
