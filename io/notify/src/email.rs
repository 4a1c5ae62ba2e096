//! Email over SMTP: plain text with an HTML alternative.

use std::fmt::Write as _;
use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use sha2::{Digest, Sha256};

use crate::error::Failure;
use crate::message::{Message, cut};
use crate::{Email, Encryption, NotifyError};

/// Longest subject in characters.
const SUBJECT_CHARS_MAX: usize = 150;

fn host_and_port(email: &Email) -> Result<(String, u16), String> {
    let default = if email.encryption == Encryption::Implicit {
        465
    } else {
        587
    };
    let text = email.smtp.trim();
    let (host, port) = match text.rsplit_once(':') {
        // Colons within: an IPv6 address without a port, unless it is in brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (
            host,
            port.parse()
                .map_err(|_| format!("{port:?} in `smtp` is no port"))?,
        ),
        _ => (text, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        Err("`smtp` names no host".to_owned())
    } else {
        Ok((host.to_owned(), port))
    }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse()
        .map_err(|error| format!("{text:?} is no email address: {error}"))
}

/// What is wrong with the configuration.
pub(crate) fn check(email: &Email) -> Result<(), NotifyError> {
    let checked = || {
        let (host, _) = host_and_port(email)?;
        mailbox(&email.from)?;
        email.to.iter().try_for_each(|to| mailbox(to).map(drop))?;
        if email.to.is_empty() {
            return Err("`to` is empty; name at least one address".to_owned());
        }
        let ip = host.parse().ok();
        if let Some(refusal) = ip.and_then(|ip| trimtab_outgoing::refusal(&host, ip)) {
            return Err(refusal);
        }
        let here = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        let open = matches!(email.encryption, Encryption::Optional | Encryption::None);
        if email.credentials.is_some() && open && !here {
            return Err(
                "a password never goes over a way that may be unencrypted: set `starttls: required`"
                    .to_owned(),
            );
        }
        tls(email, &host).map(drop)
    };
    checked().map_err(|reason| NotifyError::Receiver {
        channel: "email",
        reason,
    })
}

fn tls(email: &Email, host: &str) -> Result<Tls, String> {
    if email.encryption == Encryption::None {
        return Ok(Tls::None);
    }
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = &email.authority {
        let certificate = Certificate::from_pem(pem.as_bytes())
            .map_err(|error| format!("the authority is no PEM: {error}"))?;
        builder = builder.add_root_certificate(certificate);
    }
    let parameters = builder
        .build_rustls()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    Ok(match email.encryption {
        Encryption::Required => Tls::Required(parameters),
        Encryption::Implicit => Tls::Wrapper(parameters),
        Encryption::Optional | Encryption::None => Tls::Opportunistic(parameters),
    })
}

/// The same key gives the same id, so a mail server or reader that sees a message twice can tell.
pub(crate) fn message_id(message: &Message, from: &Mailbox) -> String {
    let digest = Sha256::digest(message.key.as_bytes());
    format!("<trimtab.{}@{}>", hex::encode(&digest[..16]), from.email.domain())
}

fn plain(message: &Message) -> String {
    let mut text = format!("{}\n\n{}\n", message.headline(), message.body.trim_end());
    if !message.fields.is_empty() {
        text.push('\n');
    }
    for (name, value) in &message.fields {
        let _ = writeln!(text, "{name}: {value}");
    }
    if let Some(link) = &message.link {
        let _ = writeln!(text, "\n{link}");
    }
    text
}

fn escape(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

fn html(message: &Message) -> String {
    let mut text = format!(
        "<!doctype html><html><body style=\"font-family:sans-serif\"><h2>{}</h2><p style=\"white-space:pre-wrap\">{}</p>",
        escape(&message.headline()),
        escape(message.body.trim_end())
    );
    if !message.fields.is_empty() {
        text.push_str("<table>");
        for (name, value) in &message.fields {
            let (name, value) = (escape(name), escape(value));
            let _ = write!(text, "<tr><th align=\"left\">{name}</th><td>{value}</td></tr>");
        }
        text.push_str("</table>");
    }
    if let Some(link) = &message.link {
        let _ = write!(text, "<p><a href=\"{}\">Open in Trimtab</a></p>", escape(link));
    }
    text.push_str("</body></html>");
    text
}

fn compose(email: &Email, message: &Message) -> Result<lettre::Message, String> {
    let from = mailbox(&email.from)?;
    let subject = cut(&format!("[trimtab] {}", message.headline()), SUBJECT_CHARS_MAX);
    let mut builder = lettre::Message::builder()
        .message_id(Some(message_id(message, &from)))
        .subject(subject)
        .from(from);
    for to in &email.to {
        builder = builder.to(mailbox(to)?);
    }
    let parts = MultiPart::alternative_plain_html(plain(message), html(message));
    let mut mail = builder.multipart(parts).map_err(|error| error.to_string())?;
    // RFC 3834: keeps out-of-office replies away.
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    mail.headers_mut()
        .insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
    Ok(mail)
}

pub(crate) async fn send(email: &Email, message: &Message, timeout: Duration) -> Result<(), Failure> {
    let (host, port) = host_and_port(email).map_err(Failure::permanent)?;
    let mail = compose(email, message).map_err(Failure::permanent)?;
    let tls = tls(email, &host).map_err(Failure::permanent)?;
    let addresses = trimtab_outgoing::resolve(&host, port)
        .await
        .map_err(Failure::passing)?;
    let address = addresses
        .first()
        .ok_or_else(|| Failure::passing("the server has no address"))?;
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
        .port(port)
        .tls(tls)
        .timeout(Some(timeout));
    if let Some((user, password)) = &email.credentials {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    let transport: AsyncSmtpTransport<Tokio1Executor> = builder.build();
    let sent = transport.send(mail).await;
    transport.shutdown().await;
    sent.map(drop).map_err(|error| {
        let mut reason = format!("the SMTP server at {host}:{port}: {error}");
        if let Some(cause) = std::error::Error::source(&error) {
            let _ = write!(reason, ": {cause}");
        }
        if let Some((_, password)) = &email.credentials {
            reason = password.mask(&reason);
        }
        Failure {
            reason,
            permanent: error.is_permanent(),
            retry_after: None,
        }
    })
}
