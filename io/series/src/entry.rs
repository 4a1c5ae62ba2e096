//! How samples lie in the write-ahead log.
//!
//! ```text
//! u8 version (1), then zstd of:
//!   u32 series; each: u16 labels; each: u16 length, name, u16 length, value
//!   u32 samples; each: u32 number of its series, i64 milliseconds, u64 bits of the value
//! ```

use std::collections::HashMap;

use trimtab_telemetry::{Labels, Sample};

const VERSION: u8 = 1;
/// Fast rather than small: the log lives for minutes.
const ZSTD_LEVEL: i32 = 1;

pub(crate) fn encode(samples: &[Sample]) -> std::io::Result<Vec<u8>> {
    let mut numbers: HashMap<&Labels, u32> = HashMap::new();
    let mut order = Vec::new();
    let mut rows = Vec::with_capacity(samples.len() * 20);
    for sample in samples {
        let number = *numbers.entry(&sample.labels).or_insert_with(|| {
            order.push(&sample.labels);
            (order.len() - 1) as u32
        });
        rows.extend_from_slice(&number.to_le_bytes());
        rows.extend_from_slice(&sample.at_ms.to_le_bytes());
        rows.extend_from_slice(&sample.value.to_bits().to_le_bytes());
    }
    let mut plain = Vec::with_capacity(rows.len() + order.len() * 100);
    plain.extend_from_slice(&(order.len() as u32).to_le_bytes());
    for labels in order {
        put_labels(&mut plain, labels);
    }
    plain.extend_from_slice(&(samples.len() as u32).to_le_bytes());
    plain.extend_from_slice(&rows);
    let mut entry = vec![VERSION];
    entry.extend_from_slice(&zstd::bulk::compress(&plain, ZSTD_LEVEL)?);
    Ok(entry)
}

/// The samples of an entry, or what is wrong with it.
pub(crate) fn decode(entry: &[u8]) -> Result<Vec<Sample>, String> {
    let (version, body) = entry.split_first().ok_or("an empty entry")?;
    if *version != VERSION {
        return Err(format!(
            "an entry of version {version}; this program knows {VERSION}"
        ));
    }
    let plain =
        zstd::stream::decode_all(body).map_err(|error| format!("an entry that zstd cannot read: {error}"))?;
    let mut reader = Reader(&plain);
    decode_plain(&mut reader).ok_or_else(|| "an entry that ends too early".to_owned())
}

fn decode_plain(reader: &mut Reader<'_>) -> Option<Vec<Sample>> {
    let mut all = Vec::new();
    for _ in 0..reader.u32()? {
        all.push(reader.labels()?);
    }
    let mut samples = Vec::new();
    for _ in 0..reader.u32()? {
        samples.push(Sample {
            labels: all.get(reader.u32()? as usize)?.clone(),
            at_ms: reader.u64()? as i64,
            value: f64::from_bits(reader.u64()?),
        });
    }
    Some(samples)
}

/// Adds labels as a count and length-prefixed pairs; lengths are cut to what fits (the limits on
/// labels are far below).
pub(crate) fn put_labels(into: &mut Vec<u8>, labels: &Labels) {
    into.extend_from_slice(&(labels.len() as u16).to_le_bytes());
    for (name, value) in labels.iter() {
        for text in [name, value] {
            let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
            into.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
            into.extend_from_slice(bytes);
        }
    }
}

/// Takes values off the front of bytes; none when they are too few.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub(crate) fn labels(&mut self) -> Option<Labels> {
        let count = self.u16()?;
        let mut pairs = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Some(Labels::from_pairs(pairs))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use proptest::prelude::*;
    use trimtab_telemetry::stale_marker;

    use super::*;

    fn sample(name: &str, at_ms: i64, value: f64) -> Sample {
        Sample {
            labels: Labels::from_pairs([("__name__", name), ("service", "blocks")]),
            at_ms,
            value,
        }
    }

    #[test]
    fn samples_come_back_bit_for_bit() {
        let samples = vec![
            sample("up", 1, 1.0),
            sample("up", 2, stale_marker()),
            sample("down", -5, f64::NAN),
            sample("down", i64::MAX, f64::NEG_INFINITY),
        ];
        assert_eq!(decode(&encode(&samples).unwrap()).unwrap(), samples);
        assert_eq!(decode(&encode(&[]).unwrap()).unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_entry_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
            let _ = decode_plain(&mut Reader(&bytes));
        }
    }
}
