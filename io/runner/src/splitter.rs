//! Bytes become lines of bounded length.

use std::io::BufRead;

use crate::LINE_BYTES_MAX;

/// Collects bytes to lines. Of a line longer than [`LINE_BYTES_MAX`] the beginning is kept and the rest counted.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    held: Vec<u8>,
    cut_bytes: u64,
}

impl LineSplitter {
    /// Takes bytes and hands back the lines that end in them, each with its number of cut bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Vec<(Vec<u8>, u64)> {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let all = bytes;
            // Reading from a slice doesn't fail.
            let length = bytes.skip_until(b'\n').unwrap_or(all.len());
            let part = &all[..length];
            match part.strip_suffix(b"\n") {
                Some(line) => {
                    self.hold(line);
                    lines.push((
                        std::mem::take(&mut self.held),
                        std::mem::take(&mut self.cut_bytes),
                    ));
                }
                None => self.hold(part),
            }
        }
        lines
    }

    /// What has no line end yet.
    pub(crate) fn finish(&mut self) -> Option<(Vec<u8>, u64)> {
        let some = !self.held.is_empty() || self.cut_bytes > 0;
        some.then(|| {
            (
                std::mem::take(&mut self.held),
                std::mem::take(&mut self.cut_bytes),
            )
        })
    }

    fn hold(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(LINE_BYTES_MAX - self.held.len());
        self.held.extend_from_slice(&bytes[..kept]);
        self.cut_bytes += (bytes.len() - kept) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_join_over_chunks_and_long_ones_are_cut() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.feed(b"a\n\nb"), [(b"a".to_vec(), 0), (Vec::new(), 0)]);
        assert_eq!(splitter.feed(b"c\n"), [(b"bc".to_vec(), 0)]);
        assert_eq!(splitter.finish(), None);
        assert!(splitter.feed(&vec![b'x'; LINE_BYTES_MAX]).is_empty());
        assert!(splitter.feed(b"1234").is_empty());
        assert_eq!(splitter.finish(), Some((vec![b'x'; LINE_BYTES_MAX], 4)));
        assert_eq!(splitter.feed(b"y\n"), [(b"y".to_vec(), 0)]);
    }
}
