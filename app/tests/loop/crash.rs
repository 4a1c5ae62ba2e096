//! Killed at any moment, everything carries on where it stood: the real `trimtab serve`, its proxy's worker and
//! its instances, under the load of users who count for themselves.
//!
//! `cargo xtask soak` plays more rounds, each with other moments.

use std::time::Duration;

use trimtab_api::{Run, RunState, StageState};

use crate::house::{Load, Place, Project, SERVICE, Server, WEBHOOK, kill};

/// Rounds of a test: 1, or as `cargo xtask soak` says (a round here is many kills).
fn rounds() -> u64 {
    let asked = std::env::var("TRIMTAB_SOAK_ROUNDS").ok();
    asked
        .and_then(|text| text.parse::<u64>().ok())
        .map_or(1, |rounds| (rounds / 10).max(1))
}

/// Slow enough to be killed in each stage.
fn project() -> Project {
    let mut project = Project::default()
        .gate(
            "performance",
            "sleep 0.3; ./bin/service check $TARGET_URL/performance 3 5000",
        )
        .production(
            "test",
            "sleep 0.3; ./bin/service check $TARGET_URL/preview 1 5000",
        )
        .production("watch", "2s")
        .production("decommission_after", "500ms");
    let build = project
        .pipeline
        .iter_mut()
        .find(|(name, _)| *name == "build")
        .unwrap();
    build.1 = format!("sleep 0.3; {}", build.1);
    project
}

async fn server(project: &Project) -> Server {
    let place = Place::make();
    place.commit(project, "Begin");
    let repository = place.repository();
    let server = Server::start(place, &repository).await;
    let first = server.run().await;
    let ended = server.ended(&first).await;
    assert_eq!(
        ended.summary.state,
        RunState::Deployed,
        "{}",
        ended.summary.state_text
    );
    server
}

/// A run is at a stage, by its name in the API.
fn at(stage: &'static str) -> impl Fn(&Run) -> bool {
    move |run| {
        let found = run.summary.stages.iter().find(|known| known.name == stage);
        found.is_some_and(|stage| stage.state != StageState::Pending)
    }
}

/// From 0 to `limit`, other in each turn.
fn jitter(turn: u64, limit_ms: u64) -> Duration {
    let mixed = (turn + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    Duration::from_millis(mixed % limit_ms)
}

async fn crash(server: &mut Server, after: Duration) {
    tokio::time::sleep(after).await;
    server.kill();
    server.up().await;
}

/// The notices whose text has `part`, by the key that receivers tell repeats by.
fn told(server: &Server, part: &str) -> Vec<String> {
    let mut keys: Vec<String> = server
        .inbox
        .with(WEBHOOK, part)
        .into_iter()
        .map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap()["key"].to_string())
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_a_rollout_goes_on_after_kill_nine_of_serve() {
    let project = project();
    let mut server = server(&project).await;
    let load = server.load(60);
    for round in 0..rounds() {
        let title = format!("Change number {round} of notes");
        server.place.commit(&project, &title);
        let run = server.run().await;
        for (turn, stage) in ["build", "deploy_staging", "performance", "deploy_production"]
            .into_iter()
            .enumerate()
        {
            server.run_until(&run, stage, at(stage)).await;
            let turn = round * 8 + u64::try_from(turn).unwrap();
            crash(&mut server, jitter(turn, 250)).await;
        }
        // Testing, switching, watching, draining or decommissioning, as the moment falls.
        crash(&mut server, jitter(round * 8 + 4, 1_500)).await;
        crash(&mut server, jitter(round * 8 + 5, 3_000)).await;
        let ended = server.ended(&run).await;
        assert_eq!(
            ended.summary.state,
            RunState::Deployed,
            "{}",
            ended.summary.state_text
        );
        let release = ended.summary.release.unwrap();
        for rollout in server.rollouts().await {
            assert!(rollout.state.is_over(), "{rollout:?}");
        }
        let serving = instances(&server);
        assert_eq!(serving.len(), 2, "one in staging, one in production: {serving:?}");
        crate::house::until("the notice", || {
            (!told(&server, &format!("is deployed: {title}")).is_empty()).then_some(())
        })
        .await;
        assert_eq!(told(&server, &format!("is deployed: {title}")).len(), 1);
        assert_eq!(
            told(&server, &format!("in production: {release} is deployed")).len(),
            1
        );
    }
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new(), "{}", server.log());
    assert!(seen.good > 100, "{seen:?}");
    server.stop().await;
}

