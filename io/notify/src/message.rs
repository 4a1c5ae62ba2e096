//! What is said, whatever the channel.

use serde::{Deserialize, Serialize};
use trimtab_model::Severity;

use crate::NotifyError;

/// Longest key in bytes.
const KEY_BYTES_MAX: usize = 300;
/// Longer titles, bodies and fields are cut, with an ellipsis.
const TITLE_CHARS_MAX: usize = 300;
const BODY_CHARS_MAX: usize = 20_000;
const FIELD_CHARS_MAX: usize = 1_000;
/// Fields after these are left out.
const FIELDS_MAX: usize = 20;

/// A way to reach people (or their programs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Slack's incoming webhook.
    Slack,
    /// SMTP.
    Email,
    /// Twilio's messages API, or one that speaks it.
    Sms,
    /// A signed JSON post.
    Webhook,
}

impl Channel {
    /// All channels.
    pub const ALL: [Channel; 4] = [Channel::Slack, Channel::Email, Channel::Sms, Channel::Webhook];

    /// The channel's name in lower case, as in the server's configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Slack => "slack",
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Webhook => "webhook",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == text)
    }
}

/// One message for one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Names the message: the same key on the same channel is taken once.
    pub key: String,
    /// Where to.
    pub channel: Channel,
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// Plain text; may have lines.
    pub body: String,
    /// A page with more, `http` or `https`.
    pub link: Option<String>,
    /// Names and values beside the text.
    pub fields: Vec<(String, String)>,
}

impl Message {
    /// `CRITICAL: title`, the first line on every channel.
    pub(crate) fn headline(&self) -> String {
        format!("{}: {}", self.severity.as_str().to_uppercase(), self.title)
    }

    /// Brings the message within its limits; only a key that cannot be kept is an error.
    pub(crate) fn within_limits(mut self) -> Result<Self, NotifyError> {
        if self.key.is_empty() || self.key.len() > KEY_BYTES_MAX {
            return Err(NotifyError::Key {
                bytes: self.key.len(),
                max: KEY_BYTES_MAX,
            });
        }
        let title: String = self
            .title
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.title = cut(title.trim(), TITLE_CHARS_MAX);
        self.body = cut(&self.body, BODY_CHARS_MAX);
        self.fields.truncate(FIELDS_MAX);
        for (name, value) in &mut self.fields {
            *name = cut(name, FIELD_CHARS_MAX);
            *value = cut(value, FIELD_CHARS_MAX);
        }
        // A link of another scheme could run something where it is clicked.
        self.link = self
            .link
            .filter(|link| link.starts_with("http://") || link.starts_with("https://"));
        Ok(self)
    }
}

/// At most `chars_max` characters, the last an ellipsis when some were cut.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars()
        .take(chars_max.saturating_sub(1))
        .chain(['…'])
        .collect()
}
