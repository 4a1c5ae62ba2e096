//! Who asks: tokens, sessions, one-time codes, and the gate that every request passes.

mod codes;
mod cookies;
mod gate;
mod hosts;
mod session;

pub use codes::OneTimeCodes;
pub(crate) use cookies::{cookie, set_cookie};
pub(crate) use gate::{Caller, Fields, gate, principal_of};
pub(crate) use hosts::check_host;
pub(crate) use session::{Sessions, Subject};

/// Name of the cookie that carries the session.
pub(crate) const SESSION_COOKIE: &str = "trimtab_session";
