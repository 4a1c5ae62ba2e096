//! Where a WebSocket stream is between frames (RFC 6455 §5.2): only there may a frame be added. Each
//! frame's head is held to the standard: what one reader takes for the end of a frame and another for
//! its middle would be a way past whoever looks at it.

/// An unmasked close frame with status 1001 (going away), as a server sends it.
pub(super) const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// The same with status 1002 (protocol error), and as a client sends it, masked.
pub(super) const BROKEN: [u8; 4] = [0x88, 0x02, 0x03, 0xea];
pub(super) const BROKEN_MASKED: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xea];

const OPCODE_CONTINUATION: u8 = 0;
const OPCODE_TEXT: u8 = 1;
const OPCODE_BINARY: u8 = 2;
const OPCODE_CLOSE: u8 = 8;
const OPCODE_PONG: u8 = 10;
/// Largest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;

/// Follows one direction of a stream, frame by frame.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Clients mask what they send, servers do not.
    masks: bool,
    /// An extension was agreed on: reserved bits mean something.
    extended: bool,
    /// Bytes of the payload still to come.
    payload_left: u64,
    /// A message goes on in the next data frame.
    in_message: bool,
    closes: bool,
    has_closed: bool,
    is_broken: bool,
}

impl Cursor {
    pub(super) fn new(masks: bool, extended: bool) -> Self {
        Cursor {
            masks,
            extended,
            payload_left: 0,
            in_message: false,
            closes: false,
            has_closed: false,
            is_broken: false,
        }
    }

