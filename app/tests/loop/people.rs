//! What people decide about a rollout, and what is not theirs to decide twice.

use trimtab_control::clock;
use trimtab_control::start_rollout;
use trimtab_control::world::environment;
use trimtab_model::{Actor, ReleaseId};
use trimtab_rollout::{End, Event, Phase};

use crate::house::{EMAIL, House, Project, SLACK, USERS, WEBHOOK, failure, service, until};

async fn send(house: &House, event: Event) {
    let all = house.world.rollouts_of(&service(), &environment(USERS));
    let newest = all.last().unwrap();
    house
        .world
        .machines()
        .rollouts
        .send(&newest.id, event)
        .await
        .unwrap();
}

async fn at_phase(house: &House, what: &str, is: impl Fn(&Phase) -> bool) {
    until(what, || is(&house.rollout(USERS).phase).then_some(())).await;
}

/// Nobody used green: with `on_inconclusive: ask` a person is asked, and may promote or abort.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_without_evidence_asks_a_person() {
    let project = Project::without_staging()
        .production("watch", "300ms")
        .production("verdict", "{on_inconclusive: ask, requests_min: 50}");
    let house = House::start(&project.clone().production("verdict", "{on_inconclusive: pass}")).await;
    assert_eq!(house.deploy().await, "notes-r1");
    house.commit(&project, "Ask about the first");
    let run = house.run().await;
    at_phase(&house, "the question", |phase| {
        matches!(phase, Phase::Asking { .. })
    })
    .await;
    let asked = "notes-r2 waits for your decision";
    house.inbox.wait(&[SLACK, EMAIL, WEBHOOK], asked).await;
    let (at, by) = (clock::now(), Actor("ops".to_owned()));
    send(&house, Event::Promoted { at, by }).await;
    house.ended(&run).await;
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));

    house.commit(&project, "Ask about the second");
    let run = house.run().await;
    at_phase(&house, "the question", |phase| {
        matches!(phase, Phase::Asking { .. })
    })
    .await;
    let (at, by) = (clock::now(), Actor("ops".to_owned()));
    send(&house, Event::Aborted { at, by }).await;
    let (_, reason) = failure(&house.ended(&run).await);
    assert!(reason.contains("aborted by ops"), "{reason}");
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));
    let aborted = house
        .world
        .releases
        .get(&ReleaseId::new("notes-r3").unwrap())
        .unwrap();
    let quarantined = house.world.releases.quarantined(&aborted.release.id);
    assert!(
        quarantined.is_none(),
        "an abort says nothing against a second try"
    );
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r3 was rolled back")
        .await;
    house.stop().await;
}

/// A newer release takes over from one that is still watched; users notice nothing of either.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_release_supersedes_one_that_is_watched() {
    let project = Project::without_staging();
    let house = House::start(&project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    let load = house.load(60);
    house.commit(&project.clone().production("watch", "60s"), "Watch for long");
    let slow = house.run().await;
    at_phase(&house, "the watch", |phase| {
        matches!(phase, Phase::Watching { .. })
    })
    .await;
    house.commit(&project, "Be quicker");
    assert_eq!(house.deploy().await, "notes-r3");
    let (_, reason) = failure(&house.ended(&slow).await);
    assert!(reason.contains("superseded"), "{reason}");
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(house.instances(USERS).await, ["notes-r3-production-1"]);
    house.stop().await;
}

/// A person takes a deployed release back and it is known bad from then on: the same bits are refused until
/// somebody lifts that.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_rolls_back_and_the_same_bits_are_refused() {
    let project = Project::without_staging().production("watch", "60s");
    let house = House::start(&Project::without_staging()).await;
    assert_eq!(house.deploy().await, "notes-r1");
    let load = house.load(60);
    house.commit(&project, "Displease ops");
    let run = house.run().await;
    at_phase(&house, "the watch", |phase| {
        matches!(phase, Phase::Watching { .. })
    })
    .await;
    let (at, by, reason) = (clock::now(), Actor("ops".to_owned()), "ugly".to_owned());
    send(&house, Event::RolledBack { at, by, reason }).await;
    let (_, reason) = failure(&house.ended(&run).await);
    assert!(reason.contains("by ops: ugly"), "{reason}");
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::RolledBack { .. })),
        "{}",
        rollout.describe()
    );

    let (_, reason) = failure(&house.ship().await);
    assert!(
        reason.contains("is quarantined") && reason.contains("ugly"),
        "{reason}"
    );
    house.inbox.wait(&[SLACK, EMAIL, WEBHOOK], "is quarantined").await;
    let ops = Actor("ops".to_owned());
    let release = ReleaseId::new("notes-r2").unwrap();
    house
        .world
        .releases
        .clear(&release, "it grew on us", ops.clone())
        .await
        .unwrap();
    let again = start_rollout::start(&house.world, &environment(USERS), &release, None, &ops, true).await;
    let again = again.unwrap().id;
    until("the second try", || {
        let rollout = house.world.machines().rollouts.get(&again).unwrap().state;
        rollout.end().cloned()
    })
    .await;
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    house.stop().await;
}

/// A service's first release has nothing to go back to: nobody is served rather than badly, and people are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_sickens_is_taken_off() {
    let house = House::start(&Project::without_staging().with("sick-after=1")).await;
    let (_, reason) = failure(&house.ship().await);
    assert!(reason.contains("index not loaded"), "{reason}");
    assert_eq!(house.stable(USERS), None);
    assert_eq!(house.instances(USERS).await, Vec::<String>::new());
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r1 was rolled back")
        .await;
    house.commit(&Project::without_staging(), "Mend it");
    assert_eq!(house.deploy().await, "notes-r2");
    house.stop().await;
}
