//! Twilio's messages API: a form post with basic authentication.

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;

use crate::error::Failure;
use crate::message::{Message, cut};
use crate::{Sms, http, receivers};

/// Longest body that Twilio takes, in characters.
const BODY_CHARS_MAX: usize = 1_600;

/// Headline, text and link; the text is what is cut.
pub(crate) fn text(message: &Message) -> String {
    let link = message
        .link
        .as_ref()
        .map_or_else(String::new, |link| format!("\n{link}"));
    let room = BODY_CHARS_MAX.saturating_sub(link.chars().count());
    let said = [message.headline(), message.body.trim().to_owned()];
    let said = said
        .iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    cut(&(cut(&said, room) + &link), BODY_CHARS_MAX)
}

pub(crate) async fn send(client: &Client, sms: &Sms, to: &str, message: &Message) -> Result<(), Failure> {
    let mut url =
        receivers::url("sms", &sms.base_url).map_err(|error| Failure::permanent(error.to_string()))?;
    url.path_segments_mut()
        .map_err(|()| Failure::permanent("the base address has no path"))?
        .pop_if_empty()
        .extend(["2010-04-01", "Accounts", &sms.account, "Messages.json"]);
    // An address' query is encoded as a form is.
    let mut form = url.clone();
    form.query_pairs_mut()
        .clear()
        .append_pair("To", to)
        .append_pair("From", &sms.from)
        .append_pair("Body", &text(message));
    let request = client
        .post(url)
        .basic_auth(&sms.account, Some(sms.token.expose()))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned());
    http::send(request).await.map_err(|failure| Failure {
        reason: sms.token.mask(&failure.reason),
        ..failure
    })
}
