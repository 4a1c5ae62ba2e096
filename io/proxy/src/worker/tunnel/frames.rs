//! Where a WebSocket stream is between frames (RFC 6455 §5.2): only there may a frame be added.

/// An unmasked close frame with status 1001 (going away), as a server sends it.
pub(super) const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

const OPCODE_CLOSE: u8 = 8;
/// Two bytes, up to eight of length, up to four of mask.
const HEADER_BYTES_MAX: usize = 14;

/// Follows one direction of a stream, frame by frame.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// Bytes of the payload still to come.
    payload_left: u64,
    closes: bool,
    has_closed: bool,
}

impl Cursor {
    /// Whether the next byte begins a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0
    }

    /// Whether a whole close frame has passed.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Follows all of `bytes`.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Follows `bytes` to the end of the frame under way, if any; how many bytes that is.
    pub(super) fn finish_frame(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_between_frames() {
            taken += self.step(&bytes[taken..]);
        }
        taken
    }

    /// Takes a byte of the header, or payload up to the frame's end.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.payload_left > 0 {
            let taken = usize::try_from(self.payload_left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.payload_left -= taken as u64;
            self.end_if_over();
            return taken;
        }
        self.header[self.header_len] = bytes[0];
        self.header_len += 1;
        if self.header_len >= 2 && self.header_len == self.header_size() {
            self.closes = self.header[0] & 0x0f == OPCODE_CLOSE;
            self.payload_left = self.payload_size();
            self.header_len = 0;
            self.end_if_over();
        }
        1
    }

    fn end_if_over(&mut self) {
        if self.payload_left == 0 {
            self.has_closed |= self.closes;
        }
    }

    fn length_size(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn header_size(&self) -> usize {
        2 + self.length_size() + if self.header[1] & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload_size(&self) -> u64 {
        match self.length_size() {
            0 => u64::from(self.header[1] & 0x7f),
            size => self.header[2..2 + size]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, size: usize, masked: bool) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
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

    #[test]
    fn frames_end_where_they_end_whatever_the_reads_were() {
        for masked in [false, true] {
            for size in [0, 1, 125, 126, 4_000, 65_535, 65_536] {
                let bytes = frame(1, size, masked);
                for step in [1, 3, 100_000] {
                    let mut cursor = Cursor::default();
                    for part in bytes[..bytes.len() - 1].chunks(step) {
                        cursor.advance(part);
                        assert!(!cursor.is_between_frames(), "{size} {masked}");
                    }
                    let rest = [&bytes[bytes.len() - 1..], &[0x81][..]].concat();
                    assert_eq!(cursor.finish_frame(&rest), 1);
                    assert!(cursor.is_between_frames() && !cursor.has_closed());
                }
            }
        }
        let mut cursor = Cursor::default();
        let bytes = [frame(2, 300, true), frame(8, 2, true)].concat();
        cursor.advance(&bytes[..bytes.len() - 1]);
        assert!(!cursor.has_closed());
        cursor.advance(&bytes[bytes.len() - 1..]);
        assert!(cursor.has_closed());
        let mut cursor = Cursor::default();
        cursor.advance(&GOING_AWAY);
        assert!(cursor.has_closed() && cursor.is_between_frames());
    }
}
