//! Slack, SMS and webhooks against local receivers that check the wire format, and the outbox' promises.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use trimtab_model::Severity;
use trimtab_notify::{
    Channel, Delivery, Message, NotifyError, Outbox, Receivers, Schedule, Secret, Slack, Sms, Status, Webhook,
};

#[derive(Clone)]
struct Seen {
    at: Instant,
    line: String,
    headers: HeaderMap,
    body: Bytes,
}

/// How the receiver answers next; when the plan is used up it takes everything.
enum Answer {
    Status(u16),
    RetryAfter(u64),
    Hang,
    Redirect(&'static str),
    Echo(u16, &'static str),
}

#[derive(Clone, Default)]
struct Receiver {
    seen: Arc<Mutex<Vec<Seen>>>,
    plan: Arc<Mutex<VecDeque<Answer>>>,
}

async fn receive(
    State(receiver): State<Receiver>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = Seen {
        at: Instant::now(),
        line: format!("{method} {uri}"),
        headers,
        body,
    };
    receiver.seen.lock().unwrap().push(seen);
    let answer = receiver.plan.lock().unwrap().pop_front();
    let status = |code| StatusCode::from_u16(code).unwrap();
    match answer {
        None => "ok".into_response(),
        Some(Answer::Status(code)) => (status(code), "some words").into_response(),
        Some(Answer::RetryAfter(seconds)) => {
            (status(429), [("retry-after", seconds.to_string())]).into_response()
        }
        Some(Answer::Hang) => std::future::pending().await,
        Some(Answer::Redirect(to)) => (status(302), [("location", to)]).into_response(),
        Some(Answer::Echo(code, text)) => (status(code), text).into_response(),
    }
}

impl Receiver {
    async fn start(plan: impl IntoIterator<Item = Answer>) -> (Self, String) {
        let receiver = Receiver {
            plan: Arc::new(Mutex::new(plan.into_iter().collect())),
            ..Self::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn receivers(base: &str) -> Receivers {
    Receivers {
        slack: Some(Slack {
            webhook: Secret::new(format!("{base}/services/T000/B000/XyZsecret")),
        }),
        email: None,
        sms: Some(Sms {
            base_url: base.to_owned(),
            account: "AC123".to_owned(),
            token: Secret::new("tok&en"),
            from: "+15550001".to_owned(),
            to: vec!["+15550002".to_owned(), "+15550003".to_owned()],
        }),
        webhook: Some(Webhook {
            url: format!("{base}/hook?x=1"),
            secret: Secret::new("hush"),
        }),
    }
}

async fn open(folder: &Path, receivers: Receivers) -> Outbox {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let schedule = Schedule {
        attempts_max: 4,
        pause_min: Duration::from_millis(20),
        pause_max: Duration::from_millis(200),
        attempt_timeout: Duration::from_millis(500),
        jitter_seed: 7,
    };
    Outbox::open_with(folder.join("outbox.db"), receivers, schedule)
        .await
        .unwrap()
}

fn message(key: &str, channel: Channel) -> Message {
    Message {
        key: key.to_owned(),
        channel,
        severity: Severity::Critical,
        title: "blocks-r2 fails & burns".to_owned(),
        body: "<!channel> 30 % of requests fail\nsecond line — ошибка".to_owned(),
        link: Some("http://127.0.0.1:7700/incidents/1".to_owned()),
        fields: vec![
            ("Release".to_owned(), "blocks-r2".to_owned()),
            ("<b>".to_owned(), "a&b".to_owned()),
        ],
    }
}

async fn until(outbox: &Outbox, done: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut changes = outbox.subscribe();
    loop {
        let deliveries = outbox.deliveries(1_000).await.unwrap();
        if done(&deliveries) {
            return deliveries;
        }
        assert!(Instant::now() < deadline, "{deliveries:#?}");
        let _ = tokio::time::timeout(Duration::from_millis(500), changes.changed()).await;
    }
}

async fn ended(outbox: &Outbox) -> Vec<Delivery> {
    until(outbox, |all| {
        all.iter().all(|delivery| delivery.status != Status::Waiting)
    })
    .await
}

#[tokio::test]
async fn slack_gets_blocks_with_everything_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, base) = Receiver::start([]).await;
    let outbox = open(folder.path(), receivers(&base)).await;
    outbox.enqueue(message("k", Channel::Slack)).await.unwrap();
    assert_eq!(ended(&outbox).await[0].status, Status::Delivered);
    let seen = receiver.seen().remove(0);
    assert_eq!(seen.line, "POST /services/T000/B000/XyZsecret");
    assert_eq!(seen.headers["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["text"], "🔴 CRITICAL: blocks-r2 fails &amp; burns");
    assert_eq!(body["blocks"][0]["type"], "header");
    assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
    let section = &body["blocks"][1]["text"];
    assert_eq!(section["type"], "mrkdwn");
    assert_eq!(
        section["text"],
        "&lt;!channel&gt; 30 % of requests fail\nsecond line — ошибка"
    );
    assert_eq!(body["blocks"][2]["fields"][0]["text"], "*Release*\nblocks-r2");
    assert_eq!(body["blocks"][2]["fields"][1]["text"], "*&lt;b&gt;*\na&amp;b");
    assert_eq!(
        body["blocks"][3]["text"]["text"],
        "<http://127.0.0.1:7700/incidents/1|Open in Trimtab>"
    );
}

#[tokio::test]
async fn sms_speaks_twilio_to_each_number_and_fits() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, base) = Receiver::start([]).await;
    let outbox = open(folder.path(), receivers(&format!("{base}/twilio/"))).await;
    let mut long = message("k", Channel::Sms);
    long.body = "ö+&=%".repeat(1_000);
    let enqueued = outbox.enqueue(long).await.unwrap();
    assert_eq!(enqueued.ids.len(), 2);
    ended(&outbox).await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 2);
    let mut numbers = Vec::new();
    for seen in seen {
        assert_eq!(seen.line, "POST /twilio/2010-04-01/Accounts/AC123/Messages.json");
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
        let basic = base64::engine::general_purpose::STANDARD.encode("AC123:tok&en");
        assert_eq!(seen.headers["authorization"], format!("Basic {basic}"));
        let form: Vec<(String, String)> =
            reqwest::Url::parse(&format!("http://x/?{}", std::str::from_utf8(&seen.body).unwrap()))
                .unwrap()
                .query_pairs()
                .into_owned()
                .collect();
        assert_eq!(form[1], ("From".to_owned(), "+15550001".to_owned()));
        assert_eq!(form[2].0, "Body");
        let body = &form[2].1;
        assert_eq!(body.chars().count(), 1_600);
        assert!(
            body.starts_with("CRITICAL: blocks-r2 fails & burns\nö+&=%"),
            "{body}"
        );
        assert!(body.ends_with("…\nhttp://127.0.0.1:7700/incidents/1"), "{body}");
        numbers.push(form[0].1.clone());
    }
    assert_eq!(numbers, ["+15550002", "+15550003"]);
}

#[tokio::test]
async fn webhooks_are_signed_over_their_raw_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, base) = Receiver::start([]).await;
    let outbox = open(folder.path(), receivers(&base)).await;
    outbox
        .enqueue(message("incident-1/raised ü", Channel::Webhook))
        .await
        .unwrap();
    ended(&outbox).await;
    let seen = receiver.seen().remove(0);
    assert_eq!(seen.line, "POST /hook?x=1");
    assert_eq!(seen.headers["x-trimtab-delivery"], "incident-1/raised__");
    let header = seen.headers["x-trimtab-signature"].to_str().unwrap();
    let (time, signature) = header.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let age = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        - time.parse::<u64>().unwrap();
    assert!(age < 30, "{age}");
    let verify = |body: &[u8]| {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"hush").unwrap();
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.verify_slice(&hex::decode(signature).unwrap()).is_ok()
    };
    assert!(verify(&seen.body));
    let mut forged = seen.body.to_vec();
    forged[10] ^= 1;
    assert!(!verify(&forged));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["version"], 1);
    assert_eq!(body["key"], "incident-1/raised ü");
    assert_eq!(body["severity"], "critical");
    assert_eq!(body["fields"][0]["name"], "Release");
}

