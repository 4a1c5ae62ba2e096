//! What every request has in common that Trimtab sends to an address somebody wrote into a file: where it may
//! go, how it is signed, how much of the answer is kept, and that no secret is shown.
//!
//! A leaf: notices and hooks use it, and it knows neither.

mod address;
mod answer;
mod client;
mod secret;
mod signature;

pub use address::{refusal, resolve};
pub use answer::{Answer, RETRY_AFTER_MAX, answer};
pub use client::{check, client, whole};
pub use secret::Secret;
pub use signature::signature;
