//! One-time codes: the admin link that the first start prints.

use std::sync::Mutex;
use std::time::Duration;

use subtle::ConstantTimeEq;
use trimtab_model::Timestamp;

use crate::TokenHash;

/// How long a code can be used.
const CODE_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Codes that may wait at the same time; issuing one more drops the oldest.
const CODES_MAX: usize = 16;

/// Codes that each open one admin session, once, within 15 minutes. Only their hashes are kept, in
/// memory alone.
#[derive(Default)]
pub struct OneTimeCodes {
    waiting: Mutex<Vec<(TokenHash, Timestamp)>>,
}

impl OneTimeCodes {
    /// No codes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a code to hand to a person as `/login?code=…`. Print it, and never log it.
    pub fn issue(&self, now: Timestamp) -> Result<String, getrandom::Error> {
        let code = crate::random_text()?;
        let mut waiting = self
            .waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        waiting.retain(|(_, ends)| *ends > now);
        if waiting.len() >= CODES_MAX {
            waiting.remove(0);
        }
        waiting.push((TokenHash::of(&code), now.plus(CODE_LIFETIME)));
        Ok(code)
    }

    /// Uses a code up; false when it is unknown, used or too old.
    pub fn redeem(&self, code: &str, now: Timestamp) -> bool {
        let hash = TokenHash::of(code);
        let mut waiting = self
            .waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        waiting.retain(|(_, ends)| *ends > now);
        let Some(at) = waiting
            .iter()
            .position(|(known, _)| bool::from(known.0.ct_eq(&hash.0)))
        else {
            return false;
        };
        waiting.remove(at);
        true
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_code_works_once_and_not_for_ever() {
        let codes = OneTimeCodes::new();
        let start = Timestamp::from_seconds(1_000);
        let code = codes.issue(start).unwrap();
        assert!(!codes.redeem("guess", start));
        assert!(codes.redeem(&code, start));
        assert!(!codes.redeem(&code, start), "used twice");
        let late = codes.issue(start).unwrap();
        assert!(!codes.redeem(&late, start.plus(CODE_LIFETIME)), "used late");
    }
}