#[tokio::test]
async fn a_flaky_receiver_gets_it_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, base) = Receiver::start([Answer::Status(500), Answer::Hang, Answer::Status(503)]).await;
    let outbox = open(folder.path(), receivers(&base)).await;
    outbox.enqueue(message("k", Channel::Slack)).await.unwrap();
    let delivery = ended(&outbox).await.remove(0);
    assert_eq!(
        (delivery.status, delivery.attempts),
        (Status::Delivered, 4),
        "{delivery:?}"
    );
    assert_eq!(delivery.error, None);
    let seen = receiver.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|one| one.body == seen[0].body));
    assert!(
        seen[2].at - seen[1].at >= Duration::from_millis(500),
        "an answer is waited for, but not for ever"
    );
}

#[tokio::test]
async fn retry_after_is_kept_to() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, base) = Receiver::start([Answer::RetryAfter(1)]).await;
    let outbox = open(folder.path(), receivers(&base)).await;
    outbox.enqueue(message("k", Channel::Webhook)).await.unwrap();
    assert_eq!(ended(&outbox).await[0].attempts, 2);
    let seen = receiver.seen();
    assert!(
        seen[1].at - seen[0].at >= Duration::from_millis(990),
        "{:?}",
        seen[1].at - seen[0].at
    );
}

