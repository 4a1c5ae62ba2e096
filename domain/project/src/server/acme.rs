//! Certificates that come by themselves.

use schemars::JsonSchema;
use serde::Serialize;

use crate::read::Value;

/// Most hosts.
const HOSTS_MAX: usize = 100;
/// Most addresses that the authority may write to.
const CONTACTS_MAX: usize = 10;
/// Longest name (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 253;
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Certificates that come by themselves, from an ACME server such as Let's Encrypt. Naming a host says that
/// you agree to the server's terms. The server looks for it at port 80, which must lead to `traffic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Acme {
    /// The server's directory.
    pub directory: String,
    /// A PEM file with the authority of the directory's own certificate, where the system does not know it.
    pub ca: Option<String>,
    /// Where the authority may write to.
    pub contact: Vec<String>,
    /// The hosts, each with a certificate of its own.
    pub hosts: Vec<String>,
}

pub(super) fn acme(value: Value<'_>) -> Option<Acme> {
    let fields = value.fields(&["directory", "ca", "contact", "hosts"])?;
    let hosts = fields.need(
        "hosts",
        "the names to be certified: 'hosts: [shop.example.org]'",
        |v| {
            v.list(HOSTS_MAX, "- shop.example.org", |v| {
                let mend = "write a full name in lower case, without port: shop.example.org";
                checked(v, is_host, "a host that can be certified", mend)
            })
        },
    );
    let directory = |v: Value<'_>| {
        let is_https = |text: &str| text.starts_with("https://") && text.len() > "https://".len();
        checked(
            v,
            is_https,
            "an https address",
            "copy it from the authority's pages",
        )
    };
    Some(Acme {
        directory: fields.or("directory", directory, LETS_ENCRYPT.to_owned()),
        ca: fields.maybe("ca", Value::text),
        contact: fields.or(
            "contact",
            |v| {
                v.list(CONTACTS_MAX, "- mailto:team@example.org", |v| {
                    let is_mail = |text: &str| text.starts_with("mailto:") && text.contains('@');
                    checked(v, is_mail, "a mailto: address", "write mailto:team@example.org")
                })
            },
            Vec::new(),
        ),
        hosts: hosts?,
    })
}

fn checked(value: Value<'_>, good: impl Fn(&str) -> bool, what: &str, mend: &str) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    if !good(&text) {
        sink.report(node.place, &path, format!("{text:?} is not {what}"), mend);
        return None;
    }
    Some(text)
}

/// A name with a dot in it, no address and no wildcard: whoever asks for those must prove it by DNS.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(fine)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= HOST_BYTES_MAX
        && text.contains('.')
        && text.split('.').all(label)
        && text.parse::<std::net::IpAddr>().is_err()
}
