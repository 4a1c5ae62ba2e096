//! Secrets are taken out of what people may read.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// What stands where a secret was.
const MASK: &str = "***";
/// Secrets and encoded pieces shorter than this are not masked: they would hit ordinary text.
const PATTERN_BYTES_MIN: usize = 4;

/// Finds secrets in plain, base64 (either alphabet, at any alignment within a longer text), URL and hex encoding.
#[derive(Debug, Default)]
pub struct Masker {
    /// Longest first, so that no pattern spoils a longer one.
    patterns: Vec<String>,
}

impl Masker {
    /// A masker of these secrets.
    pub fn new(secrets: &[String]) -> Self {
        let mut patterns = Vec::new();
        // Output is masked line by line: so is a secret of several lines.
        for secret in secrets
            .iter()
            .flat_map(|secret| secret.lines().chain([secret.as_str()]))
        {
            if secret.len() < PATTERN_BYTES_MIN {
                continue;
            }
            patterns.push(secret.to_owned());
            patterns.push(hex::encode(secret));
            patterns.push(hex::encode_upper(secret));
            patterns.extend([url_encode(secret, false), url_encode(secret, true)]);
            for alignment in 0..3 {
                patterns.extend([
                    base64_piece(&STANDARD, secret, alignment),
                    base64_piece(&URL_SAFE, secret, alignment),
                ]);
            }
        }
        patterns.retain(|pattern| pattern.len() >= PATTERN_BYTES_MIN && !pattern.contains('\n'));
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        Masker { patterns }
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The line as text without secrets. Of a line that was cut, an end that could be half a secret is cut too.
    pub fn mask(&self, line: &[u8], is_cut: bool) -> String {
        let longest = self.patterns.first().map_or(0, String::len);
        let line = if is_cut {
            &line[..line.len().saturating_sub(longest)]
        } else {
            line
        };
        let mut text = String::from_utf8_lossy(line).into_owned();
        for pattern in &self.patterns {
            if text.contains(pattern) {
                text = text.replace(pattern, MASK);
            }
        }
        text
    }
}

fn url_encode(text: &str, lower: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ if lower => encoded.push_str(&format!("%{byte:02x}")),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What of the secret's encoding is the same whatever stands around it, when it begins at that byte of three.
fn base64_piece(engine: &impl Engine, secret: &str, alignment: usize) -> String {
    let bytes = [&[0; 2][..alignment], secret.as_bytes()].concat();
    let encoded = engine.encode(&bytes);
    let begin = [0, 2, 3][alignment];
    // Six bits a digit: a digit that also holds bits of what follows is left out.
    let end = bytes.len() * 8 / 6;
    encoded.get(begin..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_every_encoding() {
        let secret = "s3cr3t/+ value?";
        let masker = Masker::new(&[secret.to_owned()]);
        for prefix in ["", "a", "ab", "abc"] {
            let text = format!("{prefix}{secret}");
            for encoded in [
                text.clone(),
                hex::encode(&text),
                hex::encode_upper(&text),
                STANDARD.encode(&text),
                URL_SAFE.encode(format!("{text}tail")),
                STANDARD.encode(format!("{text}t")),
            ] {
                let masked = masker.mask(format!("<{encoded}>").as_bytes(), false);
                assert!(masked.contains(MASK), "{encoded} became {masked}");
            }
        }
        assert_eq!(masker.mask(b"x=s3cr3t%2F%2B%20value%3F.", false), "x=***.");
        assert_eq!(masker.mask(b"x=s3cr3t%2f%2b%20value%3f.", false), "x=***.");
        assert_eq!(masker.mask(b"nothing \xff here", false), "nothing \u{fffd} here");
    }

    #[test]
    fn short_long_and_broken_secrets() {
        assert_eq!(Masker::new(&["abc".to_owned()]).mask(b"abc", false), "abc");
        let masker = Masker::new(&["first line\nsecond line".to_owned(), "line".to_owned()]);
        assert_eq!(masker.mask(b"> first line", false), "> ***");
        assert_eq!(masker.mask(b"> second line", false), "> ***");
        let masker = Masker::new(&["topsecret".to_owned()]);
        assert!(
            !masker
                .mask(&[b"x".repeat(100), b"topsec".to_vec()].concat(), true)
                .contains("top")
        );
    }
}
