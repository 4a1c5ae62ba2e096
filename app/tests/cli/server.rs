//! A server with made-up data, and the program that asks it.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use trimtab_web::{OneTimeCodes, WebConfig, serve};

use crate::backend::Demo;

/// Longest wait for anything on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) demo: Arc<Demo>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Server {
    pub(crate) async fn start(empty: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let demo = Arc::new(Demo::new(empty));
        let config = WebConfig::new([7; 32], Arc::new(OneTimeCodes::new()));
        let backend: Arc<dyn trimtab_web::Backend> = demo.clone();
        tokio::spawn(serve(listener, backend, config, std::future::pending()));
        Self { url, demo }
    }

    /// The program as somebody with a role would call it.
    pub(crate) fn command(&self, role: &str, words: &[&str]) -> Command {
        let mut command = command(words);
        command.env("TRIMTAB_URL", &self.url).env("TRIMTAB_TOKEN", role);
        command
    }

    pub(crate) async fn run(&self, role: &str, words: &[&str]) -> Said {
        finish(self.command(role, words)).await
    }
}

/// The program, apart from this machine's settings.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trimtab"));
    command
        .args(words)
        .current_dir(std::env::temp_dir())
        .env("TRIMTAB_DATA", "/nowhere")
        .env_remove("TRIMTAB_URL")
        .env_remove("TRIMTAB_TOKEN")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) async fn finish(command: Command) -> Said {
    finish_with(command, "").await
}

/// Runs it to its end with something on its standard input.
pub(crate) async fn finish_with(mut command: Command, input: &str) -> Said {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.unwrap();
    }
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("the command ends")
        .unwrap();
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it in a folder.
pub(crate) async fn finish_in(dir: &Path, words: &[&str]) -> Said {
    let mut command = command(words);
    command.current_dir(dir);
    finish(command).await
}
