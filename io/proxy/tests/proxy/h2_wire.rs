//! HTTP/2 by hand: frames as bytes, and what comes back.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Proxy;
pub(crate) use crate::refusing::frame;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITISED: u8 = 32;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const COMPRESSION_ERROR: u32 = 9;

pub(crate) const PLAIN: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "x"),
];

/// A header block in HPACK, every field a literal (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// A request with these fields, and no body.
pub(crate) fn request(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))
}

/// The head of a POST whose body follows.
pub(crate) fn post(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = PLAIN.to_vec();
    (fields[0].1, fields[2].1) = ("POST", path);
    fields.extend_from_slice(more);
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
}

/// One frame that came back.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or RST_STREAM.
    pub(crate) fn code(&self) -> Option<u32> {
        let bytes = match self.kind {
            GOAWAY => self.payload.get(4..8)?,
            RST_STREAM => self.payload.get(..4)?,
            _ => return None,
        };
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    pub(crate) fn ends(&self, stream: u32) -> bool {
        self.stream == stream && matches!(self.kind, HEADERS | DATA) && self.flags & END_STREAM != 0
    }
}

/// A connection after the preface and both sides' settings.
pub(crate) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    /// Connects and says `settings`.
    pub(crate) async fn open(proxy: &Proxy, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, settings));
        stream.write_all(&bytes).await.unwrap();
        Wire {
            stream,
            input: Vec::new(),
        }
    }

    /// The same, after the settings were acknowledged.
    pub(crate) async fn settled(proxy: &Proxy, settings: &[u8]) -> Self {
        let mut wire = Wire::open(proxy, settings).await;
        loop {
            let frame = wire.next().await.unwrap();
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                wire.send(&crate::refusing::frame(SETTINGS, ACK, 0, &[])).await;
            } else if frame.kind == SETTINGS {
                return wire;
            }
        }
    }

    /// Sends bytes; a connection that was closed on them is for the next read to notice.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _cut_off = self.stream.write_all(bytes).await;
    }

    /// The next frame; none at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let reading = async {
            loop {
                if let Some(head) = self.input.get(..9) {
                    let length =
                        usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                    if self.input.len() >= 9 + length {
                        let bytes: Vec<u8> = self.input.drain(..9 + length).collect();
                        return Some(Frame {
                            kind: bytes[3],
                            flags: bytes[4],
                            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
                            payload: bytes[9..].to_vec(),
                        });
                    }
                }
                if !matches!(self.stream.read_buf(&mut self.input).await, Ok(1..)) {
                    return None;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .expect("neither a frame nor an end")
    }

    /// The first frame that `wanted` says is one.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// The code with which a stream or the whole connection failed; none if the stream was answered to
    /// its end, zero if the connection ended without a word.
    pub(crate) async fn failure(&mut self, stream: u32) -> Option<u32> {
        loop {
            let Some(frame) = self.next().await else {
                return Some(0);
            };
            if frame.kind == GOAWAY || (frame.kind == RST_STREAM && frame.stream == stream) {
                return frame.code();
            }
            if frame.ends(stream) {
                return None;
            }
        }
    }
}
