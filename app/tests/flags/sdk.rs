//! The official OpenFeature SDKs with their official providers, unchanged.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::server::Server;
use crate::with_flags;

/// Runs a program that prints one JSON object; the server's address and a viewer's token are its
/// arguments.
async fn told(server: &Server, program: &mut Command) -> Value {
    let token = server.token("viewer").await;
    let output = program.args([&server.url, &token]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn check(told: &Value) {
    let expected = [
        ("search-control", "false off SPLIT"),
        ("search-exposed", "true on SPLIT"),
        ("banner", "Hello, colleague staff TARGETING_MATCH"),
        ("banner-default", "Hello hello DEFAULT"),
        ("limit", "10 low STATIC"),
        ("ratio", "1.0 whole STATIC"),
        ("theme", "#000 dark STATIC"),
        ("absent", "FLAG_NOT_FOUND ERROR"),
        ("no-key", "TARGETING_KEY_MISSING ERROR"),
    ];
    for (name, answer) in expected {
        assert_eq!(told[name], answer, "{name} in {told}");
    }
    // The code's own default, whatever the reason is called.
    assert!(
        told["switched-off"].as_str().unwrap().starts_with("code-default"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_works_unchanged() {
    let python = std::env::var_os("TRIMTAB_TEST_PYTHON")
        .map(PathBuf::from)
        .expect("TRIMTAB_TEST_PYTHON names a Python with openfeature-provider-ofrep: run `cargo xtask test`");
    let server = with_flags().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flags/client.py");
    let told = told(&server, Command::new(python).arg(script)).await;
    check(&told);
    assert_eq!(told["switched-off"], "code-default  DISABLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdk_works_unchanged() {
    let packages = std::env::var_os("TRIMTAB_TEST_NODE")
        .map(PathBuf::from)
        .expect("TRIMTAB_TEST_NODE names a folder with @openfeature/ofrep-provider: run `cargo xtask test`");
    let server = with_flags().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flags/client.cjs");
    let mut node = Command::new("node");
    node.env("NODE_PATH", packages.join("node_modules")).arg(script);
    check(&told(&server, &mut node).await);
}
