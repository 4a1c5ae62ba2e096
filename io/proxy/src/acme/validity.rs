//! From when to when a certificate is valid: the one thing to be read of it (RFC 5280 §4.1.2.5).

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    not_before: u64,
    pub(super) not_after: u64,
}

impl Validity {
    /// At two thirds of its life.
    pub(super) fn renew_at(&self) -> u64 {
        self.not_before + self.not_after.saturating_sub(self.not_before) / 3 * 2
    }
}

/// Of the first certificate in PEM, the leaf.
pub(super) fn of_pem(pem: &[u8]) -> Option<Validity> {
    let leaf = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    of_der(&leaf)
}

fn of_der(der: &[u8]) -> Option<Validity> {
    let (_, certificate, _) = field(der)?;
    let (_, mut rest, _) = field(certificate)?;
    if rest.first() == Some(&VERSION) {
        (_, _, rest) = field(rest)?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = field(rest)?;
    }
    let (kind, validity, _) = field(rest)?;
    if kind != SEQUENCE {
        return None;
    }
    let (kind, from, rest) = field(validity)?;
    let not_before = seconds(kind, from)?;
    let (kind, to, _) = field(rest)?;
    Some(Validity {
        not_before,
        not_after: seconds(kind, to)?,
    })
}

/// The first field: its tag, its content, and what follows it.
fn field(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        let (digits, after) = rest
            .split_at_checked(count)
            .filter(|_| (1..=4).contains(&count))?;
        length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

fn seconds(kind: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, rest) = match (kind, text.len()) {
        // RFC 5280 §4.1.2.5.1: two digits mean 1950 to 2049.
        (UTC_TIME, 12) => (number(0, 2)?, 2),
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let year = match (kind, year) {
        (UTC_TIME, 0..50) => year + 2000,
        (UTC_TIME, _) => year + 1900,
        _ => year,
    };
    let part = |index: usize| number(rest + 2 * index, rest + 2 * index + 2);
    let days = days_since_1970(year, part(0)?, part(1)?)?;
    Some(days * 86_400 + part(2)? * 3_600 + part(3)? * 60 + part(4)?)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    days.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn times_of_both_kinds() {
        let utc = |text: &str| seconds(UTC_TIME, text.as_bytes());
        assert_eq!(utc("700101000000Z"), Some(0));
        assert_eq!(utc("261125033000Z"), Some(1_795_577_400));
        assert_eq!(utc("240229235959Z"), Some(1_709_251_199));
        assert_eq!(seconds(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        for wrong in [
            "",
            "Z",
            "2611250330Z",
            "261325033000Z",
            "26112503300xZ",
            "261125033000",
        ] {
            assert_eq!(utc(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let validity = of_pem(pem.as_bytes()).unwrap();
        let day = 86_400;
        assert_eq!(validity.not_after - validity.not_before, 90 * day);
        assert_eq!(validity.renew_at(), validity.not_before + 60 * day);
        assert_eq!(of_pem(b"no certificate"), None);
        assert_eq!(of_der(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
