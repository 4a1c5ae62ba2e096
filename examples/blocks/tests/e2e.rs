//! The gates of the pipeline against a real service: each must pass on a good one and fail where nothing serves.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const BLOCKS: &str = env!("CARGO_BIN_EXE_blocks");

fn check(what: &str, url: &str) -> bool {
    Command::new(BLOCKS)
        .args(["check", what, url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

#[test]
fn the_gates_pass_on_a_good_service_and_fail_on_none() {
    let folder = std::env::temp_dir().join(format!("blocks-e2e-{}", std::process::id()));
    let mut service = Command::new(BLOCKS)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PORT", "0")
        .env("DATA", &folder)
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(service.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    // The rest is read too, so that the service never waits for us.
    let rest = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let first: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = format!("http://{}", first["address"].as_str().unwrap());
    let passed = ["--smoke", "--integration"].map(|what| check(what, &url));
    service.kill().unwrap();
    service.wait().unwrap();
    rest.join().unwrap().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(passed, [true, true]);
    assert!(!check("--smoke", &url));
}
