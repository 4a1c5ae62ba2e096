//! Users who stay on their arm: by a signed cookie, or by the hash of a header.

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use trimtab_model::{EnvironmentName, RolloutId, ServiceName, Weight};

use super::keyed;

/// Every user draws a ticket from 0 to this; the candidate has those below its weight. So a raised
/// weight moves only as many users as it must, and a lowered one moves the same ones back.
pub(crate) const TICKETS: u16 = 10_000;

/// Keeps each user on one arm for as long as the rollout lasts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    /// How a user is known again.
    pub by: StickyBy,
    /// Key of the signature, or of the hash: nobody chooses an arm without it.
    pub secret: String,
}

/// How a user is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyBy {
    /// By a cookie that the proxy signs and sends, to users of either arm.
    Cookie,
    /// By the value of this header, in lower case; a request without it tosses a coin of its own.
    Header(String),
}

impl std::fmt::Debug for Sticky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sticky {{ by: {:?}, secret: … }}", self.by)
    }
}

/// What a user's cookie says: the ticket, and the highest weight under which it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) number: u16,
    pub(crate) seen: Weight,
}

/// Name of the cookie of one service in one environment.
pub(crate) fn cookie_name(service: &ServiceName, environment: &EnvironmentName) -> String {
    format!("trimtab-arm-{service}-{environment}")
}

/// Signs tickets, and hashes headers, of one rollout.
#[derive(Debug, Clone)]
pub(crate) struct TicketOffice {
    mac: Hmac<Sha256>,
}

impl TicketOffice {
    pub(crate) fn new(
        sticky: &Sticky,
        service: &ServiceName,
        environment: &EnvironmentName,
        rollout: &RolloutId,
    ) -> Self {
        let mut mac = keyed(&sticky.secret);
        mac.update(format!("trimtab-arm\n{service}\n{environment}\n{rollout}\n").as_bytes());
        TicketOffice { mac }
    }

    /// The cookie's value.
    pub(crate) fn write(&self, ticket: Ticket) -> String {
        use std::fmt::Write;
        let mut text = format!("{}.{}", ticket.number, ticket.seen.basis_points());
        let mut mac = self.mac.clone();
        mac.update(text.as_bytes());
        text.push('.');
        for byte in &mac.finalize().into_bytes()[..16] {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text
    }

    /// The ticket of a value that this office wrote; none for any other.
    pub(crate) fn read(&self, value: &[u8]) -> Option<Ticket> {
        let dot = memchr::memrchr(b'.', value)?;
        let (text, signature) = (value.get(..dot)?, value.get(dot + 1..)?);
        if signature.len() != 32 {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(signature.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        let mut mac = self.mac.clone();
        mac.update(text);
        mac.verify_truncated_left(&bytes).ok()?;
        let (number, seen) = std::str::from_utf8(text).ok()?.split_once('.')?;
        let ticket = Ticket {
            number: number.parse().ok()?,
            seen: Weight::from_basis_points(seen.parse().ok()?).ok()?,
        };
        (ticket.number < TICKETS).then_some(ticket)
    }

    /// The ticket of a header's value, and a number by which this user is known again.
    pub(crate) fn hash(&self, value: &[u8]) -> (u16, u64) {
        let mut mac = self.mac.clone();
        mac.update(value);
        let hash = mac.finalize().into_bytes();
        let part = |from: usize| {
            hash[from..from + 8]
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        // 64 bits over 10,000 tickets: the bias is below one in 10^15.
        ((part(0) % u64::from(TICKETS)) as u16, part(8))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn office(secret: &str, rollout: &str) -> TicketOffice {
        let sticky = Sticky {
            by: StickyBy::Cookie,
            secret: secret.to_owned(),
        };
        TicketOffice::new(
            &sticky,
            &ServiceName::new("blocks").unwrap(),
            &EnvironmentName::new("production").unwrap(),
            &RolloutId::new(rollout).unwrap(),
        )
    }

    #[test]
    fn a_ticket_is_good_for_its_rollout_only() {
        let ticket = Ticket {
            number: 4_711,
            seen: Weight::from_basis_points(500).unwrap(),
        };
        let text = office("s", "rollout-1").write(ticket);
        assert_eq!(office("s", "rollout-1").read(text.as_bytes()), Some(ticket));
        assert_eq!(office("s", "rollout-2").read(text.as_bytes()), None);
        assert_eq!(office("t", "rollout-1").read(text.as_bytes()), None);
        let forged = text.replacen("4711", "11", 1);
        for bad in [
            &forged[..],
            "",
            ".",
            "1.2.",
            "1.2.3",
            "4711.500",
            "..é",
            &text[1..],
        ] {
            assert_eq!(office("s", "rollout-1").read(bad.as_bytes()), None, "{bad}");
        }
        assert!(
            !format!(
                "{:?}",
                Sticky {
                    by: StickyBy::Cookie,
                    secret: "hidden".into()
                }
            )
            .contains("hidden")
        );
    }

    #[test]
    fn hashes_spread_evenly_and_differ_between_rollouts() {
        let (one, two) = (office("s", "rollout-1"), office("s", "rollout-2"));
        let below = |office: &TicketOffice| {
            (0..20_000)
                .filter(|user| office.hash(format!("user-{user}").as_bytes()).0 < 500)
                .count()
        };
        // 1,000 expected, standard deviation 31.
        assert!(below(&one).abs_diff(1_000) < 150 && below(&two).abs_diff(1_000) < 150);
        assert_ne!(one.hash(b"user-1"), two.hash(b"user-1"));
    }
}
