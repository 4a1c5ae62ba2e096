//! Puts a mark where a line's values are, so that lines which differ only in them look alike.

/// Stands where values differ.
pub(crate) const WILDCARD: &str = "<*>";
/// Longest part of a line that is looked at, in bytes.
const LINE_BYTES_MAX: usize = 4_096;
/// Most words of a line; the rest counts as one value.
pub(crate) const WORDS_MAX: usize = 64;
/// Letters and digits mixed, all of them hexadecimal, and at least so many: an id.
const HEX_LENGTH_MIN: usize = 6;

/// Days and months as dates abbreviate them.
const DATE_WORDS: [&str; 19] = [
    "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
    "Sep", "Oct", "Nov", "Dec",
];

/// The words of a line with numbers, hexadecimal ids, UUIDs, addresses, paths and quoted values masked.
pub(crate) fn words(line: &str) -> Vec<String> {
    let end = (0..=LINE_BYTES_MAX.min(line.len()))
        .rev()
        .find(|at| line.is_char_boundary(*at));
    let line = &line[..end.unwrap_or(0)];
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        if words.len() == WORDS_MAX - 1 {
            words.push(WILDCARD.to_owned());
            break;
        }
        words.push(mask(word));
    }
    words
}

/// One word with its values masked.
fn mask(word: &str) -> String {
    let inner = word.trim_matches(|c: char| matches!(c, ',' | ';' | ':' | '(' | ')' | '[' | ']' | '.'));
    if is_path(inner) || DATE_WORDS.contains(&inner) {
        return word.replacen(inner, WILDCARD, 1);
    }
    let mut masked = String::with_capacity(word.len());
    let mut rest = word;
    if let Some((key, value)) = word.split_once('=')
        && is_dotted(value.trim_end_matches([',', ';', ')', ']']))
    {
        masked.push_str(key);
        masked.push('=');
        masked.push_str(WILDCARD);
        return masked;
    }
    while let Some(first) = rest.chars().next() {
        if let Some(length) = uuid_length(rest) {
            push_wildcard(&mut masked);
            rest = &rest[length..];
        } else if first.is_ascii_alphanumeric() {
            let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
            mask_run(&rest[..length], &mut masked);
            rest = &rest[length..];
        } else if let Some((quoted, length)) = quoted(rest) {
            masked.push_str(quoted);
            rest = &rest[length..];
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    masked
}

/// A run of letters and digits: letters in front are kept, from the first digit on it is a value; all of
/// it when it looks like a hexadecimal id.
fn mask_run(run: &str, masked: &mut String) {
    let Some(digit) = run.bytes().position(|b| b.is_ascii_digit()) else {
        masked.push_str(run);
        return;
    };
    let hex = run.len() >= HEX_LENGTH_MIN && run.bytes().all(|b| b.is_ascii_hexdigit());
    let kept = if hex { 0 } else { digit };
    masked.push_str(&run[..kept]);
    if kept == 0
        && masked.ends_with('-')
        && !masked[..masked.len() - 1].ends_with(|c: char| c.is_ascii_alphanumeric())
    {
        // A sign, not a hyphen.
        masked.pop();
    }
    push_wildcard(masked);
}

/// Adds a wildcard; one that is only a separator away from the last melts into it (addresses, dates,
/// versions).
fn push_wildcard(masked: &mut String) {
    for separators in 0..=1 {
        let end = masked.len().saturating_sub(separators);
        let joins = masked.as_bytes()[end..].iter().all(|b| b".:-/_,+".contains(b));
        if joins && masked.as_bytes()[..end].ends_with(WILDCARD.as_bytes()) {
            masked.truncate(end);
            return;
        }
    }
    masked.push_str(WILDCARD);
}

/// An absolute path of two parts or more.
fn is_path(word: &str) -> bool {
    word.len() > 3
        && word.starts_with('/')
        && word[1..].contains('/')
        && word.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// A host name or the like: parts with dots between, two dots or more.
fn is_dotted(value: &str) -> bool {
    value.bytes().filter(|b| *b == b'.').count() >= 2
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The length of a UUID at the start of `text`.
fn uuid_length(text: &str) -> Option<usize> {
    const LENGTH: usize = 36;
    let bytes = text.as_bytes().get(..LENGTH)?;
    let fits = bytes.iter().enumerate().all(|(at, b)| match at {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    });
    fits.then_some(LENGTH)
}

/// A quoted value at the start of `text`: what to put in its place, and its length.
fn quoted(text: &str) -> Option<(&'static str, usize)> {
    let (quote, shown) = match text.as_bytes().first()? {
        b'"' => ('"', "\"<*>\""),
        b'\'' => ('\'', "'<*>'"),
        _ => return None,
    };
    let close = text[1..].find(quote)?;
    (close > 0).then_some((shown, close + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_masked() {
        for (line, expected) in [
            (
                "PacketResponder 1 for block blk_-3886504 ending",
                "PacketResponder <*> for block blk_<*> ending",
            ),
            ("from 10.251.73.220:50010 to node-17", "from <*> to node-<*>"),
            (
                "id 3f2504e0-4f89-11d3-9a0c-0305e82c3301 token 0x1fA3",
                "id <*> token <*>",
            ),
            ("read /var/lib/blocks/a.json: denied", "read <*>: denied"),
            (
                "plugin=\"spell\" took 12.5ms (retry 3/5)",
                "plugin=\"<*>\" took <*> (retry <*>)",
            ),
            ("R02-M1-N0 lock=deadbeef1 v1.2.3", "R<*>-M<*>-N<*> lock=<*> v<*>"),
            (
                "tty=ssh rhost=d211.rev.example.net user=root",
                "tty=ssh rhost=<*> user=root",
            ),
            ("it's a don't", "it's a don't"),
        ] {
            assert_eq!(words(line).join(" "), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_goes(line in "\\PC{0,300}") {
            prop_assert!(words(&line).len() <= WORDS_MAX);
        }

        #[test]
        fn quotes_and_separators_go(line in "[-'\"/.:0-9a-f é<*>]{0,80}") {
            words(&line);
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let line = "é1 ".repeat(50_000);
        assert_eq!(words(&line).len(), WORDS_MAX);
    }
}
