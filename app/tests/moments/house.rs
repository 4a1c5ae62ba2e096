//! `trimtab serve` at a place of its own, as in `loop`, and what both tests here do with it.

#[path = "../loop/house/inbox.rs"]
#[expect(dead_code, reason = "these tests read no notices")]
mod inbox;
#[path = "../loop/house/load.rs"]
#[expect(dead_code, reason = "the crowd is this binary's load")]
mod load;
#[path = "../loop/house/place.rs"]
#[expect(dead_code, reason = "these tests need part of it")]
mod place;
#[path = "../loop/house/project.rs"]
#[expect(dead_code, reason = "these tests need part of it")]
mod project;
#[path = "../loop/house/server.rs"]
#[expect(dead_code, reason = "these tests need part of it")]
mod server;

use std::time::{Duration, Instant};

use serde_json::json;
use trimtab_api::{Rollout, RolloutSummary, RunState};

pub(crate) use inbox::Inbox;
pub(crate) use load::Load;
pub(crate) use place::Place;
pub(crate) use project::{Project, SERVICE};
pub(crate) use server::{Server, kill};

/// Longest wait for anything: machines that run tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A release is built by one copy; it is watched for moments, and drains for as long as uploads take.
pub(crate) fn project(strategy: &str) -> Project {
    let mut project = Project::without_staging()
        .untested()
        .production("strategy", strategy)
        .production("watch", "300ms")
        .production("drain", "10s")
        .production("verdict", "{on_inconclusive: pass, requests_min: 50}");
    project.pipeline.retain(|(name, _)| *name == "build");
    if strategy == "canary" {
        project = project.production("steps", &steps(&[5, 10, 20, 35, 50, 70, 90], "100ms"));
    }
    if strategy == "rolling" {
        project.instances = 3;
        project = project
            .production("rolling", "{surge_max: 1, ready_min: 100ms}")
            .production("drain", "2s");
    }
    project
}

/// Steps of a canary.
pub(crate) fn steps(weights: &[u32], watch: &str) -> String {
    let steps: Vec<String> = weights
        .iter()
        .map(|weight| format!("{{weight: {weight}%, watch: {watch}, requests_min: 1}}"))
        .collect();
    format!("[{}]", steps.join(", "))
}

/// A server whose first release serves.
pub(crate) async fn server(project: &Project) -> Server {
    let place = Place::make();
    place.commit(project, "Begin");
    let repository = place.repository();
    let server = Server::start(place, &repository).await;
    let first = server.run().await;
    let ended = server.ended(&first).await.summary;
    assert_eq!(ended.state, RunState::Deployed, "{}", ended.state_text);
    server
}

/// Commits a project and starts its run. Each artifact is another, or one quarantine would be all of theirs.
pub(crate) async fn begin(server: &Server, project: &Project, title: &str) -> String {
    let mut project = project.clone();
    project.more = format!("# {title}\n");
    server.place.commit(&project, title);
    server.run().await
}

/// The newest rollout once it pleases.
pub(crate) async fn rollout_until(
    server: &Server,
    what: &str,
    pleases: impl Fn(&RolloutSummary) -> bool,
) -> RolloutSummary {
    let began = Instant::now();
    loop {
        let newest = server.rollouts().await.into_iter().next();
        if let Some(newest) = newest.as_ref().filter(|newest| pleases(newest)) {
            return newest.clone();
        }
        assert!(
            began.elapsed() < PATIENCE,
            "waited in vain for {what}: {newest:?}"
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// A command about a rollout or to the server, as the administrator.
pub(crate) async fn command(server: &Server, path: &str, mut body: serde_json::Value) -> serde_json::Value {
    body["comment"] = json!("as planned");
    let (status, answer) = server.post(&server.admin(), path, &body).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// A rollout with everything about it.
pub(crate) async fn rollout(server: &Server, id: &str) -> Rollout {
    server.get(&format!("/api/v1/rollouts/{id}")).await
}

/// Processes of the service, without their shims.
pub(crate) fn instances(server: &Server) -> Vec<u32> {
    let shims = server.pids(" shim ");
    let mut all = server.pids("bin/service");
    all.retain(|pid| !shims.contains(pid));
    all
}

/// Rounds of a soak; none in an ordinary test.
pub(crate) fn soak_rounds() -> Option<u64> {
    let asked = std::env::var("TRIMTAB_SOAK_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok())
}
