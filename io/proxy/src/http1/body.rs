//! Bodies: how long they are, and chunked coding.

use bytes::{Buf, Bytes, BytesMut};

use super::Trailers;

/// Longest line of chunk size with extensions.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Most bytes of trailers after the last chunk.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Largest piece handed on at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// How a message's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    Empty,
    /// After so many bytes.
    Bytes(u64),
    /// With a chunk of size zero.
    Chunked,
    /// With the connection (responses only).
    UntilClose,
}

/// What a decoder made of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A piece of the body.
    Piece(Bytes),
    /// Nothing yet: read more.
    More,
    /// The body is complete.
    End,
    /// The framing is wrong.
    Malformed(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Bytes(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers(usize),
    UntilClose,
    End,
}

/// Takes a body out of a connection's buffer, piece by piece.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    trailers: Trailers,
}

impl Decoder {
    pub(crate) fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::Empty | BodyLength::Bytes(0) => State::End,
            BodyLength::Bytes(count) => State::Bytes(count),
            BodyLength::Chunked => State::ChunkSize,
            BodyLength::UntilClose => State::UntilClose,
        };
        Decoder {
            state,
            trailers: Trailers::default(),
        }
    }

    /// The fields after the body, once it has ended.
    pub(crate) fn take_trailers(&mut self) -> Trailers {
        std::mem::take(&mut self.trailers)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Whether the end of the connection ends this body rightly.
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose | State::End)
    }

    /// Takes all of `buffer` as body, if that is what it is, so that it need not be copied: true if
    /// it is to be passed on as it stands.
    pub(crate) fn takes_whole(&mut self, buffer: &BytesMut) -> bool {
        match self.state {
            State::Bytes(left) if buffer.len() as u64 <= left => {
                let left = left - buffer.len() as u64;
                self.state = if left == 0 { State::End } else { State::Bytes(left) };
                true
            }
            State::UntilClose => true,
            _ => false,
        }
    }

    /// The next piece of what `buffer` holds.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Decoded {
        loop {
            match self.state {
                State::End => return Decoded::End,
                State::Bytes(left) => {
                    let Some(piece) = take(buffer, left) else {
                        return Decoded::More;
                    };
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::End } else { State::Bytes(left) };
                    return Decoded::Piece(piece);
                }
                State::UntilClose => {
                    return take(buffer, u64::MAX).map_or(Decoded::More, Decoded::Piece);
                }
                State::ChunkData(left) => {
                    let Some(piece) = take(buffer, left) else {
                        return Decoded::More;
                    };
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::ChunkData(left)
                    };
                    return Decoded::Piece(piece);
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers(_) => match self.decode_line(buffer) {
                    Ok(true) => {}
                    Ok(false) => return Decoded::More,
                    Err(what) => return Decoded::Malformed(what),
                },
            }
        }
    }

    /// Takes one line of the chunked coding; false when it isn't all there.
    fn decode_line(&mut self, buffer: &mut BytesMut) -> Result<bool, &'static str> {
        let limit = match self.state {
            State::Trailers(seen) => TRAILER_BYTES_MAX - seen,
            _ => CHUNK_LINE_BYTES_MAX,
        };
        let Some(end) = memchr::memchr(b'\n', buffer) else {
            return if buffer.len() > limit {
                Err("a line of the chunked coding is too long")
            } else {
                Ok(false)
            };
        };
        if end > limit {
            return Err("a line of the chunked coding is too long");
        }
        if end == 0 || buffer[end - 1] != b'\r' {
            return Err("a bare line feed in the chunked coding");
        }
        let line = &buffer[..end - 1];
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err("a control character in the chunked coding");
        }
        self.state = match self.state {
            State::ChunkSize => match parse_chunk_size(line).ok_or("a chunk size that is no number")? {
                0 => State::Trailers(0),
                size => State::ChunkData(size),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err("a chunk longer than its size"),
            State::Trailers(_) if line.is_empty() => State::End,
            State::Trailers(seen) => {
                self.trailers.read_line(line)?;
                State::Trailers((seen + end + 1).min(TRAILER_BYTES_MAX))
            }
            other => other,
        };
        buffer.advance(end + 1);
        Ok(true)
    }
}

fn take(buffer: &mut BytesMut, at_most: u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let count = usize::try_from(at_most)
        .unwrap_or(usize::MAX)
        .min(buffer.len())
        .min(PIECE_BYTES_MAX);
    Some(buffer.split_to(count).freeze())
}

/// 1 to 15 hex digits, then nothing or `;` and extensions, which mean nothing to us.
fn parse_chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line.get(digits..)?;
    if !(1..=15).contains(&digits) || !(rest.is_empty() || rest[0] == b';') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

/// Appends one chunk.
pub(crate) fn encode_chunk(out: &mut BytesMut, piece: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let len = piece.len();
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.extend_from_slice(&[DIGITS[(len >> (digit * 4)) & 15]]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body.
pub(crate) fn encode_last_chunk(out: &mut BytesMut, trailers: &Trailers) {
    out.extend_from_slice(b"0\r\n");
    trailers.write(out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(length: BodyLength, text: &str, step: usize) -> Result<String, &'static str> {
        let (mut decoder, mut buffer, mut body) = (Decoder::new(length), BytesMut::new(), Vec::new());
        for part in text.as_bytes().chunks(step) {
            buffer.extend_from_slice(part);
            loop {
                match decoder.decode(&mut buffer) {
                    Decoded::Piece(piece) => body.extend_from_slice(&piece),
                    Decoded::More => break,
                    Decoded::End => return Ok(String::from_utf8_lossy(&body).into_owned()),
                    Decoded::Malformed(what) => return Err(what),
                }
            }
        }
        Err("not complete")
    }

    #[test]
    fn bodies_come_out_whatever_the_reads_were() {
        let chunked = "5\r\nhello\r\n00A;name=value\r\n, my world\r\n0\r\nx-sum: 1\r\n\r\n";
        for step in 1..=chunked.len() {
            assert_eq!(
                decode_all(BodyLength::Chunked, chunked, step).as_deref(),
                Ok("hello, my world")
            );
            assert_eq!(
                decode_all(BodyLength::Bytes(5), "hello!", step).as_deref(),
                Ok("hello")
            );
        }
    }

    #[test]
    fn chunk_tricks_are_refused() {
        for bad in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+5\r\n",
            "0x5\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\nhello!\r\n",
            "5\r\nhello\n",
            "10000000000000000\r\n",
            "5;a\rb\r\nhello\r\n",
            "5;a\x01b\r\nhello\r\n",
            "0\r\n folded: 1\r\n\r\n",
            "0\r\nx : 1\r\n\r\n",
            "0\r\nx\r\n\r\n",
            "0\r\nx: a\x00b\r\n\r\n",
            &format!("5;{}\r\n", "x".repeat(300)),
            &format!("0\r\n{}", "x".repeat(9_000)),
        ] {
            assert!(
                !matches!(
                    decode_all(BodyLength::Chunked, bad, 3),
                    Ok(_) | Err("not complete")
                ),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        let mut out = BytesMut::new();
        for piece in ["a".to_owned(), "b".repeat(16), "c".repeat(5_000)] {
            encode_chunk(&mut out, piece.as_bytes());
        }
        encode_last_chunk(&mut out, &Trailers::default());
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.starts_with("1\r\na\r\n10\r\nbb"));
        assert_eq!(
            decode_all(BodyLength::Chunked, &text, 100).map(|body| body.len()),
            Ok(5_017)
        );
    }
}
