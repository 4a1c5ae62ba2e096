#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use trimtab_outgoing::{Secret, signature};
use trimtab_project::Job;

use super::*;

const PATIENCE: Patience = Patience {
    attempts_max: 3,
    pause_ms_min: 1,
    pause_ms_max: 5,
};
const KEY: &str = "hunter22-signing-key";
const TOKEN: &str = "hunter22-bearer-token";

struct Seen {
    method: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answers = VecDeque<(u16, Vec<(&'static str, String)>, String)>;

/// A receiver that answers as planned, then with 200.
#[derive(Clone, Default)]
struct Receiver {
    seen: Arc<Mutex<Vec<Seen>>>,
    plan: Arc<Mutex<Answers>>,
}

async fn receive(
    State(receiver): State<Receiver>,
    method: axum::http::Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    receiver.seen.lock().unwrap().push(Seen {
        method: method.to_string(),
        headers,
        body,
    });
    let Some((code, headers, body)) = receiver.plan.lock().unwrap().pop_front() else {
        return "fine".into_response();
    };
    if code == 0 {
        std::future::pending::<()>().await;
    }
    let mut response = (StatusCode::from_u16(code).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

impl Receiver {
    /// A receiver, and its address.
    async fn start(plan: &[(u16, &str)]) -> (Receiver, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let receiver = Receiver::default();
        for (code, body) in plan {
            receiver.then(*code, &[], body);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, address)
    }

    fn then(&self, code: u16, headers: &[(&'static str, String)], body: &str) {
        let answer = (code, headers.to_vec(), body.to_owned());
        self.plan.lock().unwrap().push_back(answer);
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn hook(address: &str, more: &str) -> HttpHook {
    let text = format!(
        "service: notes\npipeline: {{artifact: {{paths: [x]}}}}\nrun: {{command: ./x}}\nproduction:\n  hooks: {{before: {{http: 'http://{address}/hook'{more}}}}}\n"
    );
    let project = trimtab_project::parse("trimtab.yaml", &text).unwrap();
    match project.production.hooks.before {
        Some(Job::Http(hook)) => hook,
        other => panic!("{other:?}"),
    }
}

fn both() -> Carried {
    Carried {
        signing: Some(Secret::new(KEY)),
        bearer: Some(Secret::new(TOKEN)),
    }
}

async fn asked(hook: &HttpHook, carried: &Carried) -> Result<String, String> {
    let said = json!({ "version": VERSION, "key": "rollout-1-before-abc" });
    ask(hook, carried, &said, PATIENCE).await
}

#[tokio::test]
async fn a_hook_in_trouble_is_asked_again_with_the_same_key() {
    let (receiver, address) = Receiver::start(&[(503, "busy"), (502, "")]).await;
    let told = asked(&hook(&address, ""), &both()).await;
    assert_eq!(told.as_deref(), Ok("answered 200 OK: fine"));
    let seen = receiver.seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for (attempt, one) in (1..).zip(seen.iter()) {
        assert_eq!(one.method, "POST");
        assert_eq!(one.header("idempotency-key"), "rollout-1-before-abc");
        assert_eq!(one.header("authorization"), format!("Bearer {TOKEN}"));
        let body: Value = serde_json::from_slice(&one.body).unwrap();
        assert_eq!(body["attempt"], attempt);
        let sent = one.header("x-trimtab-signature");
        let seconds: i64 = sent
            .split_once(',')
            .and_then(|(t, _)| t.strip_prefix("t=")?.parse().ok())
            .unwrap();
        assert_eq!(sent, signature(KEY, Timestamp(seconds * 1000), &one.body));
        assert_ne!(sent, signature("another", Timestamp(seconds * 1000), &one.body));
        assert!((body["sent_at_ms"].as_i64().unwrap() / 1000 - seconds).abs() <= 1);
    }
}

#[test]
fn a_key_is_the_same_for_the_same_trial_and_for_no_other() {
    let plan = |rollout: &str, started_at: i64| -> Plan {
        serde_json::from_value(json!({
            "rollout": rollout, "service": "notes", "environment": "production", "run": null,
            "candidate": "notes-r2", "baseline": "notes-r1", "started_at": started_at,
            "candidate_digest": "ab".repeat(32), "limits": {},
            "strategy": { "is": "direct", "drain_ms": 0 },
        }))
        .unwrap()
    };
    let (gate, later) = (Hook::Gate { step: 0 }, Hook::Gate { step: 1 });
    let one = key(&plan("rollout-2", 5), gate, Generation(7));
    assert_eq!(one, key(&plan("rollout-2", 5), gate, Generation(7)));
    assert!(one.starts_with("rollout-2-gate-") && one.is_ascii(), "{one}");
    for other in [
        key(&plan("rollout-3", 5), gate, Generation(7)),
        key(&plan("rollout-2", 6), gate, Generation(7)),
        key(&plan("rollout-2", 5), later, Generation(7)),
        key(&plan("rollout-2", 5), Hook::After, Generation(7)),
        key(&plan("rollout-2", 5), gate, Generation(8)),
    ] {
        assert_ne!(one, other);
    }
}

#[tokio::test]
async fn a_no_is_not_asked_again_and_its_words_are_told() {
    let (receiver, address) = Receiver::start(&[(403, "not on\na friday")]).await;
    let told = asked(&hook(&address, ""), &Carried::default()).await;
    let wanted = format!("{address}: answered 403 Forbidden: not on a friday");
    assert_eq!(told, Err(wanted));
    assert_eq!(receiver.count(), 1);
    let seen = receiver.seen.lock().unwrap();
    assert_eq!(seen[0].header("authorization"), "");
    assert_eq!(seen[0].header("x-trimtab-signature"), "");
}

#[tokio::test]
async fn what_the_team_expects_is_a_yes_and_a_get_has_no_body() {
    let (receiver, address) = Receiver::start(&[(404, "no alarms")]).await;
    let told = asked(&hook(&address, ", expect: [404], method: GET"), &both()).await;
    assert_eq!(told.as_deref(), Ok("answered 404 Not Found: no alarms"));
    let seen = receiver.seen.lock().unwrap();
    assert!(seen[0].method == "GET" && seen[0].body.is_empty());
}

#[tokio::test]
async fn attempts_end_also_when_nobody_answers() {
    let (receiver, address) = Receiver::start(&[(0, ""), (0, ""), (0, "")]).await;
    let told = asked(&hook(&address, ", timeout: 50ms"), &both()).await;
    assert_eq!(told, Err(format!("{address}: no answer in time (attempt 3)")));
    assert_eq!(receiver.count(), 3);
    // Nobody is there at all.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let told = asked(&hook(&address, ""), &both()).await.unwrap_err();
    assert!(
        told.starts_with(&address) && told.ends_with("(attempt 3)"),
        "{told}"
    );
}

#[tokio::test]
async fn a_token_never_follows_a_redirect() {
    let (other, elsewhere) = Receiver::start(&[]).await;
    for code in [301, 302, 303, 307, 308] {
        let (receiver, address) = Receiver::start(&[]).await;
        receiver.then(code, &[("location", format!("http://{elsewhere}/steal"))], "");
        let told = asked(&hook(&address, ""), &both()).await.unwrap_err();
        assert!(told.contains("nothing is followed to elsewhere"), "{told}");
        assert_eq!(receiver.count(), 1);
    }
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn an_answer_is_bounded_and_shows_no_secret() {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in TOKEN.bytes() {
        write!(hex, "{byte:02x}").unwrap();
    }
    let echo = format!("{KEY} {TOKEN} {hex} \u{1b}[31m{}", "x".repeat(200_000));
    let (_, address) = Receiver::start(&[(400, &echo)]).await;
    let told = asked(&hook(&address, ""), &both()).await.unwrap_err();
    assert!(
        told.contains("400 Bad Request: ") && told.ends_with('…'),
        "{told}"
    );
    for secret in [KEY, TOKEN, hex.as_str(), "hunter22", "\u{1b}"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert!(told.chars().count() < 400, "{told}");
    // A secret that lies across the cut is gone as a whole.
    let across = format!("{}{TOKEN}", "y".repeat(ANSWER_CHARS_MAX - 8));
    let (_, address) = Receiver::start(&[(400, &across)]).await;
    let told = asked(&hook(&address, ""), &both()).await.unwrap_err();
    assert!(!told.contains("hunter"), "{told}");
}
