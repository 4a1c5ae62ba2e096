//! The client that goes only where it may.

use std::time::Duration;

use reqwest::{Client, Url};

use crate::address::{Guard, refusal};

/// A client that never follows redirects (they could lead to where the guard would not go) and asks no proxy.
pub fn client(timeout: Duration) -> Result<Client, String> {
    Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Guard)
        .user_agent(concat!("Trimtab/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("cannot set up TLS: {}", whole(&error)))
}

/// An error with its causes.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Checks an address of the configuration, and a literal one as the guard does those of names. The text of the
/// error never holds the address: it may be a secret.
pub fn check(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the address is none: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address must begin with https:// (or http://)".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address must not hold a user or a password".to_owned());
    }
    let host = url
        .host_str()
        .ok_or_else(|| "the address has no host".to_owned())?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match literal.and_then(|ip| refusal(host, ip)) {
        Some(refusal) => Err(refusal),
        None => Ok(url),
    }
}
