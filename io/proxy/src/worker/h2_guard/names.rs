//! The names in a header block (RFC 7541), as far as they can be told without the dynamic table. What
//! cannot be read is for the decoder to refuse.

/// Names in the static table up to this are pseudo headers (appendix A).
const PSEUDO_INDEX_MAX: u64 = 14;

/// A field's name: by its index, or spelled out.
enum Name<'a> {
    Index(u64),
    Plain(&'a [u8]),
    Huffman(&'a [u8]),
}

/// Whether a block of trailers names a pseudo header.
pub(super) fn names_pseudo(block: &[u8]) -> bool {
    Names(block).any(|name| match name {
        Name::Index(index) => (1..=PSEUDO_INDEX_MAX).contains(&index),
        Name::Plain(name) => name.first() == Some(&b':'),
        Name::Huffman(bytes) => huffman(bytes).is_some_and(|name| name.first() == Some(&b':')),
    })
}

/// Whether a name is spelled out that no request may have: in upper case, or a pseudo header that is
/// none.
pub(super) fn has_malformed_name(block: &[u8]) -> bool {
    let is_malformed = |name: &[u8]| {
        let known = [&b":method"[..], b":scheme", b":path", b":authority", b":protocol"];
        name.iter().any(u8::is_ascii_uppercase) || (name.first() == Some(&b':') && !known.contains(&name))
    };
    Names(block).any(|name| match name {
        Name::Index(_) => false,
        Name::Plain(name) => is_malformed(name),
        Name::Huffman(bytes) => huffman(bytes).is_some_and(|name| is_malformed(&name)),
    })
}

struct Names<'a>(&'a [u8]);

impl<'a> Iterator for Names<'a> {
    type Item = Name<'a>;

    fn next(&mut self) -> Option<Name<'a>> {
        let block = &mut self.0;
        loop {
            let first = *block.first()?;
            let (prefix, is_literal) = match first {
                0x80.. => (7, false),
                0x40.. => (6, true),
                0x20.. => (5, false),
                _ => (4, true),
            };
            let index = integer(block, prefix)?;
            if (0x20..0x40).contains(&first) {
                // The table's size.
                continue;
            }
            let mut name = Name::Index(index);
            if is_literal && index == 0 {
                let is_huffman = block.first()? & 0x80 != 0;
                let text = string(block)?;
                name = if is_huffman {
                    Name::Huffman(text)
                } else {
                    Name::Plain(text)
                };
            }
            if is_literal {
                string(block)?;
            }
            return Some(name);
        }
    }
}

/// §5.1.
fn integer(block: &mut &[u8], prefix: u32) -> Option<u64> {
    let mask = (1 << prefix) - 1;
    let (first, rest) = block.split_first()?;
    *block = rest;
    let mut value = u64::from(*first) & mask;
    if value < mask {
        return Some(value);
    }
    for shift in (0..28).step_by(7) {
        let (byte, rest) = block.split_first()?;
        *block = rest;
        value += u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The bytes of a string, still coded (§5.2).
fn string<'a>(block: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(integer(block, 7)?).ok()?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some(text)
}

/// The symbols of Huffman's code (appendix B) that names consist of, by the length of their codes, in
/// the order of these. Within a length codes count up, from one length to the next they double.
const SYMBOLS: [(u32, &[u8]); 4] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
];

/// Decodes a name; none if it is wrong, or has symbols that no name has.
fn huffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut code, mut length) = (Vec::new(), 0_usize, 0);
    for bit in bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1))
    {
        (code, length) = (code << 1 | usize::from(bit), length + 1);
        let mut first = 0;
        for (symbols_length, symbols) in SYMBOLS {
            if symbols_length == length && (first..first + symbols.len()).contains(&code) {
                text.push(symbols[code - first]);
                (code, length) = (0, 0);
                break;
            }
            first = (first + symbols.len()) << 1;
        }
        if length > 8 {
            return None;
        }
    }
    // What is left is padding: the first bits of the longest code, all ones.
    (length < 8 && code + 1 == 1 << length).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_headers_are_known_in_each_form() {
        for block in [
            &[0x82][..],
            &[0x42, 1, b'x'],
            &[0x04, 1, b'/'],
            &[0, 2, b':', b'x', 1, b'y'],
            &[0, 0x82, 0xb8, 0x7f, 1, b'y'],
            &[0x3f, 0x01, 0, 1, b'x', 1, b'y', 0x87],
        ] {
            assert!(names_pseudo(block), "{block:?}");
        }
        for block in [
            &[][..],
            &[0, 1, b'x', 1, b'y'],
            &[0x90],
            &[0xbe],
            &[0, 9],
            &[0xff; 9],
        ] {
            assert!(!names_pseudo(block), "{block:?}");
        }
    }

    #[test]
    fn huffmans_code_is_the_standards() {
        // RFC 7541, appendix C.4.
        let coded = [0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f];
        assert_eq!(huffman(&coded).as_deref(), Some(&b"custom-key"[..]));
        let host = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(huffman(&host).as_deref(), Some(&b"www.example.com"[..]));
        assert_eq!(huffman(&[0x18]), None, "padding of zeros");
        assert_eq!(huffman(&[0x1f, 0xff]), None, "padding longer than it needs");
    }

    #[test]
    fn names_that_may_not_be() {
        // X in Huffman's code is eight bits long.
        for block in [
            &[0, 2, b'X', b'a', 1, b'y'][..],
            &[0, 0x81, 0xfc, 1, b'y'],
            &[0x82, 0, 5, b':', b't', b'e', b's', b't', 0],
        ] {
            assert!(has_malformed_name(block), "{block:?}");
        }
        for block in [
            &[0x80][..],
            &[0, 1, b'x', 0x50, b'y'],
            &[0x82, 0, 0x81, 0x18, 0],
            &[0x20],
        ] {
            assert!(!has_malformed_name(block), "{block:?}");
        }
    }
}
