//! Users of the service, the same mix as the example's own load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use trimtab_api::routes::fill;

/// Time between two requests.
const GAP: Duration = Duration::from_millis(16);
const WORDS: [&str; 8] = [
    "notes", "garden", "plan", "travel", "recipe", "idea", "letter", "winter",
];
const FOREIGN: [&str; 4] = ["über den Zaun", "заметка о лете", "今日の予定", "naïve Idee 🌱"];

/// Counts of what users saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// Load that ends when it is dropped.
pub(super) struct Load {
    pub(super) seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts steady load on a port.
pub(super) fn start(port: u16) -> Result<Load> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(15))
        .build()?;
    let seen = Arc::new(Seen::default());
    let counted = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        let mut clock = tokio::time::interval(GAP);
        for n in 0_u64.. {
            clock.tick().await;
            let request = request(&http, port, n);
            let seen = Arc::clone(&counted);
            tokio::spawn(async move {
                let failed = request
                    .send()
                    .await
                    .map_or(true, |answer| answer.status().is_server_error());
                seen.requests.fetch_add(1, Relaxed);
                seen.failed.fetch_add(u64::from(failed), Relaxed);
            });
        }
    });
    Ok(Load { seen, task })
}

fn request(http: &reqwest::Client, port: u16, n: u64) -> reqwest::RequestBuilder {
    let base = format!("http://127.0.0.1:{port}");
    let word = || WORDS[fastrand::usize(..WORDS.len())];
    let text = format!(
        "{} {} {}",
        word(),
        word(),
        FOREIGN[fastrand::usize(..FOREIGN.len())]
    );
    let get = |path: String| http.get(format!("{base}{path}"));
    let sync = |block: String, clock: u64| {
        let actor = format!("user-{}", fastrand::u64(..25));
        let operation =
            json!({"block": block, "kind": "text", "value": text, "clock": clock, "actor": actor});
        http.post(format!("{base}/sync"))
            .json(&json!({"operations": [operation]}))
    };
    match fastrand::u8(..20) {
        0..3 => http
            .post(format!("{base}/blocks"))
            .json(&json!({"title": word(), "text": text, "tags": [word()]})),
        3..5 => get("/blocks?limit=10".to_owned()),
        5..7 => get(format!(
            "/plugins/word-count/blocks/shared-{}",
            fastrand::u8(..12)
        )),
        7..9 => get(format!("/search?q={}", word())),
        9..13 => get(fill("/search?q={words}", &[&format!("{} {}", word(), word())])),
        13 => sync(format!("own-{n}"), 1),
        _ => sync(
            format!("shared-{}", fastrand::u8(..12)),
            n / 4 + fastrand::u64(..4),
        ),
    }
}
