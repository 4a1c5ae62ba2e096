//! How a receiver can tell that a post is ours.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use trimtab_model::Timestamp;

/// The value of `X-Trimtab-Signature`: `t=<seconds>,v1=<hex>`, the HMAC-SHA256 of `<seconds>.<body>` over the
/// raw bytes. A receiver computes it anew, compares in constant time, and refuses old seconds.
pub fn signature(secret: &str, at: Timestamp, body: &[u8]) -> String {
    let seconds = at.0.div_euclid(1_000);
    // HMAC takes a key of any length, so the error never comes; an empty signature would verify nowhere.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}
