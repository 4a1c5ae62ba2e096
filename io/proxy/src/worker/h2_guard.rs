//! HTTP/2 frames from a client, looked at before hyper gets them, one at a time: RFC 9113 says with
//! which code a connection fails, and hyper's codec says PROTOCOL_ERROR for most of it.

mod names;

use std::collections::BTreeSet;

use names::{has_malformed_name, names_pseudo};

/// First bytes of a client that speaks HTTP/2 (§3.4).
const PREFACE_BYTES: usize = 24;
const FRAME_HEAD: usize = 9;
/// Largest payload that clients were allowed.
const PAYLOAD_BYTES_MAX: usize = 16_384;
/// Longest header block remembered; hyper refuses longer ones by another code.
const BLOCK_BYTES_MAX: usize = 128 * 1024;
/// Streams remembered as not ended; of more the oldest are taken for closed.
const OPEN_MAX: usize = 1_024;
/// Gaps between the numbers of streams that are remembered; who leaves more is not told them apart.
const GAPS_MAX: usize = 32;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 32;

const SETTING_WINDOW: u16 = 4;
const WINDOW_MAX: u32 = 0x7fff_ffff;

/// Why a connection fails (§7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Protocol = 1,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    Compression = 9,
}

/// One client's connection.
#[derive(Debug)]
pub(super) struct Guard {
    began: bool,
    /// Bytes that may be handed on before the next frame is looked at.
    approved: usize,
    /// The highest stream that the client has opened.
    last_stream: u32,
    /// Streams whose end the client has not sent.
    open: BTreeSet<u32>,
    /// Numbers that were left out.
    gaps: Vec<(u32, u32)>,
    /// The stream whose head goes on in the next frame, and whether that ends the stream.
    continued: Option<(u32, bool)>,
    /// The latest frame ended a head that only its decoder can refuse.
    after_head: bool,
    /// The latest header block.
    block: Vec<u8>,
}

/// A frame's first nine bytes.
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEAD)?;
        let stream = [bytes[5], bytes[6], bytes[7], bytes[8]];
        Some(Head {
            length: usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]),
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(stream) & WINDOW_MAX,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Guard {
    pub(super) fn new() -> Self {
        Guard {
            began: false,
            approved: 0,
            last_stream: 0,
            open: BTreeSet::new(),
            gaps: Vec::new(),
            continued: None,
            after_head: false,
            block: Vec::new(),
        }
    }

    /// How many of the bytes at hand may be handed on now, at most to the end of one frame; none while
    /// more must be read.
    pub(super) fn admit(&mut self, input: &[u8]) -> Result<usize, Code> {
        if self.approved == 0 {
            self.approved = self.next(input)?;
        }
        Ok(self.approved.min(input.len()))
    }

    /// Notes that so many bytes were handed on.
    pub(super) fn handed(&mut self, count: usize) {
        self.approved -= count;
    }

    /// The highest stream that the client has opened.
    pub(super) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// The code of a failure that hyper calls by another: a head that was in order as a frame and is
    /// refused all the same could not be decoded (§4.3), unless a name in it may not be (§8.2).
    pub(super) fn code_of(&self, code: u32) -> u32 {
        if code == Code::Protocol as u32 && self.after_head && !has_malformed_name(&self.block) {
            return Code::Compression as u32;
        }
        code
    }

    fn next(&mut self, input: &[u8]) -> Result<usize, Code> {
        if !std::mem::replace(&mut self.began, true) {
            return Ok(PREFACE_BYTES);
        }
        let Some(head) = Head::read(input) else {
            return Ok(0);
        };
        let whole = FRAME_HEAD + head.length;
        if head.length > PAYLOAD_BYTES_MAX {
            return Err(Code::FrameSize);
        }
        let is_known = matches!(head.kind, HEADERS..=CONTINUATION);
        if is_known && input.len() < whole {
            return Ok(0);
        }
        self.check(&head, input.get(FRAME_HEAD..whole).unwrap_or_default())?;
        Ok(whole)
    }

    fn check(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        self.after_head = false;
        if let Some((stream, ends)) = self.continued {
            // §6.10: one block, nothing in between.
            if head.kind != CONTINUATION || head.stream != stream {
                return Err(Code::Protocol);
            }
            self.block.extend_from_slice(payload);
            if self.block.len() > BLOCK_BYTES_MAX {
                self.block.clear();
            }
            if head.has(END_HEADERS) {
                self.end_head(stream, ends);
            }
            return Ok(());
        }
        let fits = match head.kind {
            PRIORITY => head.length == 5,
            RST_STREAM | WINDOW_UPDATE => head.length == 4,
            SETTINGS if head.has(ACK) => head.length == 0,
            SETTINGS => head.length.is_multiple_of(6),
            PING => head.length == 8,
            GOAWAY => head.length >= 8,
            _ => true,
        };
        if !fits {
            return Err(Code::FrameSize);
        }
        match head.kind {
            DATA => self.check_data(head),
            HEADERS => self.check_headers(head, payload),
            CONTINUATION => Err(Code::Protocol),
            RST_STREAM => {
                self.open.remove(&head.stream);
                Ok(())
            }
            SETTINGS => check_settings(payload),
            _ => Ok(()),
        }
    }

    fn check_data(&mut self, head: &Head) -> Result<(), Code> {
        if head.stream == 0 || head.stream > self.last_stream {
            return Err(Code::Protocol);
        }
        if !self.open.contains(&head.stream) {
            return Err(Code::StreamClosed);
        }
        if head.has(END_STREAM) {
            self.open.remove(&head.stream);
        }
        Ok(())
    }

    fn check_headers(&mut self, head: &Head, payload: &[u8]) -> Result<(), Code> {
        let stream = head.stream;
        if stream.is_multiple_of(2) {
            return Err(Code::Protocol);
        }
        let block = block_of(head, payload)?;
        self.block.clear();
        self.block.extend_from_slice(block);
        let ends = head.has(END_STREAM);
        if stream > self.last_stream {
            if stream > self.last_stream + 2 && self.gaps.len() < GAPS_MAX {
                self.gaps.push((self.last_stream + 1, stream - 1));
            }
            self.last_stream = stream;
            self.open.insert(stream);
            if self.open.len() > OPEN_MAX {
                self.open.pop_first();
            }
        } else if !self.open.contains(&stream) {
            // §5.1.1: a number that was left out cannot be used any more.
            let was_left_out = self.gaps.iter().any(|(from, to)| (*from..=*to).contains(&stream));
            return Err(if was_left_out {
                Code::Protocol
            } else {
                Code::StreamClosed
            });
        } else if !ends || names_pseudo(block) {
            // §8.1: a second head is the request's end, and says nothing of the request itself.
            return Err(Code::Protocol);
        }
        if head.has(END_HEADERS) {
            self.end_head(stream, ends);
        } else {
            self.continued = Some((stream, ends));
        }
        Ok(())
    }

    fn end_head(&mut self, stream: u32, ends: bool) {
        self.continued = None;
        self.after_head = true;
        if ends {
            self.open.remove(&stream);
        }
    }
}

