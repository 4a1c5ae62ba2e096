//! A real `trimtab serve` in a folder of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A running server; it and all that it started end with this.
pub(crate) struct Server {
    process: Child,
    folder: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) token: String,
    http: reqwest::Client,
}

impl Server {
    pub(crate) async fn start() -> Server {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let addresses =
            ["listen", "otlp_grpc", "otlp_http", "traffic"].map(|name| format!("{name}: 127.0.0.1:0\n"));
        std::fs::write(data.join("trimtab-server.yaml"), addresses.concat()).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_trimtab"))
            .args(["serve", "--data"])
            .arg(&data)
            .env("TRIMTAB_EPHEMERAL", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines
            .find_map(|line| {
                let line = line.unwrap();
                let words: Vec<&str> = line.split_whitespace().collect();
                words
                    .iter()
                    .find(|word| word.starts_with("http://"))
                    .map(|word| (*word).to_owned())
            })
            .unwrap();
        // Whatever it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(data.join("keys/admin.token"))
            .unwrap()
            .trim()
            .to_owned();
        let server = Server {
            process,
            folder,
            url,
            token,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let began = Instant::now();
        while server
            .http
            .get(format!("{}/livez", server.url))
            .send()
            .await
            .is_err()
        {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the server does not answer"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.post_as(&self.token, path, body).await
    }

    pub(crate) async fn post_as(&self, token: &str, path: &str, body: &Value) -> reqwest::Response {
        let request = self.request(reqwest::Method::POST, path).bearer_auth(token);
        request.json(body).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = self.request(reqwest::Method::GET, path).bearer_auth(&self.token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// A new token of a role.
    pub(crate) async fn token(&self, role: &str) -> String {
        let made = self
            .post(
                "/api/v1/tokens",
                &json!({"name": format!("test-{role}"), "role": role}),
            )
            .await;
        let made: Value = made.json().await.unwrap();
        made["secret"]
            .as_str()
            .unwrap_or_else(|| panic!("{made}"))
            .to_owned()
    }

    pub(crate) fn cli_output(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_trimtab"))
            .args(words)
            .env("TRIMTAB_URL", &self.url)
            .env("TRIMTAB_TOKEN", &self.token)
            .output()
            .unwrap()
    }

    /// What a command prints; it must succeed.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let output = self.cli_output(words);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        // SIGTERM: it stops its proxy too. Killed when it does not end.
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
