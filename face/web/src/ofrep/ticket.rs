//! Tickets to event streams: browsers cannot send a token with one, so its address carries leave to
//! hear that a place's flags changed, and nothing else, for a day.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use trimtab_model::Timestamp;

use super::Place;

const LIFETIME_MS: i64 = 24 * 3_600 * 1_000;

/// The address of a place's stream.
pub(super) fn address(key: &[u8; 32], place: &Place, now: Timestamp) -> String {
    let ends = now.0.saturating_add(LIFETIME_MS);
    let signature = hex::encode(mac(key, place, ends).finalize().into_bytes());
    trimtab_api::routes::fill(
        "/ofrep/v1/stream?service={}&environment={}&ends={}&ticket={}",
        &[&place.service, &place.environment, &ends.to_string(), &signature],
    )
}

/// Whether a ticket opens a place's stream at this time.
pub(super) fn opens(key: &[u8; 32], place: &Place, ends: i64, ticket: &str, now: Timestamp) -> bool {
    let Ok(signature) = hex::decode(ticket) else {
        return false;
    };
    ends > now.0 && mac(key, place, ends).verify_slice(&signature).is_ok()
}

fn mac(key: &[u8; 32], place: &Place, ends: i64) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(format!("flag stream\n{}\n{}\n{ends}", place.service, place.environment).as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_ticket_opens_its_own_place_for_its_time() {
        let place = |service: &str| Place {
            service: service.to_owned(),
            environment: "production".to_owned(),
        };
        let key = [7; 32];
        let address = address(&key, &place("blocks"), Timestamp(1_000));
        let ticket = address.rsplit_once("ticket=").unwrap().1;
        let ends = 1_000 + LIFETIME_MS;
        assert!(opens(&key, &place("blocks"), ends, ticket, Timestamp(2_000)));
        assert!(!opens(&key, &place("other"), ends, ticket, Timestamp(2_000)));
        assert!(!opens(&key, &place("blocks"), ends + 1, ticket, Timestamp(2_000)));
        assert!(!opens(&key, &place("blocks"), ends, ticket, Timestamp(ends)));
        assert!(!opens(&[8; 32], &place("blocks"), ends, ticket, Timestamp(2_000)));
        assert!(!opens(&key, &place("blocks"), ends, "zz", Timestamp(2_000)));
    }
}
