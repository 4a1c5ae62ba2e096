//! Who asks: tokens, sessions, one-time codes.

mod codes;

pub use codes::OneTimeCodes;
