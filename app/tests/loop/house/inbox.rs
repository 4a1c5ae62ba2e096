//! Receivers of all four channels on this machine; what they hold has really arrived.
//!
//! Wire formats are checked where they are made (io/notify); here it counts what came where.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use trimtab_notify::{Email, Encryption, Receivers, Secret, Slack, Sms, Webhook};

use super::until;

pub(crate) const SLACK: &str = "slack";
pub(crate) const EMAIL: &str = "email";
pub(crate) const SMS: &str = "sms";
pub(crate) const WEBHOOK: &str = "webhook";

type Messages = Arc<Mutex<Vec<(&'static str, String)>>>;

/// What arrived, by channel.
#[derive(Clone)]
pub(crate) struct Inbox {
    messages: Messages,
    pub(crate) http: SocketAddr,
    pub(crate) smtp: SocketAddr,
}

impl Inbox {
    /// Starts the receivers.
    pub(crate) async fn start() -> Inbox {
        let messages = Messages::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(Arc::clone(&messages));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smtp = listener.local_addr().unwrap();
        let mails = Arc::clone(&messages);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(mail(stream, Arc::clone(&mails)));
            }
        });
        Inbox { messages, http, smtp }
    }

    /// Where control sends to.
    pub(crate) fn receivers(&self) -> Receivers {
        let base = format!("http://{}", self.http);
        Receivers {
            slack: Some(Slack {
                webhook: Secret::new(format!("{base}/slack")),
            }),
            email: Some(Email {
                smtp: self.smtp.to_string(),
                from: "trimtab@example.org".to_owned(),
                to: vec!["team@example.org".to_owned()],
                credentials: None,
                encryption: Encryption::None,
                authority: None,
            }),
            sms: Some(Sms {
                base_url: base.clone(),
                account: "AC1".to_owned(),
                token: Secret::new("token".to_owned()),
                from: "+15550100".to_owned(),
                to: vec!["+15550101".to_owned()],
            }),
            webhook: Some(Webhook {
                url: format!("{base}/webhook"),
                secret: Secret::new("secret".to_owned()),
            }),
        }
    }

    /// What came over a channel with `part` in it, in the order it came.
    pub(crate) fn with(&self, channel: &str, part: &str) -> Vec<String> {
        let all = self.messages.lock().unwrap();
        all.iter()
            .filter(|(by, text)| *by == channel && text.contains(part))
            .map(|(_, text)| text.clone())
            .collect()
    }

    /// Waits for a message with `part` in it on each channel.
    pub(crate) async fn wait(&self, channels: &[&'static str], part: &str) {
        for channel in channels {
            until(
                &format!("{part:?} by {channel} among {:?}", self.messages),
                || (!self.with(channel, part).is_empty()).then_some(()),
            )
            .await;
        }
    }
}

async fn take(State(messages): State<Messages>, uri: Uri, body: String) -> &'static str {
    let message = match uri.path() {
        "/slack" => (SLACK, body),
        "/webhook" => (WEBHOOK, body),
        _ => (SMS, form(&body)),
    };
    messages.lock().unwrap().push(message);
    "{}"
}

/// A form's fields as lines.
fn form(body: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://form/?{body}")).unwrap();
    url.query_pairs()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect()
}

/// One SMTP session.
async fn mail(stream: TcpStream, messages: Messages) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"220 mail.test\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match word.as_str() {
            "DATA" => b"354 go on\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        stream.get_mut().write_all(answer).await?;
        if word == "DATA" {
            let mut data = String::new();
            while !data.ends_with("\r\n.\r\n") {
                if stream.read_line(&mut data).await? == 0 {
                    return Ok(());
                }
            }
            messages.lock().unwrap().push((EMAIL, plain(&data)));
            stream.get_mut().write_all(b"250 taken\r\n").await?;
        }
    }
}

/// A mail with folded fields and quoted-printable text made whole.
fn plain(data: &str) -> String {
    let whole = data.replace("=\r\n", "").replace("\r\n ", " ");
    let mut bytes = Vec::new();
    let mut rest = whole.as_str();
    while let Some(at) = rest.find('=') {
        bytes.extend(&rest.as_bytes()[..at]);
        let code = rest.get(at + 1..at + 3).map(|code| u8::from_str_radix(code, 16));
        match code {
            Some(Ok(byte)) => {
                bytes.push(byte);
                rest = &rest[at + 3..];
            }
            _ => {
                bytes.push(b'=');
                rest = &rest[at + 1..];
            }
        }
    }
    bytes.extend(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
