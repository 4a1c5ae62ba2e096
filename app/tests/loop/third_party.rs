//! A server that nobody here wrote, shipped by configuration alone: `docs/third-party.md`, word for word.

use trimtab_rollout::End;

use crate::house::{House, Load, Place, SERVICE, USERS, failure};

const PAGE: &str = include_str!("../../../docs/third-party.md");

/// The page's file, for the house's service, with shorter watches.
fn yaml() -> String {
    let (_, rest) = PAGE.split_once("```yaml\n").unwrap();
    let (yaml, _) = rest.split_once("```").unwrap();
    yaml.replace("service: httpbin", &format!("service: {SERVICE}"))
        .replace("watch: 1m", "watch: 3s")
        .replace("on_inconclusive: ask", "on_inconclusive: pass")
}

/// The same with the setting that the page warns of, and time for the verdict to see it.
fn bad_yaml() -> String {
    let line = |text: &str| {
        let mut lines = text.lines().map(str::trim);
        let found = lines.find(|line| line.starts_with("GUNICORN_CMD_ARGS:"));
        found.unwrap().to_owned()
    };
    let (good, bad) = PAGE.split_once("## A bad setting").unwrap();
    yaml()
        .replace(&line(good), &line(bad))
        .replace("watch: 3s", "watch: 60s")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_server_is_shipped_and_its_bad_setting_rolled_back() {
    let place = Place::make();
    place.commit_text(&yaml(), "Ship httpbin");
    let house = House::at(place).await;
    assert_eq!(house.deploy().await, "notes-r1");
    // Some users wait for longer than the bad setting allows.
    let quick = Load::start(house.place.traffic(), 40, "/get");
    let patient = Load::start(house.place.traffic(), 6, "/delay/2");

    house
        .place
        .commit_text(&format!("{}\n", yaml()), "The same again");
    assert_eq!(house.deploy().await, "notes-r2");
    assert_eq!(quick.seen().failures, Vec::<String>::new());
    assert_eq!(patient.seen().failures, Vec::<String>::new());
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));

    house.place.commit_text(&bad_yaml(), "Save threads");
    let (_, reason) = failure(&house.ship().await);
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::RolledBack { .. })),
        "{}",
        rollout.describe()
    );
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"), "{reason}");
    let (quick, patient) = (quick.stop().await, patient.stop().await);
    assert!(!patient.failures.is_empty(), "the setting did no harm");
    let failed = quick.failures.len() + patient.failures.len();
    println!(
        "{reason}: {failed} of {} failed",
        quick.good + patient.good + failed as u64
    );
    assert!(quick.good > 100, "{quick:?}");
    house.stop().await;
}
