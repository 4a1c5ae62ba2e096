//! Bytes become lines of bounded length.

use std::io::BufRead;

use crate::LINE_BYTES_MAX;

/// Collects bytes to lines. Of a line longer than [`LINE_BYTES_MAX`] the beginning is kept and the rest counted, so memory
/// stays the same however long it is.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    held: Vec<u8>,
    cut_bytes: u64,
}

impl LineSplitter {
    /// Takes bytes and calls `emit(line, cut bytes)` for each line that ends in them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8], u64)) {
        while !bytes.is_empty() {
            let all = bytes;
            // Reading from a slice doesn't fail.
            let length = bytes.skip_until(b'\n').unwrap_or(all.len());
            match all[..length].strip_suffix(b"\n") {
                Some(line) if self.held.is_empty() && self.cut_bytes == 0 && line.len() <= LINE_BYTES_MAX => {
                    emit(line, 0)
                }
                Some(line) => {
                    self.hold(line);
                    self.finish(&mut emit);
                }
                None => self.hold(&all[..length]),
            }
        }
    }

    /// Emits what has no line end yet.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(&[u8], u64)) {
        if !self.held.is_empty() || self.cut_bytes > 0 {
            emit(&self.held, self.cut_bytes);
        }
        self.held.clear();
        self.cut_bytes = 0;
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.held.len();
        let kept = bytes.len().min(room);
        self.held.extend_from_slice(&bytes[..kept]);
        self.cut_bytes += (bytes.len() - kept) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, u64)> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        let mut emit = |line: &[u8], cut| lines.push((line.to_vec(), cut));
        for chunk in chunks {
            splitter.feed(chunk, &mut emit);
        }
        splitter.finish(&mut emit);
        lines
    }

    #[test]
    fn lines_join_over_chunks() {
        let lines = split(&[b"a\nb", b"", b"c\n\n", b"\xff\0end"]);
        let text: Vec<&[u8]> = lines.iter().map(|(line, _)| line.as_slice()).collect();
        assert_eq!(text, [b"a".as_slice(), b"bc", b"", b"\xff\0end"]);
    }

    #[test]
    fn long_lines_are_cut_and_counted() {
        let chunk = vec![b'x'; 50_000];
        let lines = split(&[&chunk, &chunk, &chunk, b"\nnext\n"]);
        assert_eq!(lines[0].0.len(), LINE_BYTES_MAX);
        assert_eq!(lines[0].1, 150_000 - LINE_BYTES_MAX as u64);
        assert_eq!(lines[1], (b"next".to_vec(), 0));
        let whole = [vec![b'y'; LINE_BYTES_MAX + 1], b"\n".to_vec()].concat();
        assert_eq!(split(&[&whole])[0].1, 1);
        assert_eq!(split(&[&whole[1..]])[0], (vec![b'y'; LINE_BYTES_MAX], 0));
    }
}
