//! Changes by people in browsers: the session's token, and what arrives behind.

use trimtab_api::{Command, SilenceOf, TokenCreated};

use crate::backend::Asked;
use crate::client::Server;

#[tokio::test]
async fn a_form_without_the_sessions_token_changes_nothing() {
    let server = Server::start().await;
    let (cookie, csrf) = server.log_in("admin").await;
    let (_, other) = server.log_in("admin").await;
    for token in ["", "junk", &other] {
        let form = [("csrf", token), ("comment", "no")];
        let answer = server
            .post("/do/approve/run-4")
            .header("cookie", &cookie)
            .form(&form)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "{token:?}");
    }
    let api = server
        .post("/api/v1/runs/run-4/approve")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(api.status(), 403, "a script with a session needs the header");
    assert!(server.demo.asked().is_empty());
    let api = server
        .post("/api/v1/runs/run-4/approve")
        .header("cookie", &cookie)
        .header("x-csrf", &csrf);
    assert_eq!(api.send().await.unwrap().status(), 200);
    let program = server
        .post("/api/v1/runs/run-4/approve")
        .bearer_auth("approver")
        .send()
        .await
        .unwrap();
    assert_eq!(program.status(), 200, "a bearer token is proof by itself");
}

#[tokio::test]
async fn a_form_becomes_a_command_by_its_person_and_leads_back() {
    let server = Server::start().await;
    let (cookie, csrf) = server.log_in("operator").await;
    let form = [
        ("csrf", csrf.as_str()),
        ("comment", " because "),
        ("minutes", "30"),
        ("back", "/incidents/incident-2"),
    ];
    let answer = server
        .post("/do/silence/incident-2")
        .header("cookie", &cookie)
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], "/incidents/incident-2");
    let of = SilenceOf {
        incident: Some("incident-2".to_owned()),
        ..SilenceOf::default()
    };
    let command = Command::Silence {
        of,
        reason: "because".to_owned(),
        minutes: 30,
    };
    assert_eq!(
        server.demo.asked(),
        [Asked {
            by: "operator-person".to_owned(),
            command
        }]
    );
    let flash = answer.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let page = server
        .get("/incidents/incident-2")
        .header("cookie", format!("{cookie}; {flash}"));
    assert!(
        page.send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("Accepted; it is on the timeline.")
    );
    let form = [("csrf", csrf.as_str()), ("back", "https://evil.example/")];
    let answer = server
        .post("/do/retry/message-1")
        .header("cookie", &cookie)
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["location"], "/");
}

#[tokio::test]
async fn buttons_show_by_role() {
    let server = Server::start().await;
    let see = async |role: &str, path: &str| {
        server
            .get(path)
            .bearer_auth(role)
            .header("accept", "text/html")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    assert!(!see("viewer", "/pipelines").await.contains("/do/"));
    assert!(see("developer", "/pipelines").await.contains("/do/deploy/blocks"));
    assert!(!see("developer", "/pipelines").await.contains("/do/approve/"));
    assert!(see("approver", "/pipelines").await.contains("/do/approve/run-4"));
    assert!(
        !see("approver", "/rollouts/rollout-4")
            .await
            .contains("/do/abort/")
    );
    assert!(
        see("operator", "/rollouts/rollout-4")
            .await
            .contains("/do/abort/rollout-4")
    );
    assert!(
        !see("operator", "/rollouts/rollout-3")
            .await
            .contains("/do/abort/"),
        "it is over"
    );
    let services = see("operator", "/services").await;
    assert!(services.contains("/do/scale/blocks") && services.contains("/do/entrance/blocks"));
    assert!(!see("developer", "/services").await.contains("/do/scale/"));
    assert!(!see("operator", "/settings").await.contains("/do/revoke-token/"));
    assert!(
        see("admin", "/settings")
            .await
            .contains("/do/revoke-token/token-1")
    );
}

#[tokio::test]
async fn a_tokens_secret_is_shown_once() {
    let server = Server::start().await;
    let body = r#"{"name":"ci","role":"developer"}"#;
    let answer = server
        .post("/api/v1/tokens")
        .bearer_auth("admin")
        .body(body)
        .send()
        .await
        .unwrap();
    let created: TokenCreated = answer.json().await.unwrap();
    assert!(
        created.secret.starts_with("tt_") && created.secret.len() == 67,
        "256 bits"
    );
    let list = server
        .get("/api/v1/tokens")
        .bearer_auth("admin")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!list.contains(&created.secret));
    let bad = r#"{"name":"<b>","role":"developer"}"#;
    let answer = server
        .post("/api/v1/tokens")
        .bearer_auth("admin")
        .body(bad)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
}
