//! Users of the service, the same mix as the example's own load.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use trimtab_api::routes::fill;
use trimtab_control::clock;

use crate::commands::client::Client;

/// Time between two requests.
const GAP: Duration = Duration::from_millis(16);
/// Time between two scores that users give.
const SCORE_GAP: Duration = Duration::from_secs(5);
/// Answers that are remembered one by one: an hour's.
const ANSWERS_MAX: usize = 225_000;
const WORDS: [&str; 8] = [
    "notes", "garden", "plan", "travel", "recipe", "idea", "letter", "winter",
];
const FOREIGN: [&str; 4] = ["über den Zaun", "заметка о лете", "今日の予定", "naïve Idee 🌱"];

/// Requests and the failed ones among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) failed: u64,
}

/// What users saw, by the time they asked.
#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    failed: AtomicU64,
    answers: Mutex<VecDeque<(i64, bool)>>,
}

impl Seen {
    fn note(&self, asked_ms: i64, failed: bool) {
        self.requests.fetch_add(1, Relaxed);
        self.failed.fetch_add(u64::from(failed), Relaxed);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.pop_front();
        }
        answers.push_back((asked_ms, failed));
    }
}

/// Load that ends when it is dropped.
pub(super) struct Load {
    seen: Arc<Seen>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Load {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            requests: self.seen.requests.load(Relaxed),
            failed: self.seen.failed.load(Relaxed),
        }
    }

    /// Requests that users began from one moment until another, in milliseconds of the clock.
    pub(super) fn between(&self, from_ms: i64, until_ms: i64) -> Counts {
        let answers = self.seen.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Counts::default();
        for (_, failed) in answers
            .iter()
            .filter(|(asked_ms, _)| (from_ms..until_ms).contains(asked_ms))
        {
            counts.requests += 1;
            counts.failed += u64::from(*failed);
        }
        counts
    }
}

/// Starts steady load of so many users on a port, and their scores through the API.
pub(super) fn start(port: u16, users: u64, api: Client) -> Result<Load> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(15))
        .build()?;
    let seen = Arc::new(Seen::default());
    let counted = Arc::clone(&seen);
    let requests = tokio::spawn(async move {
        let mut clock = tokio::time::interval(GAP);
        // A pause of the machine is not made up for by a burst.
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for n in 0_u64.. {
            clock.tick().await;
            let user = format!("user-{}", fastrand::u64(..users));
            let request = request(&http, port, users, n).header("x-user", user);
            let seen = Arc::clone(&counted);
            tokio::spawn(async move {
                let asked_ms = clock::now().0;
                let failed = request
                    .send()
                    .await
                    .map_or(true, |answer| answer.status().is_server_error());
                seen.note(asked_ms, failed);
            });
        }
    });
    let watched = Arc::clone(&seen);
    let scores = tokio::spawn(async move {
        let mut failed_before = 0;
        loop {
            tokio::time::sleep(SCORE_GAP).await;
            let failed = watched.failed.load(Relaxed);
            let score = if failed > failed_before {
                2
            } else {
                fastrand::u8(4..=5)
            };
            failed_before = failed;
            // A score that is lost is of no weight.
            let _ = api
                .post(
                    "/api/v1/feedback",
                    &json!({"service": "blocks", "score": f64::from(score)}),
                )
                .await;
        }
    });
    Ok(Load {
        seen,
        tasks: [requests, scores],
    })
}

fn request(http: &reqwest::Client, port: u16, users: u64, n: u64) -> reqwest::RequestBuilder {
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
        let actor = format!("user-{}", fastrand::u64(..users));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_are_counted_by_the_time_users_asked() {
        let seen = Arc::new(Seen::default());
        for (asked_ms, failed) in [(10, false), (20, true), (30, true), (40, false)] {
            seen.note(asked_ms, failed);
        }
        let idle = || tokio::spawn(async {});
        let load = Load {
            seen,
            tasks: [idle(), idle()],
        };
        let counts = |requests, failed| Counts { requests, failed };
        assert_eq!(load.counts(), counts(4, 2));
        assert_eq!(load.between(20, 40), counts(2, 2));
        assert_eq!(load.between(0, 20), counts(1, 0));
    }
}
