//! One frame is one group commit: it is synced before the next is begun. So a bad frame with a good
//! one after it is damage, and a bad frame at the very end is only the torn end of a crash.
//!
//! ```text
//! 0   magic         4 bytes  "TTWF"
//! 4   sequence      u64      counts frames over the life of the log
//! 12  payload bytes u32
//! 16  payload crc   u32      CRC-32 (IEEE)
//! 20  header crc    u32      CRC-32 of bytes 0 to 20
//! 24  payload                entries: u32 length, bytes
//! ```
//! All integers are little-endian.

pub(crate) const FRAME_HEADER_BYTES: usize = 24;
const MAGIC: &[u8; 4] = b"TTWF";

/// A frame within a segment's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    pub(crate) payload: &'a [u8],
    /// Bytes with header.
    pub(crate) length: usize,
}

/// Starts a frame in `buffer`: entries follow by [`push_entry`], then [`seal`].
pub(crate) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(FRAME_HEADER_BYTES, 0);
}

pub(crate) fn push_entry(buffer: &mut Vec<u8>, entry: &[u8]) {
    buffer.extend_from_slice(&(entry.len() as u32).to_le_bytes());
    buffer.extend_from_slice(entry);
}

pub(crate) fn seal(buffer: &mut [u8], sequence: u64) {
    let payload_crc = crc32fast::hash(&buffer[FRAME_HEADER_BYTES..]);
    let payload_bytes = (buffer.len() - FRAME_HEADER_BYTES) as u32;
    buffer[..4].copy_from_slice(MAGIC);
    buffer[4..12].copy_from_slice(&sequence.to_le_bytes());
    buffer[12..16].copy_from_slice(&payload_bytes.to_le_bytes());
    buffer[16..20].copy_from_slice(&payload_crc.to_le_bytes());
    let header_crc = crc32fast::hash(&buffer[..20]);
    buffer[20..24].copy_from_slice(&header_crc.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The frame at the beginning of `bytes`, or what is wrong with it.
pub(crate) fn read(bytes: &[u8]) -> Result<Frame<'_>, &'static str> {
    let Some(header) = bytes.get(..FRAME_HEADER_BYTES) else {
        return Err("a frame header is cut short");
    };
    if &header[..4] != MAGIC {
        return Err("no frame begins here");
    }
    if u32_at(header, 20) != Some(crc32fast::hash(&header[..20])) {
        return Err("a frame header has a wrong checksum");
    }
    let sequence = u64::from_le_bytes(header[4..12].try_into().map_err(|_| "no sequence")?);
    let length = u32_at(header, 12).ok_or("no length")? as usize;
    let Some(payload) = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length) else {
        return Err("a frame is cut short");
    };
    if u32_at(header, 16) != Some(crc32fast::hash(payload)) {
        return Err("a frame has a wrong checksum");
    }
    Ok(Frame {
        sequence,
        payload,
        length: FRAME_HEADER_BYTES + length,
    })
}

/// Where, at or after the beginning of `bytes`, a whole good frame lies.
pub(crate) fn find(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        if bytes[at..].starts_with(MAGIC) && read(&bytes[at..]).is_ok() {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The entries of a frame's payload; the checksum has vouched for the lengths.
pub(crate) fn entries(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let entry = rest.get(4..4 + length)?;
        rest = &rest[4 + length..];
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(entries: &[Vec<u8>], sequence: u64) -> Vec<u8> {
        let mut buffer = Vec::new();
        begin(&mut buffer);
        for entry in entries {
            push_entry(&mut buffer, entry);
        }
        seal(&mut buffer, sequence);
        buffer
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), sequence: u64) {
            let bytes = frame(&lines, sequence);
            let read = read(&bytes).map_err(TestCaseError::fail)?;
            prop_assert_eq!(read.sequence, sequence);
            prop_assert_eq!(read.length, bytes.len());
            prop_assert_eq!(entries(read.payload).map(<[u8]>::to_vec).collect::<Vec<_>>(), lines);
        }

        #[test]
        fn a_changed_bit_or_a_cut_is_noticed(entry in prop::collection::vec(any::<u8>(), 0..40), bit: prop::sample::Index, cut: prop::sample::Index) {
            let good = frame(&[entry], 7);
            let mut changed = good.clone();
            let bit = bit.index(good.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&changed).is_err());
            prop_assert!(read(&good[..cut.index(good.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = find(&bytes);
            let _ = entries(&bytes).count();
        }
    }
}
