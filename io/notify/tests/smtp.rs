//! Email against a real SMTP server: aiosmtpd, in a process of its own.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::Value;
use trimtab_model::Severity;
use trimtab_notify::{
    Channel, Delivery, Email, Encryption, Message, NotifyError, Outbox, Receivers, Schedule, Secret, Status,
};

/// An interpreter that has aiosmtpd: what `cargo xtask test` made, or the system's if it happens to have it.
fn python() -> String {
    if let Ok(python) = std::env::var("TRIMTAB_TEST_PYTHON") {
        return python;
    }
    let has = Command::new("python3")
        .args(["-c", "import aiosmtpd"])
        .stderr(Stdio::null())
        .status();
    assert!(
        has.is_ok_and(|status| status.success()),
        "this test talks to a real SMTP server and needs Python with aiosmtpd: run `cargo xtask test`, which \
         installs it, or set TRIMTAB_TEST_PYTHON to an interpreter that has it"
    );
    "python3".to_owned()
}

struct Server {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    port: u64,
    authority: String,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(modes: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, secret) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, key.cert.pem()).unwrap();
        std::fs::write(&secret, key.signing_key.serialize_pem()).unwrap();
        let mut process = Command::new(python())
            .arg(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/tests/smtp_server.py")
            .args([&certificate, &secret])
            .args(modes)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let port = first["port"].as_u64().unwrap();
        Server {
            process,
            lines,
            port,
            authority: key.cert.pem(),
            folder,
        }
    }

    fn receiver(&self, encryption: Encryption) -> Email {
        Email {
            smtp: format!("localhost:{}", self.port),
            from: "Trimtab <trimtab@example.org>".to_owned(),
            to: vec!["ann@example.org".to_owned(), "Bob <bob@example.org>".to_owned()],
            credentials: None,
            encryption,
            authority: Some(self.authority.clone()),
        }
    }

    /// The next mail that the server took.
    fn mail(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    async fn outbox(&self, email: Email) -> Outbox {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let schedule = Schedule {
            attempts_max: 3,
            pause_min: Duration::from_millis(20),
            attempt_timeout: Duration::from_secs(10),
            ..Schedule::default()
        };
        let receivers = Receivers {
            email: Some(email),
            ..Receivers::default()
        };
        Outbox::open_with(self.folder.path().join("outbox.db"), receivers, schedule)
            .await
            .unwrap()
    }
}

fn message() -> Message {
    Message {
        key: "incident-1/raised".to_owned(),
        channel: Channel::Email,
        severity: Severity::Critical,
        title: "blocks-r2 fails\r\nBcc: evil@example.org".to_owned(),
        body: "30 % of requests fail <b>now</b> — ошибка".to_owned(),
        link: Some("http://127.0.0.1:7700/incidents/1?a=1&b=2".to_owned()),
        fields: vec![("Release".to_owned(), "blocks-r2".to_owned())],
    }
}

