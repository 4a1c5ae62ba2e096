//! From a user to a place in a line of buckets: the same on every machine and in every language.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How what is hashed becomes bytes. Chosen once per flag set: changing it moves everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bucketing {
    /// UTF-8 of the flag's key followed by the targeting key: what flagd does today.
    #[default]
    Text,
    /// Deterministic CBOR (RFC 8949 §4.2.1) of the value, or of the list of flag key and targeting
    /// key: flagd's newer form, which also takes numbers and booleans.
    Cbor,
}

/// MurmurHash3 (x86, 32 bits) with seed 0.
pub fn murmur3_32(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scramble = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let mut hash: u32 = 0;
    let mut blocks = bytes.chunks_exact(4);
    for block in &mut blocks {
        let mut word = [0; 4];
        word.copy_from_slice(block);
        hash ^= scramble(u32::from_le_bytes(word));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let mut tail: u32 = 0;
    for (place, byte) in blocks.remainder().iter().enumerate() {
        tail |= u32::from(*byte) << (8 * place);
    }
    hash ^= scramble(tail);
    // Only the low 32 bits of the length count, as in the reference.
    hash ^= bytes.len() as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// The bucket of a hash among `total` buckets: every bucket is equally likely, to one in 2^32.
pub fn bucket(hash: u32, total: u32) -> u32 {
    ((u64::from(hash) * u64::from(total)) >> 32) as u32
}

/// What a flag without a bucketing expression hashes.
pub(crate) fn of_targeting_key(bucketing: Bucketing, flag: &str, targeting_key: &str) -> u32 {
    match bucketing {
        Bucketing::Text => murmur3_32(format!("{flag}{targeting_key}").as_bytes()),
        Bucketing::Cbor => {
            let mut bytes = Vec::with_capacity(flag.len() + targeting_key.len() + 8);
            head(&mut bytes, 4, 2);
            text(&mut bytes, flag);
            text(&mut bytes, targeting_key);
            murmur3_32(&bytes)
        }
    }
}

/// A value as deterministic CBOR.
pub(crate) fn cbor(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, value);
    bytes
}

fn encode(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(positive), _, _) => head(out, 0, positive),
            (None, Some(negative), _) => head(out, 1, !negative as u64),
            (None, None, float) => encode_float(out, float.unwrap_or(0.0)),
        },
        Value::String(string) => text(out, string),
        Value::Array(items) => {
            head(out, 4, items.len() as u64);
            items.iter().for_each(|item| encode(out, item));
        }
        Value::Object(fields) => {
            head(out, 5, fields.len() as u64);
            let mut pairs: Vec<(Vec<u8>, &Value)> = fields
                .iter()
                .map(|(key, value)| {
                    let mut bytes = Vec::new();
                    text(&mut bytes, key);
                    (bytes, value)
                })
                .collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            for (key, value) in pairs {
                out.extend(key);
                encode(out, value);
            }
        }
    }
}

/// A major type with its argument in the fewest bytes.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let wide = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend([major | 24, wide[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend(&wide[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend(&wide[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend(wide);
        }
    }
}

fn text(out: &mut Vec<u8>, string: &str) {
    head(out, 3, string.len() as u64);
    out.extend(string.as_bytes());
}

/// The shortest of the three floats that keeps the number; a whole number is still a float.
fn encode_float(out: &mut Vec<u8>, number: f64) {
    let single = number as f32;
    if f64::from(single) != number {
        out.push(0xfb);
        out.extend(number.to_be_bytes());
        return;
    }
    match half(single) {
        Some(bits) => {
            out.push(0xf9);
            out.extend(bits.to_be_bytes());
        }
        None => {
            out.push(0xfa);
            out.extend(single.to_be_bytes());
        }
    }
}

/// The bits of a half-precision float, if it holds the number exactly.
fn half(number: f32) -> Option<u16> {
    let bits = number.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = ((bits >> 23) & 0xff) as i32 - 127;
    let mantissa = bits & 0x7f_ffff;
    if bits & 0x7fff_ffff == 0 {
        return Some(sign);
    }
    match exponent {
        -14..=15 if mantissa & 0x1fff == 0 => {
            Some(sign | (((exponent + 15) as u16) << 10) | (mantissa >> 13) as u16)
        }
        -24..=-15 => {
            // Subnormal: the hidden bit becomes visible.
            let shift = (-exponent - 1) as u32;
            let whole = mantissa | 0x80_0000;
            (whole & ((1 << shift) - 1) == 0).then_some(sign | (whole >> shift) as u16)
        }
        _ => None,
    }
}

/// A user without his name: two hashes of his key, so that one in a million users is confused with another
/// at most.
pub fn user_hash(user: &str) -> u64 {
    let other = format!("{user}\n");
    (u64::from(murmur3_32(user.as_bytes())) << 32) | u64::from(murmur3_32(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The reference implementation's results, as they are published.
    #[test]
    fn the_hash_is_the_reference() {
        let vectors: [(&[u8], u32); 9] = [
            (b"", 0),
            (b"test", 0xba6b_d213),
            (b"Hello, world!", 0xc036_3e43),
            (b"The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
            (b"hello", 0x248b_fa47),
            (b"hello, world", 0x149b_bb7f),
            (b"19 Jan 2038 at 3:14:07 AM", 0xe31e_8a70),
            (&[0xff, 0xff, 0xff, 0xff], 0x7629_3b50),
            (&[0x21, 0x43, 0x65], 0x7e4a_8634),
        ];
        for (bytes, hash) in vectors {
            assert_eq!(murmur3_32(bytes), hash, "{bytes:?}");
        }
    }

    /// From the examples of RFC 8949, appendix A.
    #[test]
    fn cbor_is_deterministic() {
        let vectors = [
            (json!(0), "00"),
            (json!(23), "17"),
            (json!(24), "1818"),
            (json!(1000), "1903e8"),
            (json!(1_000_000), "1a000f4240"),
            (json!(18_446_744_073_709_551_615_u64), "1bffffffffffffffff"),
            (json!(-1), "20"),
            (json!(-1000), "3903e7"),
            (json!(1.5), "f93e00"),
            (json!(65504.0), "f97bff"),
            (json!(100_000.0), "fa47c35000"),
            (json!(1.1), "fb3ff199999999999a"),
            (json!(5.960464477539063e-8), "f90001"),
            (json!(0.00006103515625), "f90400"),
            (json!(-4.1), "fbc010666666666666"),
            (json!(false), "f4"),
            (json!(null), "f6"),
            (json!("IETF"), "6449455446"),
            (json!([1, [2, 3]]), "8201820203"),
            (json!({"b": 1, "a": 2, "aa": 3}), "a361610261620162616103"),
        ];
        for (value, hex) in vectors {
            let bytes: String = cbor(&value).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(bytes, hex, "{value}");
        }
    }

    #[test]
    fn buckets_are_even_and_never_past_the_last() {
        assert_eq!(bucket(0, 100), 0);
        assert_eq!(bucket(u32::MAX, 100), 99);
        assert_eq!(bucket(u32::MAX, 2_147_483_647), 2_147_483_646);
        let mut counts = [0_u32; 10];
        for user in 0..20_000 {
            let hash = of_targeting_key(Bucketing::Text, "new-search", &format!("user-{user}"));
            counts[bucket(hash, 10) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (1_850..2_150).contains(count)),
            "{counts:?}"
        );
    }
}