fn check_settings(payload: &[u8]) -> Result<(), Code> {
    for setting in payload.chunks_exact(6) {
        let id = u16::from_be_bytes([setting[0], setting[1]]);
        let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
        if id == SETTING_WINDOW && value > WINDOW_MAX {
            return Err(Code::FlowControl);
        }
    }
    Ok(())
}

/// The header block within a HEADERS frame.
fn block_of<'a>(head: &Head, mut payload: &'a [u8]) -> Result<&'a [u8], Code> {
    let mut padding = 0;
    if head.has(PADDED) {
        let (first, rest) = payload.split_first().ok_or(Code::FrameSize)?;
        (padding, payload) = (usize::from(*first), rest);
    }
    if head.has(PRIORITISED) {
        let (priority, rest) = payload.split_at_checked(5).ok_or(Code::FrameSize)?;
        let parent = u32::from_be_bytes([priority[0], priority[1], priority[2], priority[3]]) & WINDOW_MAX;
        if parent == head.stream {
            return Err(Code::Protocol);
        }
        payload = rest;
    }
    let end = payload.len().checked_sub(padding).ok_or(Code::Protocol)?;
    Ok(&payload[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// What is admitted of bytes that come `step` at a time.
    fn admitted(bytes: &[u8], step: usize) -> Result<usize, Code> {
        let (mut guard, mut at, mut total) = (Guard::new(), 0, 0);
        while at < bytes.len() {
            at = (at + step).min(bytes.len());
            loop {
                let count = guard.admit(&bytes[total..at])?;
                if count == 0 {
                    break;
                }
                guard.handed(count);
                total += count;
            }
        }
        Ok(total)
    }

    #[test]
    fn whole_frames_pass_whatever_the_reads_were() {
        let bytes = [
            &[b'x'; PREFACE_BYTES][..],
            &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0]),
            &frame(HEADERS, 0, 1, &[0x82]),
            &frame(CONTINUATION, END_HEADERS, 1, &[0x84]),
            &frame(DATA, 0, 1, &[7; 5_000]),
            &frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 1, b'x', 1, b'y']),
            &frame(0x20, 0, 9, &[1; 300]),
            &frame(HEADERS, 5, 3, &[0x82]),
        ]
        .concat();
        for step in [1, 7, 100, bytes.len()] {
            assert_eq!(admitted(&bytes, step), Ok(bytes.len()), "{step}");
        }
    }
}