    /// Whether the next byte begins a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.payload_left == 0
    }

    /// Whether a whole close frame has passed.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Whether a frame began that may not be.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Follows `bytes`; how many of them may pass. A head that is not all there waits for the rest, what
    /// comes after a close frame or a broken head never passes.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut taken = self.finish_frame(bytes);
        while self.payload_left == 0 && !self.has_closed && !self.is_broken {
            let Some(head) = self.read_head(&bytes[taken..]) else {
                break;
            };
            taken += head;
            taken += self.finish_frame(&bytes[taken..]);
        }
        taken
    }

    /// Follows `bytes` to the end of the frame under way, if any; how many bytes that is.
    pub(super) fn finish_frame(&mut self, bytes: &[u8]) -> usize {
        let taken = usize::try_from(self.payload_left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.payload_left -= taken as u64;
        self.has_closed |= self.closes && self.payload_left == 0;
        taken
    }

    /// Reads a frame's head, and goes into its payload; how long the head is. None while it is not all
    /// there, or if it is wrong.
    fn read_head(&mut self, bytes: &[u8]) -> Option<usize> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (is_final, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let is_masked = second & 0x80 != 0;
        let (length_bytes, smallest) = match second & 0x7f {
            126 => (2, 126),
            127 => (8, 65_536),
            _ => (0, 0),
        };
        let size = 2 + length_bytes + if is_masked { 4 } else { 0 };
        let length = match length_bytes {
            0 => u64::from(second & 0x7f),
            count => {
                let digits = bytes.get(2..2 + count)?;
                digits.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
            }
        };
        let is_control = opcode >= OPCODE_CLOSE;
        let fits = match opcode {
            OPCODE_CONTINUATION => self.in_message,
            OPCODE_TEXT..=OPCODE_BINARY => !self.in_message,
            OPCODE_CLOSE..=OPCODE_PONG => is_final && length <= CONTROL_BYTES_MAX,
            _ => false,
        };
        // A close frame's payload is a status of two bytes and words, or nothing.
        let fits = fits
            && is_masked == self.masks
            && (reserved == 0 || self.extended)
            && (length >= smallest && length >> 63 == 0)
            && (opcode != OPCODE_CLOSE || length != 1);
        if !fits {
            self.is_broken = true;
            return None;
        }
        if bytes.len() < size {
            return None;
        }
        if !is_control {
            self.in_message = !is_final;
        }
        self.closes = opcode == OPCODE_CLOSE;
        self.payload_left = length;
        Some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, size: usize, masked: bool) -> Vec<u8> {
        let mut bytes = vec![first];
        let mask = if masked { 0x80 } else { 0 };
        match size {
            0..126 => bytes.push(mask | size as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((size as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((size as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0x88; size + if masked { 4 } else { 0 }]);
        bytes
    }

    /// What passes of bytes that come `step` at a time.
    fn passes(cursor: &mut Cursor, bytes: &[u8], step: usize) -> usize {
        let (mut held, mut passed) = (Vec::new(), 0);
        for part in bytes.chunks(step) {
            held.extend_from_slice(part);
            let count = cursor.advance(&held);
            held.drain(..count);
            passed += count;
        }
        passed
    }

    #[test]
    fn frames_end_where_they_end_whatever_the_reads_were() {
        for masked in [false, true] {
            for size in [0, 1, 125, 126, 4_000, 65_535, 65_536] {
                let bytes = frame(0x81, size, masked);
                for step in [1, 3, 100_000] {
                    let mut cursor = Cursor::new(masked, false);
                    let before = passes(&mut cursor, &bytes[..bytes.len() - 1], step);
                    if size > 0 {
                        assert!(!cursor.is_between_frames(), "{size} {masked}");
                        assert_eq!(before, bytes.len() - 1);
                        let rest = [&bytes[bytes.len() - 1..], &[0x81][..]].concat();
                        assert_eq!(cursor.finish_frame(&rest), 1);
                    }
                    assert!(cursor.is_between_frames() && !cursor.has_closed() && !cursor.is_broken());
                }
            }
        }
        let mut cursor = Cursor::new(true, false);
        let bytes = [frame(0x82, 300, true), frame(0x88, 2, true)].concat();
        assert_eq!(cursor.advance(&bytes[..bytes.len() - 1]), bytes.len() - 1);
        assert!(!cursor.has_closed());
        cursor.advance(&bytes[bytes.len() - 1..]);
        assert!(cursor.has_closed());
        assert_eq!(
            cursor.advance(&frame(0x81, 1, true)),
            0,
            "nothing follows a close frame"
        );
        let mut cursor = Cursor::new(false, false);
        cursor.advance(&GOING_AWAY);
        assert!(cursor.has_closed() && cursor.is_between_frames());
        let mut cursor = Cursor::new(true, false);
        cursor.advance(&BROKEN_MASKED);
        assert!(cursor.has_closed());
    }

    #[test]
    fn frames_that_may_not_be_pass_no_further() {
        let good = frame(0x81, 5, true);
        let open = frame(0x01, 5, true);
        for (what, before, wrong) in [
            ("unmasked", &[][..], frame(0x81, 5, false)),
            ("reserved bit", &[], frame(0xc1, 5, true)),
            ("reserved opcode", &[], frame(0x83, 5, true)),
            ("reserved control opcode", &[], frame(0x8b, 5, true)),
            ("control in pieces", &[], frame(0x09, 5, true)),
            ("large control", &[], frame(0x89, 126, true)),
            ("close of one byte", &[], frame(0x88, 1, true)),
            ("continuation of nothing", &[], frame(0x80, 5, true)),
            ("a message in a message", &open, frame(0x81, 5, true)),
            (
                "length longer than needed",
                &[],
                vec![0x81, 0xfe, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5],
            ),
            (
                "length beyond all",
                &[],
                vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            ),
        ] {
            let bytes = [&good[..], before, &wrong].concat();
            for step in [1, 4, 1_000] {
                let mut cursor = Cursor::new(true, false);
                let passed = passes(&mut cursor, &bytes, step);
                assert!(cursor.is_broken(), "{what}");
                assert_eq!(passed, good.len() + before.len(), "{what}");
            }
        }
        let mut extended = Cursor::new(true, true);
        let pieces = [
            frame(0x41, 5, true),
            frame(0x89, 5, true),
            frame(0x80, 5, true),
            good,
        ]
        .concat();
        assert_eq!(extended.advance(&pieces), pieces.len());
        assert!(!extended.is_broken());
    }
}
