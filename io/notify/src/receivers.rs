//! Where messages go, as the server's configuration says.

use reqwest::Url;

use crate::message::Channel;
use crate::{NotifyError, Secret};

/// All receivers; a channel without one takes messages and marks them so.
#[derive(Debug, Clone, Default)]
pub struct Receivers {
    /// Slack.
    pub slack: Option<Slack>,
    /// Email.
    pub email: Option<Email>,
    /// SMS.
    pub sms: Option<Sms>,
    /// A program.
    pub webhook: Option<Webhook>,
}

/// Slack's incoming webhook.
#[derive(Debug, Clone)]
pub struct Slack {
    /// Its whole address, which is the secret.
    pub webhook: Secret,
}

/// How the way to the SMTP server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// STARTTLS, and nothing is said without it.
    #[default]
    Required,
    /// STARTTLS if the server offers it. Open to whoever sits between.
    Optional,
    /// None at all, for a relay on this machine.
    None,
    /// TLS from the first byte (port 465).
    Implicit,
}

/// An SMTP server and who is written to.
#[derive(Debug, Clone)]
pub struct Email {
    /// `host` or `host:port`; without a port 587 (465 with implicit TLS).
    pub smtp: String,
    /// Sender, `name@example.org` or `Trimtab <name@example.org>`.
    pub from: String,
    /// Recipients, each in the same form.
    pub to: Vec<String>,
    /// User and password, if the server wants them.
    pub credentials: Option<(String, Secret)>,
    /// Encryption.
    pub encryption: Encryption,
    /// A further certificate authority in PEM, for a server of one's own.
    pub authority: Option<String>,
}

/// Twilio, or a service that speaks its API.
#[derive(Debug, Clone)]
pub struct Sms {
    /// `https://api.twilio.com`, or where the other service is.
    pub base_url: String,
    /// Account SID.
    pub account: String,
    /// Its token.
    pub token: Secret,
    /// Sender: a number in E.164 or a name.
    pub from: String,
    /// Recipients' numbers in E.164.
    pub to: Vec<String>,
}

/// A program that takes signed JSON.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where to post.
    pub url: String,
    /// What the posts are signed with.
    pub secret: Secret,
}

/// Checks an address of the configuration. The text never holds the address: it may be a secret.
pub(crate) fn url(channel: &'static str, text: &str) -> Result<Url, NotifyError> {
    trimtab_outgoing::check(text).map_err(|reason| NotifyError::Receiver { channel, reason })
}

impl Receivers {
    /// Says at the start what would else only come out at the first incident.
    pub(crate) fn check(&self) -> Result<(), NotifyError> {
        if let Some(slack) = &self.slack {
            url("slack", slack.webhook.expose())?;
        }
        if let Some(webhook) = &self.webhook {
            url("webhook", &webhook.url)?;
            if webhook.secret.expose().is_empty() {
                let reason = "the secret is empty; receivers could not tell our posts from others".to_owned();
                return Err(NotifyError::Receiver {
                    channel: "webhook",
                    reason,
                });
            }
        }
        if let Some(sms) = &self.sms {
            url("sms", &sms.base_url)?;
            if sms.to.is_empty() {
                let reason = "`to` is empty; name at least one number".to_owned();
                return Err(NotifyError::Receiver {
                    channel: "sms",
                    reason,
                });
            }
        }
        self.email.as_ref().map_or(Ok(()), crate::email::check)
    }

    /// To whom a message of `channel` goes, each a delivery of its own; empty: no receiver is configured.
    pub(crate) fn recipients(&self, channel: Channel) -> Vec<String> {
        let one = |there: bool| if there { vec![String::new()] } else { vec![] };
        match channel {
            Channel::Slack => one(self.slack.is_some()),
            Channel::Email => one(self.email.is_some()),
            Channel::Webhook => one(self.webhook.is_some()),
            // Twilio takes one number a request; apart, one that fails does not repeat the others.
            Channel::Sms => self.sms.as_ref().map_or_else(Vec::new, |sms| sms.to.clone()),
        }
    }
}
