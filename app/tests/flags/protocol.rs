//! OpenFeature's remote evaluation protocol, as it goes over the wire.

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::Server;
use crate::with_flags;

const ALL: &str = "/ofrep/v1/evaluate/flags";

async fn one(server: &Server, key: &str, context: Value) -> (u16, Value) {
    let answer = server
        .post(&format!("{ALL}/{key}"), &json!({ "context": context }))
        .await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn all(server: &Server, token: &str, context: &Value, tag: Option<&str>) -> reqwest::Response {
    let mut request = server.request(Method::POST, ALL).bearer_auth(token);
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    request.json(&json!({ "context": context })).send().await.unwrap()
}

fn tag(answer: &reqwest::Response) -> String {
    answer.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flag_answers_as_the_protocol_says() {
    let server = with_flags().await;
    let (status, answer) = one(&server, "new-search", json!({"targetingKey": "user-1"})).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"key": "new-search", "value": false, "variant": "off", "reason": "SPLIT",
            "metadata": {"owner": "web", "cohort": "control"}}),
        "bucket 9963 of 10,000 is in the control"
    );
    let (_, answer) = one(&server, "banner", json!({"email": "jo@example.com"})).await;
    assert_eq!(
        (&answer["value"], &answer["reason"]),
        (&json!("Hello, colleague"), &json!("TARGETING_MATCH"))
    );
    let (_, answer) = one(&server, "banner", json!({})).await;
    assert_eq!(answer["reason"], "DEFAULT");
    let (_, answer) = one(&server, "ratio", json!({})).await;
    assert_eq!(
        (answer["value"].to_string().as_str(), &answer["reason"]),
        ("1.0", &json!("STATIC"))
    );
    let (status, answer) = one(&server, "switched-off", json!({})).await;
    assert_eq!(
        (status, &answer["reason"], answer.get("value")),
        (200, &json!("DISABLED"), None)
    );
    let failures = [
        ("absent", json!({}), 404, "FLAG_NOT_FOUND"),
        ("new-search", json!({}), 400, "TARGETING_KEY_MISSING"),
        ("new-search", json!({"targetingKey": 7}), 400, "INVALID_CONTEXT"),
        ("new-search", json!("me"), 400, "INVALID_CONTEXT"),
        (
            "new-search",
            json!({"x": "y".repeat(70_000)}),
            400,
            "INVALID_CONTEXT",
        ),
    ];
    for (key, context, expected, code) in failures {
        let (status, answer) = one(&server, key, context).await;
        assert_eq!(
            (status, answer["errorCode"].as_str().unwrap()),
            (expected, code),
            "{answer}"
        );
        assert_eq!(answer["key"], key);
        assert!(!answer["errorDetails"].as_str().unwrap().is_empty());
    }
    let path = format!("{ALL}/limit");
    let garbled = server
        .request(Method::POST, &path)
        .bearer_auth(&server.token)
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(garbled.status(), 400);
    assert_eq!(garbled.json::<Value>().await.unwrap()["errorCode"], "PARSE_ERROR");
    let by_key = server
        .request(Method::POST, &path)
        .header("x-api-key", &server.token)
        .send()
        .await
        .unwrap();
    assert_eq!(by_key.status(), 200);
    for request in [
        server.request(Method::POST, &path),
        server.request(Method::POST, &path).bearer_auth("tt_wrong"),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    let configuration = server.get("/ofrep/v1/configuration").await;
    assert_eq!(configuration["name"], "Trimtab");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_flags_are_tagged_over_set_context_and_authorisation() {
    let server = with_flags().await;
    let viewer = server.token("viewer").await;
    let (me, you) = (
        json!({"targetingKey": "me"}),
        json!({"targetingKey": "me", "plan": "pro"}),
    );
    let first = all(&server, &viewer, &me, None).await;
    assert_eq!(first.status(), 200);
    let mine = tag(&first);
    let body: Value = first.json().await.unwrap();
    assert_eq!(body["flags"].as_array().unwrap().len(), 6);
    assert_eq!(body["metadata"]["version"], 1);
    let again = all(&server, &viewer, &me, Some(&mine)).await;
    assert_eq!((again.status().as_u16(), tag(&again)), (304, mine.clone()));
    assert_eq!(again.bytes().await.unwrap().len(), 0);
    assert_eq!(
        all(&server, &viewer, &you, Some(&mine)).await.status(),
        200,
        "another context"
    );
    assert_eq!(
        all(&server, &server.token, &me, Some(&mine)).await.status(),
        200,
        "another asker"
    );
    let change = json!({"reason": "more", "flag": {"key": "limit", "default_variant": "high"}});
    assert_eq!(
        server
            .post("/api/v1/flags/shop/production", &change)
            .await
            .status(),
        200
    );
    assert_eq!(
        all(&server, &viewer, &me, Some(&mine)).await.status(),
        200,
        "another set"
    );
    let bad = server.post(ALL, &json!({"context": []})).await;
    assert_eq!(bad.status(), 400);
    assert_eq!(bad.json::<Value>().await.unwrap()["errorCode"], "INVALID_CONTEXT");
    let elsewhere = server
        .request(Method::POST, ALL)
        .bearer_auth(&viewer)
        .header("x-trimtab-service", "other");
    let none: Value = elsewhere.send().await.unwrap().json().await.unwrap();
    assert_eq!(none["flags"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_on_the_event_stream() {
    let server = with_flags().await;
    let body: Value = all(&server, &server.token, &json!({"targetingKey": "me"}), None)
        .await
        .json()
        .await
        .unwrap();
    let stream = &body["eventStreams"][0];
    assert_eq!(stream["type"], "sse");
    let address = stream["endpoint"]["requestUri"].as_str().unwrap();
    // As a browser opens it: without a token.
    let opened = server.request(Method::GET, address).send().await.unwrap();
    assert_eq!(opened.status(), 200);
    assert!(
        opened.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    let forged = address.replace("service=shop", "service=other");
    assert_eq!(
        server
            .request(Method::GET, &forged)
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    let mut chunks = opened.bytes_stream();
    let change = json!({"reason": "more", "flag": {"key": "limit", "default_variant": "high"}});
    assert_eq!(
        server
            .post("/api/v1/flags/shop/production", &change)
            .await
            .status(),
        200
    );
    let mut heard = String::new();
    while !heard.contains("refetchEvaluation") {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(30), chunks.next()).await;
        heard.push_str(std::str::from_utf8(&chunk.unwrap().unwrap().unwrap()).unwrap());
    }
    assert!(
        heard.contains("id:") && heard.contains("event: message"),
        "{heard}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_who_were_served_count() {
    let server = with_flags().await;
    for user in 0..200 {
        for _ in 0..2 {
            let (status, _) = one(
                &server,
                "new-search",
                json!({"targetingKey": format!("user-{user}")}),
            )
            .await;
            assert_eq!(status, 200);
        }
    }
    // Whoever fetches all flags has not been served any of them yet.
    all(&server, &server.token, &json!({"targetingKey": "fetcher"}), None).await;
    let set = server.get("/api/v1/flags/shop/production").await;
    let flag = set["by_key"]
        .as_array()
        .unwrap()
        .iter()
        .find(|flag| flag["key"] == "new-search")
        .unwrap();
    let count = |side: &str| flag["users"][side].as_u64().unwrap();
    assert_eq!(
        count("exposed") + count("control") + count("outside"),
        200,
        "{flag}"
    );
    assert!(
        (5..40).contains(&count("exposed")) && (5..40).contains(&count("control")),
        "{flag}"
    );
    assert_eq!(flag["evaluations"], 401);
    assert!(flag["asked_at"].is_string());
}
