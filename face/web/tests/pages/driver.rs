//! Drives a real headless Chromium over its DevTools protocol.

use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One tab of a browser with a profile of its own; both go with the value.
pub(crate) struct Browser {
    _process: Child,
    _profile: tempfile::TempDir,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
    /// Errors that the tab reported: exceptions, refused loads, violations of the policy.
    pub(crate) complaints: Vec<String>,
}

fn program() -> &'static str {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| std::env::split_paths(&folders).any(|folder| folder.join(name).is_file()))
        .expect("failed to find Chromium: install the package `chromium`")
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new(program())
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                "about:blank",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let find = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("Chromium ended");
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return address.trim().to_owned();
                }
            }
        };
        let address = timeout(PATIENCE, find).await.expect("Chromium does not listen");
        // Its messages are read on, so that a full pipe never stops it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let host = address
            .trim_start_matches("ws://")
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        let tabs: Value = reqwest::get(format!("http://{host}/json"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let tab = tabs
            .as_array()
            .unwrap()
            .iter()
            .find(|tab| tab["type"] == "page")
            .unwrap();
        let (socket, _) = connect_async(tab["webSocketDebuggerUrl"].as_str().unwrap())
            .await
            .unwrap();
        let mut browser = Browser {
            _process: process,
            _profile: profile,
            socket,
            calls: 0,
            complaints: Vec::new(),
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Calls a method of the protocol and gives its result.
    pub(crate) async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let text = json!({"id": id, "method": method, "params": parameters}).to_string();
        self.socket.send(Message::text(text)).await.unwrap();
        let answer = async {
            loop {
                let message = self.socket.next().await.expect("the tab is gone").unwrap();
                let Ok(text) = message.to_text() else { continue };
                let message: Value = serde_json::from_str(text).unwrap_or_default();
                if message["id"] == id {
                    return message["result"].clone();
                }
                note(&mut self.complaints, &message);
            }
        };
        timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| panic!("{method} did not answer"))
    }

    /// Evaluates an expression in the page.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        self.call("Runtime.evaluate", parameters).await["result"]["value"].clone()
    }

    /// Goes to an address and waits until the page and its scripts are there.
    pub(crate) async fn open(&mut self, address: &str) {
        self.evaluate("window.left = true").await;
        self.call("Page.navigate", json!({"url": address})).await;
        self.wait_for("document.readyState === 'complete' && !window.left")
            .await;
    }

    /// Waits until an expression is true.
    pub(crate) async fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression).await != true {
            assert!(
                Instant::now() < deadline,
                "waited in vain for {expression}; {:?}",
                self.complaints
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sets the size of the window.
    pub(crate) async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }
}

fn note(complaints: &mut Vec<String>, message: &Value) {
    match message["method"].as_str() {
        Some("Log.entryAdded") if message["params"]["entry"]["level"] == "error" => {
            let entry = &message["params"]["entry"];
            complaints.push(format!("{} {}", entry["text"], entry["url"]));
        }
        Some("Runtime.exceptionThrown") => {
            complaints.push(message["params"]["exceptionDetails"].to_string());
        }
        _ => {}
    }
}
