//! A container's output: frames of the engine into lines.

use bytes::{Buf, Bytes, BytesMut};
use jiff::Timestamp as Moment;
use trimtab_child::Masker;
use trimtab_model::Timestamp;
use trimtab_runtime::{LINE_BYTES_MAX, LogLine, LogStreamKind};

/// Takes frames apart: a byte for the stream, three zeros, the length, then the text.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// Bytes of a frame beyond the limit that are still to come.
    skip: usize,
}

impl Frames {
    pub(crate) fn feed(&mut self, piece: &Bytes) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole frame. The engine cuts lines at 16 KiB, so that longer ones come in several.
    pub(crate) fn next(&mut self) -> Option<(LogStreamKind, Bytes)> {
        let gone = self.skip.min(self.buffer.len());
        self.buffer.advance(gone);
        self.skip -= gone;
        let header: [u8; 8] = self.buffer.get(..8)?.try_into().ok()?;
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let kept = length.min(LINE_BYTES_MAX);
        if self.buffer.len() < 8 + kept {
            return None;
        }
        self.buffer.advance(8);
        let text = self.buffer.split_to(kept).freeze();
        self.skip = length - kept;
        let stream = if header[0] == 2 {
            LogStreamKind::Stderr
        } else {
            LogStreamKind::Stdout
        };
        Some((stream, text))
    }
}

/// A frame with the engine's time in front as a line. Its offset is that time in nanoseconds: it grows as bytes do, and
/// is good over restarts of both sides.
pub(crate) fn line(stream: LogStreamKind, text: &[u8], masker: &Masker) -> Option<LogLine> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let space = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let moment: Moment = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let offset = u64::try_from(moment.as_nanosecond()).ok()?;
    let said = text.get(space + 1..).unwrap_or_default();
    Some(LogLine {
        offset,
        next_offset: offset + 1,
        stream,
        at: Timestamp(moment.as_millisecond()),
        text: masker.mask(said, false),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend_from_slice(text);
        frame
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut sent = frame(1, b"one");
        sent.extend(frame(2, b"two"));
        sent.extend(frame(1, &vec![b'x'; LINE_BYTES_MAX + 10]));
        sent.extend(frame(1, b"four"));
        for size in [1, 7, 8, 1000, sent.len()] {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for piece in sent.chunks(size) {
                frames.feed(&Bytes::copy_from_slice(piece));
                while let Some(frame) = frames.next() {
                    got.push(frame);
                }
            }
            assert_eq!(got.len(), 4);
            assert_eq!(got[0], (LogStreamKind::Stdout, Bytes::from_static(b"one")));
            assert_eq!(got[1], (LogStreamKind::Stderr, Bytes::from_static(b"two")));
            assert_eq!(got[2].1.len(), LINE_BYTES_MAX, "what is over is left out");
            assert_eq!(got[3].1, Bytes::from_static(b"four"));
        }
    }

    #[test]
    fn a_line_has_its_time_and_no_secret() {
        let masker = Masker::new(&["hunter22".to_owned()]);
        let text = b"2026-11-25T03:07:33.171191545Z key is hunter22\r\n";
        let line = line(LogStreamKind::Stdout, text, &masker).unwrap();
        assert_eq!((line.text.as_str(), line.at.0), ("key is ***", 1_795_576_053_171));
        assert_eq!(line.offset, 1_795_576_053_171_191_545);
        let empty = super::line(LogStreamKind::Stdout, b"2026-11-25T03:07:33Z", &masker);
        assert_eq!(empty.unwrap().text, "");
        assert_eq!(super::line(LogStreamKind::Stdout, b"no time", &masker), None);
    }
}
