//! Bodies of requests, read and decompressed within limits.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::Trouble;

/// How long a body may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);
/// Largest window that a zstd body may ask for, as a power of two: 8 MiB, what its format recommends.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Plain),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "zstd" => Some(Encoding::Zstd),
            _ => None,
        }
    }
}

/// Reads a body as it was sent.
pub(crate) async fn arrive(body: Body, bytes_max: usize) -> Result<Bytes, (Trouble, String)> {
    let read = tokio::time::timeout(ARRIVAL_MAX, Limited::new(body, bytes_max).collect()).await;
    match read {
        Err(_) => Err((
            Trouble::TimedOut,
            format!("the body did not arrive within {} s", ARRIVAL_MAX.as_secs()),
        )),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err((
            Trouble::TooLarge,
            format!("the body has more than {bytes_max} bytes: send smaller batches"),
        )),
        Ok(Err(error)) => Err((Trouble::Malformed, format!("the body broke off: {error}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Decompresses a body; stops at the limit, however much the rest would blow up to.
pub(crate) fn decompress(
    body: Bytes,
    encoding: Encoding,
    bytes_max: usize,
) -> Result<Bytes, (Trouble, String)> {
    match encoding {
        Encoding::Plain => Ok(body),
        Encoding::Gzip => read_limited(flate2::read::MultiGzDecoder::new(body.as_ref()), bytes_max),
        Encoding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(body.as_ref()).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            let decoder =
                decoder.map_err(|error| (Trouble::Malformed, format!("the body is no zstd: {error}")))?;
            read_limited(decoder, bytes_max)
        }
    }
}

fn read_limited(decoder: impl Read, bytes_max: usize) -> Result<Bytes, (Trouble, String)> {
    let mut out = Vec::new();
    let read = decoder.take(bytes_max as u64 + 1).read_to_end(&mut out);
    if let Err(error) = read {
        return Err((
            Trouble::Malformed,
            format!("the body cannot be decompressed: {error}"),
        ));
    }
    if out.len() > bytes_max {
        return Err((
            Trouble::TooLarge,
            format!("the body decompresses to more than {bytes_max} bytes: send smaller batches"),
        ));
    }
    Ok(out.into())
}