/// Processes of the service.
fn instances(server: &Server) -> Vec<u32> {
    let shims = server.pids(" shim ");
    let mut all = server.pids("bin/service");
    all.retain(|pid| !shims.contains(pid));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_a_rollback_goes_on_after_kill_nine_of_serve() {
    let good = Project {
        staging: Vec::new(),
        ..project()
    };
    let mut server = server(&good).await;
    for round in 0..rounds() {
        let load = server.load(60);
        let bad = good
            .clone()
            .production("watch", "60s")
            .with("fail=0.5 path=/work");
        server.place.commit(&bad, &format!("Tear notes, number {round}"));
        let run = server.run().await;
        server
            .run_until(&run, "production", at("deploy_production"))
            .await;
        crash(&mut server, Duration::from_millis(300) + jitter(round * 8, 1_500)).await;
        crash(&mut server, jitter(round * 8 + 1, 2_500)).await;
        crash(&mut server, jitter(round * 8 + 2, 4_000)).await;
        let ended = server.ended(&run).await;
        assert_eq!(
            ended.summary.state,
            RunState::Failed,
            "{}",
            ended.summary.state_text
        );
        let rollout = server.rollouts().await.swap_remove(0);
        assert_eq!(
            rollout.state,
            trimtab_api::RolloutState::RolledBack,
            "{rollout:?}"
        );
        assert_eq!(instances(&server).len(), 1, "the good one");
        let release = ended.summary.release.unwrap();
        let rolled_back = format!("in production: {release} was rolled back");
        crate::house::until("the notice", || {
            (!told(&server, &rolled_back).is_empty()).then_some(())
        })
        .await;
        assert_eq!(told(&server, &rolled_back).len(), 1);
        assert_only_the_bad_release_failed(load, &release).await;
    }
    server.stop().await;
}

async fn assert_only_the_bad_release_failed(load: Load, release: &str) {
    let seen = load.stop().await;
    let others: Vec<_> = seen
        .failures
        .iter()
        .filter(|failure| **failure != format!("500 by {release:?}"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

/// How many instances a person wants in production.
async fn wanted(server: &Server) -> Option<u32> {
    let services: Vec<trimtab_api::Service> = server.get("/api/v1/services").await;
    let mut places = services[0].environments.iter();
    let production = places.find(|place| place.name == "production")?;
    production.scale.as_ref().map(|scale| scale.instances)
}

/// The number that a person wanted is reached, though `serve` was killed on the way there.
#[tokio::test(flavor = "multi_thread")]
async fn a_scale_goes_on_after_kill_nine_of_serve() {
    let slow = Project::without_staging().untested().with("slow-start=800");
    let mut server = server(&slow).await;
    let load = server.load(60);
    for count in [3, 1] {
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = request
            .post(server.address(&format!("/api/v1/services/{SERVICE}/scale")))
            .bearer_auth(server.admin())
            .json(&serde_json::json!({"instances": count, "comment": "a sale"}));
        let asking = tokio::spawn(request.send());
        let began = std::time::Instant::now();
        while wanted(&server).await != Some(count) {
            assert!(began.elapsed() < crate::house::PATIENCE, "{}", server.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        server.up().await;
        // Whoever asked may have heard nothing.
        asking.abort();
        assert_eq!(wanted(&server).await, Some(count));
        crate::house::until("as many as are wanted", || {
            (instances(&server).len() == count as usize).then_some(())
        })
        .await;
        let told: Vec<trimtab_api::TimelineEntry> = server.get("/api/v1/timeline?limit=500").await;
        let text = format!("instances wanted: {count}");
        let scaled = told.iter().find(|entry| entry.text.ends_with(&text));
        assert_eq!(scaled.unwrap().link.as_deref(), Some("/services"));
    }
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn soak_kill_nine_of_a_worker_or_an_instance_costs_what_was_in_flight() {
    let two = Project {
        instances: 2,
        ..Project::without_staging().with("slow=30")
    };
    let server = server(&two).await;
    let load = server.load(100);
    for round in 0..rounds() {
        for part in ["proxy worker", "proxy holder", "bin/service"] {
            let before = load.seen();
            let victim = if part == "bin/service" {
                instances(&server)[0]
            } else {
                server.pids(part)[0]
            };
            tokio::time::sleep(jitter(round, 200)).await;
            kill(victim);
            if part == "proxy holder" {
                crate::house::until("another holder", || {
                    let holders = server.pids(part);
                    (!holders.is_empty() && !holders.contains(&victim)).then_some(())
                })
                .await;
            }
            crate::house::until("users to be served on", || {
                (load.seen().good > before.good + 150).then_some(())
            })
            .await;
            let failed = load.seen().failures.split_off(before.failures.len());
            assert!(failed.len() <= Load::CONNECTIONS, "{part}: {failed:?}");
            crate::house::until("both instances", || (instances(&server).len() == 2).then_some(())).await;
        }
    }
    load.stop().await;
    server.stop().await;
}
