//! The Host and Origin checks: pages of other sites, also under names that resolve to this machine
//! (DNS rebinding), reach nothing.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};
use trimtab_api::{Fault, FaultCode};

/// Refuses a request that names a host which is not ours, or a change that another origin asks for.
pub(crate) fn check_host(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    allowed: &[String],
) -> Result<(), Fault> {
    let host = headers
        .get(HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| uri.authority().map(|authority| authority.as_str()))
        .ok_or_else(|| refused("the request names no host", "send a Host header"))?;
    if !is_ours(host, allowed) {
        let shown: String = host.chars().take(80).collect();
        return Err(refused(
            &format!("failed to accept the request for host {shown:?}"),
            "add the name to the hosts of the server's configuration, or use localhost or an IP address",
        ));
    }
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let from = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, host)| host);
        if from != Some(host) {
            return Err(refused(
                "the request comes from another site",
                "use the page itself, or a token",
            ));
        }
    }
    match headers.get("sec-fetch-site").map(|value| value.as_bytes()) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(refused(
            "the request comes from another site",
            "use the page itself, or a token",
        )),
    }
}

fn refused(message: &str, mend: &str) -> Fault {
    Fault::new(FaultCode::Forbidden, message, mend)
}

/// Names of this machine, IP addresses (no name can be rebound to make one up), and those allowed.
fn is_ours(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host);
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || literal.parse::<std::net::IpAddr>().is_ok()
        || allowed
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && !name.is_empty()
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn check(method: Method, pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        check_host(
            &method,
            &Uri::from_static("/"),
            &headers,
            &["trimtab.example.org".to_owned()],
        )
        .is_ok()
    }

    #[test]
    fn only_our_names_are_answered() {
        for ours in [
            "localhost:7700",
            "127.0.0.1:7700",
            "[::1]:7700",
            "[::1]",
            "::1",
            "trimtab.example.org",
            "Trimtab.Example.org:443",
        ] {
            assert!(check(Method::GET, &[("host", ours)]), "{ours}");
        }
        for foreign in [
            "evil.example:7700",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            ":7700",
        ] {
            assert!(!check(Method::GET, &[("host", foreign)]), "{foreign}");
        }
        assert!(!check(Method::GET, &[]), "no host");
    }

    #[test]
    fn changes_come_from_our_own_pages() {
        let host = ("host", "localhost:7700");
        assert!(check(Method::POST, &[host]), "a program");
        assert!(check(Method::POST, &[host, ("origin", "http://localhost:7700")]));
        for foreign in ["http://localhost:9999", "http://evil.example", "null"] {
            assert!(!check(Method::POST, &[host, ("origin", foreign)]), "{foreign}");
        }
        assert!(!check(Method::POST, &[host, ("sec-fetch-site", "cross-site")]));
    }
}
