//! A release behind a flag: out with the flag off, then on for more and more users; trouble switches the
//! flag off and leaves the release. The service asks for the flag over OFREP and tells of its requests by
//! OTLP, as one with OpenFeature's and OpenTelemetry's libraries does.

use std::time::Duration;

use serde_json::Value;
use trimtab_api::{Rollout, RolloutState, Run, RunState};

use crate::house::{EMAIL, Load, Place, Project, SLACK, Seen, Server, WEBHOOK, until};

const HISTORY: &str = "/api/v1/flags/notes/production/history";
const PEOPLE: u32 = 400;

/// The first release knows the flag already, and goes out like any other.
fn first() -> Project {
    Project::without_staging().with("flag=new-search")
}

/// The second one rolls the flag out.
fn second(first: &Project, steps: &str) -> Project {
    first
        .clone()
        .production("strategy", "flag")
        .production("flag", &format!("{{key: new-search, steps: {steps}}}"))
}

/// A server whose first release serves, under load of people, with the run of `second` begun.
async fn shipping(second: &Project, rate: u32) -> (Server, Load, String) {
    let place = Place::make();
    place.commit(&first(), "Begin");
    let repository = place.repository();
    let server = Server::start(place, &repository).await;
    let begun = server.run().await;
    let ended = server.ended(&begun).await;
    assert_eq!(
        ended.summary.state,
        RunState::Deployed,
        "{}",
        ended.summary.state_text
    );
    let load = server.load_of(PEOPLE, rate);
    server.place.commit(second, "Search anew");
    let run = server.run().await;
    (server, load, run)
}

/// The shares of users for whom the flag was switched on, oldest first; 0 where it was off.
async fn shares(server: &Server) -> Vec<u64> {
    let sets: Vec<Value> = server.get("/api/v1/flags").await;
    if sets.is_empty() {
        return Vec::new();
    }
    let history: Vec<Value> = server.get(HISTORY).await;
    let entries = history.iter().rev().filter_map(|past| past["entries"].as_array());
    let shares = entries.flatten().filter(|entry| entry["key"] == "new-search");
    shares
        .map(|entry| match entry["after"]["state"].as_str() {
            Some("ENABLED") => entry["after"]["targeting"]["fractional"][0][1].as_u64().unwrap() / 100,
            _ => 0,
        })
        .collect()
}

async fn until_share(server: &Server, wanted: u64) {
    let began = std::time::Instant::now();
    while !shares(server).await.contains(&wanted) {
        assert!(
            began.elapsed() < crate::house::PATIENCE,
            "never {wanted} %: {:?} {}",
            server.rollouts().await,
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_deployed(run: &Run) {
    assert_eq!(
        run.summary.state,
        RunState::Deployed,
        "{}",
        run.summary.state_text
    );
}

/// Waits until everybody was answered with the flag on after `before`.
async fn assert_on_for_all(load: &Load) {
    load.forget_flag();
    until("everybody", || {
        let Seen { on, off, .. } = load.seen();
        assert!(off.is_empty(), "{off:?} have it off");
        (on.len() == PEOPLE as usize).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_flag_goes_on_for_ten_fifty_and_all_and_fails_nobody() {
    let steps = "[{weight: 10%, watch: 4s}, {weight: 50%, watch: 4s}]";
    let (server, load, run) = shipping(&second(&first(), steps), 100).await;
    until_share(&server, 10).await;
    let some = load.seen().on.len();
    if !shares(&server).await.contains(&50) {
        assert!(
            some < PEOPLE as usize / 4,
            "{some} have it on in the step of a tenth"
        );
    }
    assert_deployed(&server.ended(&run).await);
    assert_eq!(shares(&server).await, [0, 10, 50, 100]);
    let rollout = server.rollouts().await.swap_remove(0);
    assert_eq!(rollout.state, RolloutState::Deployed, "{rollout:?}");
    assert_on_for_all(&load).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new(), "{}", server.log());
    assert!(
        seen.by_release.keys().eq(["notes-r1", "notes-r2"]),
        "{:?}",
        seen.by_release
    );
    let told = "in production: notes-r2 is deployed";
    server.inbox.wait(&[SLACK, EMAIL, WEBHOOK], told).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_fails_requests_is_disabled_and_its_release_serves_on() {
    // Its users are known by a header: whether the service tells of its requests does not matter.
    let steps = "[{weight: 10%, watch: 90s}, {weight: 50%, watch: 90s}]";
    let bad = second(&first().untested(), &format!("{steps}, user_header: X-User"));
    let (server, load, run) = shipping(&bad.with("flag=new-search fail=0.8 path=/work"), 120).await;
    let ended = server.ended(&run).await;
    assert_eq!(
        ended.summary.state,
        RunState::Failed,
        "{}",
        ended.summary.state_text
    );
    let reason = &ended.summary.state_text;
    assert!(reason.contains("of the users with the flag on"), "{reason}");
    assert!(reason.contains("meet failures"), "{reason}");
    assert_eq!(shares(&server).await, [0, 10, 0], "{reason}");
    let rollout = server.rollouts().await.swap_remove(0);
    assert_eq!(rollout.state, RolloutState::RolledBack, "{rollout:?}");
    assert!(rollout.state_text.contains("disabled"), "{rollout:?}");
    let whole: Rollout = server.get(&format!("/api/v1/rollouts/{}", rollout.id)).await;
    let verdict = whole.verdict.expect("the flag was judged");
    let counts: Vec<_> = verdict
        .evidence
        .iter()
        .filter_map(|one| one.counts.as_deref())
        .collect();
    assert!(
        counts
            .iter()
            .any(|counts| counts.contains("users without the flag")),
        "{counts:?}"
    );
    let told = "the flag of notes-r2 was disabled";
    server.inbox.wait(&[SLACK, EMAIL, WEBHOOK], told).await;

    // Nobody but those who had it on met anything, and now nobody has.
    let before = load.forget_flag();
    let on = before.on.len();
    assert!(on > 0 && on < PEOPLE as usize / 4, "{on} had it on");
    let of_flag = |failure: &&String| *failure == "500 by \"notes-r2\" with the flag on";
    let failures = before.failures.len();
    assert!(failures > 0);
    assert_eq!(
        before.failures.iter().filter(of_flag).count(),
        failures,
        "{:?}",
        before.failures
    );
    until("everybody to be served", || {
        (load.seen().off.len() == PEOPLE as usize).then_some(())
    })
    .await;
    let seen = load.stop().await;
    assert_eq!(seen.failures[failures..], Vec::<String>::new());
    assert!(seen.on.is_empty(), "{:?}", seen.on);
    assert_eq!(
        seen.by_release["notes-r1"], before.by_release["notes-r1"],
        "the release stays"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_goes_on_after_kill_nine_of_serve_in_each_step() {
    let steps = "[{weight: 10%, watch: 6s}, {weight: 50%, watch: 6s}]";
    let (mut server, load, run) = shipping(&second(&first(), steps), 100).await;
    for share in [10, 50] {
        until_share(&server, share).await;
        // Some were counted, and some of those were not written down yet.
        let answered = load.seen().good;
        until("requests in this step", || {
            (load.seen().good > answered + 150).then_some(())
        })
        .await;
        server.kill();
        server.up().await;
    }
    assert_deployed(&server.ended(&run).await);
    assert_eq!(shares(&server).await, [0, 10, 50, 100]);
    assert_on_for_all(&load).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new(), "{}", server.log());
    server.stop().await;
}
