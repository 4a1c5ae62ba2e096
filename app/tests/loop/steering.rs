//! People steer by the command line: the real `trimtab serve`, and the real client against it.

use std::time::{Duration, Instant};

use trimtab_api::{Rollout, RolloutState, RolloutSummary, Service};

use crate::house::{PATIENCE, Place, Project, SERVICE, Server};

async fn server(project: &Project) -> Server {
    let place = Place::make();
    place.commit(project, "Begin");
    let repository = place.repository();
    let server = Server::start(place, &repository).await;
    let first = server.run().await;
    server.ended(&first).await;
    server
}

async fn newest(server: &Server, what: &str, pleases: impl Fn(&RolloutSummary) -> bool) -> RolloutSummary {
    let began = Instant::now();
    loop {
        let newest = server.rollouts().await.into_iter().next().unwrap();
        if pleases(&newest) {
            return newest;
        }
        let waited = began.elapsed();
        assert!(
            waited < PATIENCE,
            "no {what}: {}\n{}",
            newest.state_text,
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many instances of a release run in production, and how many a person wants.
async fn serving(server: &Server, release: &str) -> (usize, Option<u32>) {
    let services: Vec<Service> = server.get("/api/v1/services").await;
    let mut places = services[0].environments.iter();
    let production = places.find(|place| place.name == "production").unwrap();
    let of_release = production.instances.iter();
    let running = of_release.filter(|instance| {
        instance.release == release && instance.state == trimtab_api::InstanceState::Running
    });
    let wanted = production.scale.as_ref().map(|scale| scale.instances);
    (running.count(), wanted)
}

/// Forecasts rest on some seconds of users' traffic.
async fn until_traffic_is_known(server: &Server) {
    let began = Instant::now();
    let path = format!("/api/v1/forecast?service={SERVICE}");
    while !server.answers(&path).await {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn watching(rollout: &RolloutSummary) -> bool {
    rollout.state == RolloutState::Watching && rollout.candidate_percent > 0.0
}

/// Restart, pause, resume, abort, retry, promote, and the way back to any release, which says before how long
/// it takes. Users notice nothing of all that.
#[tokio::test(flavor = "multi_thread")]
async fn people_steer_a_rollout_and_return_to_any_release() {
    let project = Project::without_staging();
    let server = server(&project).await;
    server.place.commit(&project, "Second");
    let second = server.run().await;
    server.ended(&second).await;
    let load = server.load(40);

    let said = server.cli(&["rollback", SERVICE, "--dry-run"]);
    assert!(said.contains("notes-r1 must be started first: about"), "{said}");
    assert!(said.contains("its one earlier start"), "{said}");

    server.place.commit(&project.production("watch", "60s"), "Third");
    server.run().await;
    let third = newest(&server, "watch", watching).await;
    let said = server.cli(&["rollback", &third.id, "--dry-run"]);
    assert!(
        said.contains("notes-r2 is warm: users are back on it at once"),
        "{said}"
    );

    server.cli(&["restart", &third.id, "-m", "once more"]);
    newest(&server, "way off", |rollout| rollout.candidate_percent == 0.0).await;
    newest(&server, "second watch", watching).await;
    server.cli(&["pause", &third.id]);
    newest(&server, "pause", |rollout| rollout.state == RolloutState::Paused).await;
    server.cli(&["resume", &third.id]);
    server.cli(&["abort", &third.id, "-m", "not today"]);
    newest(&server, "end", |rollout| {
        rollout.state == RolloutState::RolledBack
    })
    .await;

    until_traffic_is_known(&server).await;
    server.cli(&["retry", &third.id]);
    let again = newest(&server, "third watch", watching).await;
    assert_eq!(
        (again.id.as_str(), again.candidate.as_str()),
        ("rollout-4", "notes-r3")
    );
    let told = server.get::<Rollout>("/api/v1/rollouts/rollout-4").await.forecast;
    let told = told.expect("the traffic before it is known");
    assert!(told.requests_per_second > 1.0, "{told:?}");
    let [step] = told.steps.as_slice() else {
        panic!("one step is watched: {told:?}");
    };
    assert_eq!((step.percent, step.watch_seconds), (95.0, 60.0));
    assert!(step.text.contains("that fails"), "{step:?}");
    let said = server.cli(&["forecast", SERVICE]);
    assert!(said.contains("requests a second in the last"), "{said}");
    assert!(said.contains("that fails 5.0 % takes about"), "{said}");
    let before = server.pids("proxy worker");
    let said = server.cli(&["upgrade-proxy", "-m", "as new"]);
    let [old] = before.as_slice() else {
        panic!("one worker serves: {before:?}");
    };
    assert!(said.contains(&format!("worker {old} (version")), "{said}");
    assert!(server.pids("proxy worker").iter().any(|pid| pid != old), "{said}");
    let refused = server.cli_refuses(&["scale", SERVICE, "production", "3"]);
    assert!(refused.contains("rollout-4 is under way"), "{refused}");
    server.cli(&["promote", "rollout-4"]);
    newest(&server, "end", |rollout| rollout.state == RolloutState::Deployed).await;

    let said = server.cli(&["scale", SERVICE, "production", "3", "-m", "a sale"]);
    assert!(
        said.contains("3 instances of notes in production serve"),
        "{said}"
    );
    assert_eq!(serving(&server, "notes-r3").await, (3, Some(3)));
    server.cli(&["scale", SERVICE, "production", "2"]);
    assert_eq!(serving(&server, "notes-r3").await, (2, Some(2)));

    let said = server.cli(&["rollback", SERVICE, "--to", "notes-r1", "-m", "nostalgia"]);
    assert!(said.contains("notes-r1 must be started first: about"), "{said}");
    newest(&server, "return", |rollout| {
        rollout.id == "rollout-5" && rollout.state == RolloutState::Deployed
    })
    .await;
    let services: Vec<Service> = server.get("/api/v1/services").await;
    assert_eq!(services[0].environments[0].release.as_deref(), Some("notes-r1"));
    assert_eq!(serving(&server, "notes-r1").await, (2, Some(2)));
    let said = server.cli(&["scale", SERVICE, "production", "as-written"]);
    assert!(said.contains("as its project file says"), "{said}");
    assert_eq!(serving(&server, "notes-r1").await, (1, None));
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    server.stop().await;
}

/// What a person closed is closed, with who and why, also after kill -9 of `serve`; what was held is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_service_stays_closed_over_a_crash_and_held_requests_are_served() {
    let mut server = server(&Project::without_staging()).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let users = format!("http://{}/work", server.place.traffic());
    let status = async || http.get(&users).send().await.unwrap().status().as_u16();
    assert_eq!(status().await, 200);

    server.cli(&["entrance", "close", SERVICE, "-m", "moving <house>"]);
    server.kill();
    server.up().await;
    let answer = http.get(&users).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "60");
    let page = answer.text().await.unwrap();
    assert!(page.contains("moving &lt;house&gt;"), "{page}");
    let services: Vec<Service> = server.get("/api/v1/services").await;
    let entrance = services[0].environments[0].entrance.clone().unwrap();
    assert_eq!(
        (entrance.by.as_str(), entrance.reason.as_str()),
        ("local-admin", "moving <house>")
    );

    server.cli(&["entrance", "hold", SERVICE, "--seconds", "60"]);
    let waiting = tokio::spawn(http.get(&users).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "it waits");
    server.cli(&["entrance", "open", SERVICE, "-m", "moved"]);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert_eq!(status().await, 200);

    // A hold that nobody ends.
    server.cli(&["entrance", "hold", SERVICE, "--seconds", "1"]);
    let began = Instant::now();
    while status().await != 200 {
        assert!(began.elapsed() < PATIENCE, "{}", server.log());
    }
    server.stop().await;
}
