//! A rolling update: instance after instance, and all of them back when one fails.

use trimtab_rollout::End;

use crate::house::{EMAIL, House, Project, SLACK, USERS, WEBHOOK, failure};

fn project() -> Project {
    let mut project = Project::without_staging()
        .untested()
        .production("strategy", "rolling")
        .production("rolling", "{surge_max: 1, ready_min: 300ms}")
        .production("drain", "400ms");
    project.instances = 3;
    project
}

fn of(release: &str) -> Vec<String> {
    (1..=3)
        .map(|number| format!("{release}-production-{number}"))
        .collect()
}

/// A house in which a first release serves with three instances.
async fn with_baseline(project: &Project) -> House {
    let house = House::start(project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    assert_eq!(house.instances(USERS).await, of("notes-r1"));
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_rolling_update_replaces_all_and_fails_nobody() {
    let project = project();
    let house = with_baseline(&project).await;
    let load = house.load(80);
    house.commit(&project, "Better notes");
    assert_eq!(house.deploy().await, "notes-r2");
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new());
    assert!(
        seen.by_release["notes-r1"] > 0 && seen.by_release["notes-r2"] > 0,
        "{seen:?}"
    );
    assert_eq!(house.instances(USERS).await, of("notes-r2"));
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_start_takes_the_updated_ones_back() {
    let mut project = project();
    project.health = "{path: /health, interval: 100ms, timeout: 2s, healthy_after: 1, unhealthy_after: 2, \
                      start_timeout: 4s}"
        .to_owned();
    let house = with_baseline(&project).await;
    let load = house.load(80);
    house.commit(&project.with("unready nth=2"), "Forget the second");
    let (_, reason) = failure(&house.ship().await);
    assert!(reason.contains("did not start"), "{reason}");
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::RolledBack { .. })),
        "{}",
        rollout.describe()
    );
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new());
    assert!(seen.by_release["notes-r2"] > 0, "the first one had been updated");
    let mut left = house.instances(USERS).await;
    left.sort();
    assert_eq!(left, of("notes-r1"));
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r2 was rolled back")
        .await;
    house.stop().await;
}
