//! Feature flags against the real server: management, audit, undo, the protocol of OpenFeature with
//! its official providers, change streams, and the command line.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "flags/protocol.rs"]
mod protocol;
#[path = "flags/sdk.rs"]
mod sdk;
#[path = "flags/server.rs"]
mod server;

use serde_json::{Value, json};
use server::Server;

/// The flags that the tests ask for.
fn document() -> Value {
    json!({
        "metadata": {"owner": "web"},
        "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@example.com"]}},
        "flags": {
            "new-search": {
                "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
                "targeting": {"fractional": [["on", 1_000], ["off", 9_000]]},
            },
            "banner": {
                "state": "ENABLED", "variants": {"hello": "Hello", "staff": "Hello, colleague"},
                "defaultVariant": "hello", "targeting": {"if": [{"$ref": "staff"}, "staff", null]},
            },
            "limit": {"state": "ENABLED", "variants": {"low": 10, "high": 1_000}, "defaultVariant": "low"},
            "ratio": {"state": "ENABLED", "variants": {"half": 0.5, "whole": 1.0}, "defaultVariant": "whole"},
            "theme": {"state": "ENABLED", "variants": {"dark": {"colour": "#000"}}, "defaultVariant": "dark"},
            "switched-off": {"state": "DISABLED", "variants": {"on": true}, "defaultVariant": "on"},
        },
    })
}

async fn with_flags() -> Server {
    let server = Server::start().await;
    let answer = server
        .post(
            "/api/v1/flags/shop/production",
            &json!({"reason": "begin", "document": document()}),
        )
        .await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_changed_audited_and_undone() {
    let server = with_flags().await;
    let path = "/api/v1/flags/shop/production";
    let broken = server
        .post(
            path,
            &json!({"reason": "x", "flag": {"key": "limit", "default_variant": "hihg"}}),
        )
        .await;
    assert_eq!(broken.status(), 400);
    let text = broken.text().await.unwrap();
    assert!(
        text.contains("flags.limit.defaultVariant") && text.contains("high"),
        "{text}"
    );
    let late = server
        .post(
            path,
            &json!({"reason": "x", "version": 7, "flag": {"key": "limit", "enabled": false}}),
        )
        .await;
    assert_eq!(late.status(), 409);
    let silent = server
        .post(path, &json!({"flag": {"key": "limit", "enabled": false}}))
        .await;
    assert_eq!(silent.status(), 400, "a change says why");
    let share = json!({"reason": "half", "flag": {"key": "new-search", "share": {"on": "on", "off": "off", "percent": 50.0}}});
    assert_eq!(server.post(path, &share).await.status(), 200);
    let set = server.get(path).await;
    let flag = set["by_key"]
        .as_array()
        .unwrap()
        .iter()
        .find(|flag| flag["key"] == "new-search")
        .unwrap();
    assert_eq!(
        (&flag["share"]["percent"], &flag["kind"]),
        (&json!(50.0), &json!("split"))
    );
    let undone = server
        .post(&format!("{path}/undo"), &json!({"reason": "too early"}))
        .await;
    assert_eq!(undone.status(), 200);
    assert_eq!(server.get(path).await["document"], document());
    let history = server.get(&format!("{path}/history")).await;
    let newest = &history[0];
    assert_eq!(
        (&newest["version"], &newest["undoes"], &newest["by"]),
        (&json!(3), &json!(2), &json!("local-admin"))
    );
    assert_eq!(newest["entries"][0]["after"], document()["flags"]["new-search"]);
    let timeline = server.get("/api/v1/timeline?limit=5").await;
    assert!(timeline.to_string().contains("too early"), "{timeline}");
    let viewer = server.token("viewer").await;
    let refused = server
        .post_as(
            &viewer,
            path,
            &json!({"reason": "x", "flag": {"key": "limit", "enabled": false}}),
        )
        .await;
    assert_eq!(refused.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_changes_checks_and_undoes() {
    let server = with_flags().await;
    let listed = server.cli(&["flags", "list", "shop"]);
    assert!(
        listed.contains("new-search") && listed.contains("on for 10 %"),
        "{listed}"
    );
    let set = server.cli(&[
        "flags",
        "set",
        "shop",
        "new-search",
        "--percent",
        "25",
        "-m",
        "more",
    ]);
    assert!(set.contains("version 2"), "{set}");
    let got = server.cli(&["flags", "get", "shop", "new-search"]);
    assert!(got.contains("2500"), "{got}");
    server.cli(&["flags", "undo", "shop", "-m", "no"]);
    let history = server.cli(&["flags", "history", "shop"]);
    assert!(
        history.contains("undoes 2") && history.contains("2500"),
        "{history}"
    );
    assert!(
        server
            .cli(&["flags", "stale", "shop"])
            .contains("no flag has been stale")
    );
    let file = server.dir().join("flags.json");
    std::fs::write(&file, document().to_string()).unwrap();
    let checked = server.cli(&["flags", "validate", file.to_str().unwrap()]);
    assert!(checked.contains("6 flags, no mistakes"), "{checked}");
    std::fs::write(&file, document().to_string().replace("fractional", "fractoinal")).unwrap();
    let output = server.cli_output(&["flags", "validate", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("flags.new-search.targeting.fractoinal")
            && told.contains("did you mean \"fractional\"?"),
        "{told}"
    );
}
