//! Green beside blue: each way that green can fail leaves blue serving, its users unharmed, and the team told.

use trimtab_rollout::{End, Phase};

use crate::house::{EMAIL, House, Project, SLACK, SMS, USERS, WEBHOOK, failure, until};

/// A house in which blue serves, whose own watch was short.
async fn with_blue() -> House {
    let house = House::start(&Project::without_staging()).await;
    assert_eq!(house.deploy().await, "notes-r1");
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn green_takes_over_and_blue_is_decommissioned() {
    let project = Project::without_staging();
    let house = with_blue().await;
    let load = house.load(60);
    house.commit(&project, "Better notes");
    assert_eq!(house.deploy().await, "notes-r2");
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new());
    assert!(
        seen.by_release["notes-r1"] > 0 && seen.by_release["notes-r2"] > 0,
        "{seen:?}"
    );
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));
    assert_eq!(house.instances(USERS).await, ["notes-r2-production-1"]);
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r2 is deployed")
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn green_that_fails_its_tests_never_has_traffic() {
    let project = Project::without_staging();
    let house = with_blue().await;
    let load = house.load(60);
    house.commit(&project.with("fail=1 path=/preview"), "Break the preview");
    let (stage, reason) = failure(&house.ship().await);
    assert_eq!(stage, trimtab_pipeline::Stage::DeployProduction);
    assert!(
        reason.contains("tests failed") && reason.contains("/preview"),
        "{reason}"
    );
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::Failed { .. })),
        "{}",
        rollout.describe()
    );
    assert!(!rollout.exposed);
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new());
    assert_eq!(seen.by_release.keys().collect::<Vec<_>>(), ["notes-r1"]);
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    assert_eq!(house.instances(USERS).await, ["notes-r1-production-1"]);
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r2 failed before it had traffic")
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn green_that_is_unhealthy_after_the_switch_is_switched_back() {
    let project = Project::without_staging().production("watch", "10s");
    let house = with_blue().await;
    let load = house.load(60);
    // The request of its own test is the one that breaks it: well until then, sick under traffic.
    house.commit(&project.with("sick-after=1"), "Lose the index");
    let (_, reason) = failure(&house.ship().await);
    assert!(
        reason.contains("unhealthy") && reason.contains("index not loaded"),
        "{reason}"
    );
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::RolledBack { .. })),
        "{}",
        rollout.describe()
    );
    // Until traffic is back, green's users get the proxy's word that it is not well.
    let seen = load.stop().await;
    assert!(
        seen.failures.iter().all(|failure| failure.starts_with("503")),
        "{seen:?}"
    );
    assert!(seen.failures.len() < 90, "{seen:?}");
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    assert_eq!(house.instances(USERS).await, ["notes-r1-production-1"]);
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r2 was rolled back")
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn green_with_anomalies_is_rolled_back_and_the_team_is_alerted() {
    let project = Project::without_staging().production("watch", "20s");
    let house = with_blue().await;
    let load = house.load(80);
    house.commit(&project.with("fail=0.4 path=/work"), "Tear version vectors");
    let run = house.run().await;
    house.inbox.wait(&[SMS, EMAIL, SLACK], "notes-r2").await;
    failure(&house.ended(&run).await);
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::RolledBack { .. })),
        "{}",
        rollout.describe()
    );
    let before = load.seen();
    until("users to be served by blue again", || {
        (load.seen().by_release["notes-r1"] > before.by_release["notes-r1"] + 30).then_some(())
    })
    .await;
    let seen = load.stop().await;
    assert_eq!(
        seen.failures.len(),
        before.failures.len(),
        "failures after the rollback"
    );
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "was rolled back from production")
        .await;
    house.stop().await;
}

/// Nobody asks for anything, so no verdict can tell: health is looked at through the whole watch.
#[tokio::test(flavor = "multi_thread")]
async fn green_that_sickens_unseen_during_the_watch_is_switched_back() {
    let project = Project::without_staging().production("watch", "60s");
    let house = with_blue().await;
    house.commit(&project, "Run out of memory later");
    let run = house.run().await;
    until("the watch", || {
        matches!(house.rollout(USERS).phase, Phase::Watching { .. }).then_some(())
    })
    .await;
    house.place.break_instances("unready of=notes-r2");
    let (_, reason) = failure(&house.ended(&run).await);
    assert!(reason.contains("index not loaded"), "{reason}");
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    assert_eq!(house.instances(USERS).await, ["notes-r1-production-1"]);
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r2 was rolled back")
        .await;
    house.place.mend_instances();
    house.stop().await;
}
