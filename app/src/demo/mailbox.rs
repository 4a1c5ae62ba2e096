//! A tiny SMTP server that takes every message: what email the demo sends ends here.

use anyhow::Result;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;

/// Longest session in bytes: one message is a few kilobytes.
const SESSION_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Starts it on a free port, which is returned; `taken` is called with each message's subject.
pub(super) async fn start(taken: impl Fn(String) + Clone + Send + 'static) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let taken = taken.clone();
            // A session that breaks off is tried again by its sender.
            tokio::spawn(async move { session(stream, taken).await.ok() });
        }
    });
    Ok(port)
}

async fn session(stream: impl AsyncRead + AsyncWrite, taken: impl Fn(String)) -> Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read.take(SESSION_BYTES_MAX)).lines();
    write.write_all(b"220 demo ready\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-demo\r\n250 8BITMIME\r\n",
            "HELO" | "MAIL" | "RCPT" | "RSET" | "NOOP" => "250 fine\r\n",
            "DATA" => {
                write.write_all(b"354 end with a dot\r\n").await?;
                let mut subject = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    if subject.is_empty()
                        && let Some(text) = line.strip_prefix("Subject: ")
                    {
                        subject = text.to_owned();
                    }
                }
                taken(subject);
                "250 taken\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 not known here\r\n",
        };
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn messages_are_taken_and_nonsense_is_refused() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&taken);
        let port = start(move |subject| seen.lock().unwrap().push(subject))
            .await
            .unwrap();
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let said = b"EHLO here\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\
            Subject: down\r\n\r\nhello\r\n.\r\nQUIT\r\n";
        stream.write_all(said).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let codes: Vec<&str> = answer.lines().map(|line| &line[..3]).collect();
        assert_eq!(
            codes,
            ["220", "250", "250", "502", "250", "250", "354", "250", "221"]
        );
        assert_eq!(*taken.lock().unwrap(), ["down"]);
    }
}