#[tokio::test]
async fn dead_letters_say_why_and_can_be_retried() {
    let folder = tempfile::tempdir().unwrap();
    let plan = (0..4)
        .map(|_| Answer::Status(500))
        .chain([Answer::Echo(403, "bad XyZsecret\u{1b}[31m token")]);
    let (receiver, base) = Receiver::start(plan).await;
    let mut only = receivers(&base);
    only.slack = Some(Slack {
        webhook: Secret::new(format!("{base}/XyZsecret")),
    });
    let outbox = open(folder.path(), only).await;
    outbox.enqueue(message("tried", Channel::Slack)).await.unwrap();
    let dead = until(&outbox, |all| all[0].status == Status::Dead)
        .await
        .remove(0);
    assert_eq!(dead.attempts, 4);
    assert!(
        dead.error
            .as_ref()
            .is_some_and(|error| error.contains("500") && error.contains("some words"))
    );

    outbox.enqueue(message("refused", Channel::Slack)).await.unwrap();
    let dead = until(&outbox, |all| all[0].status == Status::Dead)
        .await
        .remove(0);
    assert_eq!(dead.attempts, 1, "a refusal is final");
    let reason = dead.error.clone().unwrap();
    assert!(reason.contains("403") && !reason.contains('\u{1b}'), "{reason}");
    assert_eq!(outbox.dead_letters(10).await.unwrap().len(), 2);
    assert_eq!(outbox.counts().await.unwrap().dead, 2);

    outbox.retry(dead.id).await.unwrap();
    until(&outbox, |all| all[0].status == Status::Delivered).await;
    assert_eq!(
        outbox.retry(dead.id).await,
        Err(NotifyError::NotDead { id: dead.id })
    );
    assert_eq!(receiver.seen().len(), 6);
}

