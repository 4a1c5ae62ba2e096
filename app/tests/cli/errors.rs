//! What is said when a command does not work: the reason, the mend, and an exit status of its own.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Server, command, finish};

/// Token, words, status, what is said.
type Case = (
    Option<&'static str>,
    &'static [&'static str],
    i32,
    &'static [&'static str],
);

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_names_its_mend_and_has_its_status() {
    let server = Server::start(false).await;
    let cases: &[Case] = &[
        (
            None,
            &["status"],
            4,
            &["no valid token", "set TRIMTAB_TOKEN", "TRIMTAB_DATA"],
        ),
        (
            Some("nobody"),
            &["status"],
            4,
            &["unknown, revoked or expired", "trimtab token create"],
        ),
        (
            Some("viewer"),
            &["approve", "run-4"],
            4,
            &["the role viewer does not allow this", "approver"],
        ),
        (
            Some("viewer"),
            &["watch", "rollout-99"],
            5,
            &["failed to find rollout \"rollout-99\"", "list what exists"],
        ),
        (
            Some("viewer"),
            &["postmortem", "incident-2"],
            5,
            &[
                "it is written when the incident ends",
                "trimtab explain incident-2",
            ],
        ),
        (
            Some("viewer"),
            &["frobnicate"],
            2,
            &["unrecognized subcommand", "--help"],
        ),
        (
            Some("admin"),
            &["incidents", "silence", "incident-2"],
            2,
            &["--reason"],
        ),
    ];
    for (token, words, status, expected) in cases {
        let mut command = server.command(token.unwrap_or_default(), words);
        if token.is_none() {
            command.env_remove("TRIMTAB_TOKEN");
        }
        let said = finish(command).await;
        assert_eq!(
            (said.status, said.out.as_str()),
            (*status, ""),
            "{words:?}: {said:?}"
        );
        for text in *expected {
            assert!(said.err.contains(text), "{words:?} says {text:?}: {}", said.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_failures_as_json() {
    let server = Server::start(false).await;
    let said = server
        .run("viewer", &["watch", "rollout-99", "--output", "json"])
        .await;
    let error: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(
        (said.status, &error["error"]["code"]),
        (5, &Value::from("not_found"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_is_another_is_told() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let said = finish(command(&["status", "--url", &format!("http://{address}")])).await;
    assert_eq!(said.status, 3, "{said:?}");
    for text in [
        "failed to reach a server",
        "refused",
        "trimtab serve",
        "TRIMTAB_URL",
    ] {
        assert!(said.err.contains(text), "{}", said.err);
    }
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    // Without a scheme, as people type it.
    let said = finish(command(&["status", "--url", &address.to_string()])).await;
    assert_eq!(said.status, 3, "{said:?}");
    assert!(
        said.err.contains("not JSON") && said.err.contains("TRIMTAB_URL"),
        "{}",
        said.err
    );
}
