//! Uploads and downloads that take a second, and whose every byte is checked.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::wire::Wire;
use super::{Square, in_time};

const PIECES: u8 = 20;
const PIECE: usize = 4096;
const PAUSE: Duration = Duration::from_millis(50);

/// Upload after upload in chunks; the service says what it got.
pub(crate) async fn upload(square: Arc<Square>, number: u8) {
    let mut turn = number;
    while !square.is_over() {
        let in_flight = square.enter();
        turn = turn.wrapping_add(2);
        match put(&square, turn).await {
            Ok(release) => square.good("upload", &release),
            Err(what) => in_flight.failed("upload", what),
        }
        drop(in_flight);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn put(square: &Square, turn: u8) -> Result<String, String> {
    let mut wire = in_time("connecting", Wire::connect(square.to)).await?;
    let more = "transfer-encoding: chunked\r\n";
    in_time("asking", wire.ask("PUT", "/upload", more)).await?;
    let mut hash = Sha256::new();
    for piece in 0..PIECES {
        let body = vec![piece ^ turn; PIECE];
        hash.update(&body);
        let mut chunk = format!("{PIECE:x}\r\n").into_bytes();
        chunk.extend(body);
        chunk.extend(b"\r\n");
        in_time("sending", wire.send(&chunk))
            .await
            .map_err(|error| format!("piece {piece}: {error}"))?;
        tokio::time::sleep(PAUSE).await;
    }
    in_time("sending the end", wire.send(b"0\r\n\r\n")).await?;
    let head = in_time("the answer", wire.head()).await?;
    let body = in_time("the answer's body", wire.body(&head)).await?;
    head.expect_good()?;
    let mut expected = format!("{} ", usize::from(PIECES) * PIECE);
    for byte in hash.finalize() {
        let _ = write!(expected, "{byte:02x}");
    }
    let got = String::from_utf8_lossy(&body);
    if got == expected {
        Ok(head.release().to_owned())
    } else {
        Err(format!("the service got {got}, not {expected}"))
    }
}

/// Download after download, compared byte by byte.
pub(crate) async fn download(square: Arc<Square>) {
    while !square.is_over() {
        let in_flight = square.enter();
        match get(&square).await {
            Ok(release) => square.good("download", &release),
            Err(what) => in_flight.failed("download", what),
        }
        drop(in_flight);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn get(square: &Square) -> Result<String, String> {
    let mut wire = in_time("connecting", Wire::connect(square.to)).await?;
    let path = format!("/download?pieces={PIECES}&pause={}", PAUSE.as_millis());
    in_time("asking", wire.ask("GET", &path, "")).await?;
    let head = in_time("the answer", wire.head()).await?;
    head.expect_good()?;
    let mut body = Vec::new();
    while let Some(chunk) = in_time("the next piece", wire.chunk())
        .await
        .map_err(|error| format!("after {} bytes: {error}", body.len()))?
    {
        body.extend(chunk);
    }
    let expected: Vec<u8> = (0..PIECES).flat_map(|piece| [piece; PIECE]).collect();
    if body == expected {
        Ok(head.release().to_owned())
    } else {
        Err(format!("{} bytes, and not those that were sent", body.len()))
    }
}