#[tokio::test]
async fn a_key_is_taken_once_for_each_channel() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, base) = Receiver::start([]).await;
    let outbox = open(folder.path(), receivers(&base)).await;
    for _ in 0..3 {
        outbox.enqueue(message("k", Channel::Slack)).await.unwrap();
        outbox.enqueue(message("k", Channel::Webhook)).await.unwrap();
    }
    assert_eq!(
        outbox.enqueue(message("k", Channel::Slack)).await.unwrap().ids,
        Vec::<i64>::new()
    );
    assert_eq!(ended(&outbox).await.len(), 2);
    outbox.close().await;
    let outbox = open(folder.path(), receivers(&base)).await;
    assert_eq!(
        outbox.enqueue(message("k", Channel::Slack)).await.unwrap().ids,
        Vec::<i64>::new()
    );
    assert_eq!(receiver.seen().len(), 2);
}

#[tokio::test]
async fn what_waits_survives_its_process_and_goes_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, base) = Receiver::start([Answer::Hang]).await;
    let outbox = open(folder.path(), receivers(&base)).await;
    for n in 0..5 {
        outbox
            .enqueue(message(&format!("k{n}"), Channel::Webhook))
            .await
            .unwrap();
    }
    until(&outbox, |all| all.iter().any(|delivery| delivery.attempts == 1)).await;
    // The first hangs: nothing overtakes it while it is under way.
    assert!(receiver.seen().len() <= 1);
    outbox.close().await;
    let outbox = open(folder.path(), receivers(&base)).await;
    assert!(
        ended(&outbox)
            .await
            .iter()
            .all(|delivery| delivery.status == Status::Delivered)
    );
    let keys: Vec<_> = receiver
        .seen()
        .iter()
        .map(|seen| seen.headers["x-trimtab-delivery"].clone())
        .collect();
    assert!(
        (0..5).all(|n| keys.iter().any(|key| key == &format!("k{n}"))),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_channel_without_a_receiver_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path(), Receivers::default()).await;
    let enqueued = outbox.enqueue(message("k", Channel::Email)).await.unwrap();
    assert!(!enqueued.receiver);
    let delivery = outbox.deliveries(1).await.unwrap().remove(0);
    assert_eq!(delivery.status, Status::NoReceiver);
    assert!(delivery.error.is_some_and(|error| error.contains("notify.email")));
}

#[tokio::test]
async fn messages_never_go_to_metadata_addresses_or_follow_there() {
    let folder = tempfile::tempdir().unwrap();
    for url in [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://2852039166/",
        "ftp://x/",
        "http://u:p@x/",
    ] {
        let receivers = Receivers {
            slack: Some(Slack {
                webhook: Secret::new(url),
            }),
            ..Receivers::default()
        };
        let error = Outbox::open(folder.path().join("other.db"), receivers)
            .await
            .unwrap_err();
        assert!(
            matches!(error, NotifyError::Receiver { channel: "slack", .. }),
            "{url}: {error}"
        );
        assert!(!error.to_string().contains("latest"), "{error}");
    }
    let (receiver, base) = Receiver::start([Answer::Redirect("http://169.254.169.254/latest")]).await;
    let outbox = open(folder.path(), receivers(&base)).await;
    outbox.enqueue(message("k", Channel::Webhook)).await.unwrap();
    let delivery = ended(&outbox).await.remove(0);
    assert_eq!(delivery.status, Status::Dead);
    assert!(delivery.error.is_some_and(|error| error.contains("302")));
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn nothing_secret_is_ever_shown() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let receivers = receivers(&base);
    let shown = format!("{receivers:?}");
    let outbox = open(folder.path(), receivers).await;
    for channel in [Channel::Slack, Channel::Sms, Channel::Webhook] {
        outbox.enqueue(message("k", channel)).await.unwrap();
    }
    let all = format!("{shown} {:?} {outbox:?}", ended(&outbox).await);
    for secret in ["XyZsecret", "tok&en", "hush"] {
        assert!(!all.contains(secret), "{all}");
    }
    assert!(all.contains("onnect"), "the cause is told: {all}");
    outbox.close().await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("XyZsecret"));
    }
}