async fn ended(outbox: &Outbox) -> Delivery {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let delivery = outbox.deliveries(1).await.unwrap().remove(0);
        if delivery.status != Status::Waiting {
            return delivery;
        }
        assert!(Instant::now() < deadline, "{delivery:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The decoded parts of a multipart mail, by content type.
fn parts(data: &str) -> Vec<(String, String)> {
    let boundary = data
        .split("boundary=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let mut parts = Vec::new();
    for part in data.split(&format!("--{boundary}\r\n")).skip(1) {
        let (head, body) = part.split_once("\r\n\r\n").unwrap();
        let body = body.split(&format!("--{boundary}")).next().unwrap();
        let body = if head.contains("base64") {
            let joined: String = body.split_whitespace().collect();
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(joined).unwrap()).unwrap()
        } else if head.contains("quoted-printable") {
            quoted_printable(body)
        } else {
            body.to_owned()
        };
        parts.push((head.to_owned(), body));
    }
    parts
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'=' && after.len() >= 2 {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn mail_goes_encrypted_and_authenticated_in_two_forms() {
    let mut server = Server::start(&["starttls", "auth"]);
    let mut email = server.receiver(Encryption::Required);
    email.credentials = Some(("trimtab".to_owned(), Secret::new("correct horse")));
    let outbox = server.outbox(email).await;
    outbox.enqueue(message()).await.unwrap();
    let delivery = ended(&outbox).await;
    assert_eq!(delivery.status, Status::Delivered, "{delivery:?}");
    let mail = server.mail();
    assert_eq!(
        (&mail["tls"], &mail["auth"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!(mail["sender"], "trimtab@example.org");
    assert_eq!(
        mail["to"],
        serde_json::json!(["ann@example.org", "bob@example.org"])
    );
    let data = mail["data"].as_str().unwrap();
    let (head, _) = data.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("Subject: [trimtab] CRITICAL: blocks-r2 fails"),
        "{head}"
    );
    assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
    assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
    let id = head
        .lines()
        .find(|line| line.starts_with("Message-ID: <trimtab."))
        .unwrap();
    assert!(id.ends_with("@example.org>"), "{id}");
    let parts = parts(data);
    assert_eq!(parts.len(), 2);
    assert!(parts[0].0.contains("text/plain; charset=utf-8"), "{}", parts[0].0);
    assert!(
        parts[0].1.contains("30 % of requests fail <b>now</b> — ошибка"),
        "{}",
        parts[0].1
    );
    assert!(parts[0].1.contains("Release: blocks-r2"));
    assert!(parts[1].0.contains("text/html"));
    assert!(
        parts[1].1.contains("fail &lt;b&gt;now&lt;/b&gt; — ошибка"),
        "{}",
        parts[1].1
    );
    assert!(
        parts[1]
            .1
            .contains("href=\"http://127.0.0.1:7700/incidents/1?a=1&amp;b=2\"")
    );
}

#[tokio::test]
async fn a_wrong_password_is_a_dead_letter_that_a_person_can_retry() {
    let server = Server::start(&["starttls", "auth"]);
    let mut email = server.receiver(Encryption::Required);
    email.credentials = Some(("trimtab".to_owned(), Secret::new("wrong pony")));
    let outbox = server.outbox(email.clone()).await;
    outbox.enqueue(message()).await.unwrap();
    let delivery = ended(&outbox).await;
    assert_eq!(
        (delivery.status, delivery.attempts),
        (Status::Dead, 1),
        "a 5xx answer is final: {delivery:?}"
    );
    assert!(
        delivery.error.as_ref().is_some_and(|error| error.contains("535")),
        "{delivery:?}"
    );
    assert!(!format!("{delivery:?} {email:?}").contains("wrong pony"));
    outbox.close().await;

    email.credentials = Some(("trimtab".to_owned(), Secret::new("correct horse")));
    let outbox = server.outbox(email).await;
    outbox.retry(delivery.id).await.unwrap();
    assert_eq!(ended(&outbox).await.status, Status::Delivered);
}

#[tokio::test]
async fn without_starttls_nothing_is_said_when_it_is_required() {
    let mut server = Server::start(&[]);
    let outbox = server.outbox(server.receiver(Encryption::Required)).await;
    outbox.enqueue(message()).await.unwrap();
    let delivery = ended(&outbox).await;
    assert_eq!(delivery.status, Status::Dead);
    assert!(
        delivery
            .error
            .as_ref()
            .is_some_and(|error| error.contains("STARTTLS")),
        "{delivery:?}"
    );
    outbox.close().await;

    let outbox = server.outbox(server.receiver(Encryption::Optional)).await;
    outbox.retry(delivery.id).await.unwrap();
    assert_eq!(ended(&outbox).await.status, Status::Delivered);
    assert_eq!(server.mail()["tls"], false, "the first mail that the server sees");
}

#[tokio::test]
async fn an_unknown_certificate_is_refused() {
    let server = Server::start(&["starttls"]);
    let mut email = server.receiver(Encryption::Required);
    email.authority = None;
    let outbox = server.outbox(email).await;
    outbox.enqueue(message()).await.unwrap();
    let delivery = ended(&outbox).await;
    assert_eq!(delivery.status, Status::Dead);
    assert!(
        delivery
            .error
            .as_ref()
            .is_some_and(|error| error.contains("certificate")),
        "{delivery:?}"
    );
}

#[tokio::test]
async fn a_passing_refusal_is_tried_again_and_a_final_one_is_not() {
    let mut server = Server::start(&["flaky"]);
    let outbox = server.outbox(server.receiver(Encryption::None)).await;
    outbox.enqueue(message()).await.unwrap();
    let delivery = ended(&outbox).await;
    assert_eq!(
        (delivery.status, delivery.attempts),
        (Status::Delivered, 2),
        "{delivery:?}"
    );
    let again = server.mail();
    assert!(again["data"].as_str().unwrap().contains("Message-ID: <trimtab."));

    let server = Server::start(&["reject"]);
    let outbox = server.outbox(server.receiver(Encryption::None)).await;
    outbox.enqueue(message()).await.unwrap();
    let delivery = ended(&outbox).await;
    assert_eq!((delivery.status, delivery.attempts), (Status::Dead, 1));
    assert!(
        delivery.error.as_ref().is_some_and(|error| error.contains("550")),
        "{delivery:?}"
    );
}

#[tokio::test]
async fn a_bad_receiver_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let good = Email {
        smtp: "mail.example.org".to_owned(),
        from: "trimtab@example.org".to_owned(),
        to: vec!["ann@example.org".to_owned()],
        credentials: Some(("trimtab".to_owned(), Secret::new("x"))),
        encryption: Encryption::Required,
        authority: None,
    };
    let bad = [
        (
            Email {
                encryption: Encryption::Optional,
                ..good.clone()
            },
            "starttls: required",
        ),
        (
            Email {
                to: vec![],
                ..good.clone()
            },
            "`to` is empty",
        ),
        (
            Email {
                from: "no address".to_owned(),
                ..good.clone()
            },
            "no email address",
        ),
        (
            Email {
                smtp: "169.254.169.254".to_owned(),
                ..good.clone()
            },
            "metadata",
        ),
        (
            Email {
                smtp: "mail.example.org:smtp".to_owned(),
                ..good.clone()
            },
            "no port",
        ),
        (
            Email {
                authority: Some("-----BEGIN CERTIFICATE-----\n%%".to_owned()),
                ..good
            },
            "authority",
        ),
    ];
    for (email, expected) in bad {
        let receivers = Receivers {
            email: Some(email),
            ..Receivers::default()
        };
        let error = Outbox::open(folder.path().join("outbox.db"), receivers)
            .await
            .unwrap_err();
        assert!(matches!(error, NotifyError::Receiver { channel: "email", .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
}
