//! A canary: a few users first, then more; a bad one costs a few requests of a few users.

use trimtab_control::clock;
use trimtab_model::Actor;
use trimtab_rollout::{End, Event, Phase};

use crate::house::{EMAIL, House, Project, SLACK, USERS, WEBHOOK, failure, service, until};

fn project(steps: &str) -> Project {
    Project::without_staging()
        .production("strategy", "canary")
        .production("steps", steps)
}

/// A house in which a first release serves.
async fn with_baseline(project: &Project) -> House {
    let house = House::start(project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    house
}

/// The candidate's shares that were in force in the newest rollout, in per cent.
async fn shares(house: &House) -> Vec<f64> {
    let environment = trimtab_control::world::environment(USERS);
    let rollout = house.world.rollouts_of(&service(), &environment).pop().unwrap();
    let mut state = trimtab_rollout::start(&rollout.plan);
    let mut shares = Vec::new();
    for (_, _, body) in house
        .journal(&format!("rollout/{}", rollout.id))
        .await
        .into_iter()
        .skip(1)
    {
        let event = serde_json::from_value(body).unwrap();
        state = trimtab_rollout::step(&rollout.plan, state, event).0;
        let share = state.traffic.weight.percent();
        if state.traffic.acknowledged && shares.last() != Some(&share) {
            shares.push(share);
        }
    }
    shares
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_canary_reaches_everyone_and_fails_nobody() {
    let project = project("[{weight: 5%, watch: 1500ms}, {weight: 25%, watch: 1500ms}]");
    let house = with_baseline(&project).await;
    let load = house.load(80);
    house.commit(&project, "Better notes");
    assert_eq!(house.deploy().await, "notes-r2");
    let seen = load.stop().await;
    assert_eq!(seen.failures, Vec::<String>::new());
    assert_eq!(shares(&house).await, [0.0, 5.0, 25.0, 100.0]);
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));
    assert_eq!(house.instances(USERS).await, ["notes-r2-production-1"]);
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r2 is deployed")
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_canary_is_rolled_back_from_its_few_users() {
    let project = project("[{weight: 5%, watch: 60s}, {weight: 25%, watch: 60s}]").untested();
    let house = with_baseline(&project).await;
    let load = house.load(120);
    house.commit(&project.with("fail=0.6 path=/work"), "Tear version vectors");
    failure(&house.ship().await);
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::RolledBack { .. })),
        "{}",
        rollout.describe()
    );
    assert!(rollout.exposed);
    let most = shares(&house).await.into_iter().fold(0.0, f64::max);
    assert!(most <= 5.0, "{most} % of users had it");
    let seen = load.stop().await;
    // Of the few requests that reached it, some failed; none of anybody else's did.
    let failed = seen.failures.len();
    let others = seen
        .failures
        .iter()
        .filter(|failure| !failure.contains("notes-r2"));
    assert_eq!(others.count(), 0, "{:?}", seen.failures);
    assert!(
        failed > 0 && (failed as u64) < seen.good / 20,
        "{failed} of {}",
        seen.good
    );
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "was rolled back from production")
        .await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_waits_for_its_job_and_for_a_person() {
    let steps = "[{weight: 10%, watch: 500ms, job: test -n \"$TARGET_URL\", approval: true}]";
    let project = project(steps);
    let house = with_baseline(&project).await;
    let load = house.load(60);
    house.commit(&project, "Better notes");
    let run = house.run().await;
    until("the approval to be asked for", || {
        matches!(house.rollout(USERS).phase, Phase::Approving { step: 0 }).then_some(())
    })
    .await;
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "notes-r2 waits for your approval")
        .await;
    let environment = trimtab_control::world::environment(USERS);
    let rollout = house.world.rollouts_of(&service(), &environment).pop().unwrap();
    let approved = Event::Approved {
        at: clock::now(),
        by: Actor("qa".to_owned()),
        step: 0,
    };
    let rollouts = &house.world.machines().rollouts;
    rollouts.send(&rollout.id, approved).await.unwrap();
    let state = house.ended(&run).await;
    assert_eq!(state.end(), Some(&trimtab_pipeline::End::Deployed));
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(shares(&house).await, [0.0, 10.0, 100.0]);
    let journal = house.journal(&format!("rollout/{}", rollout.id)).await;
    assert!(
        journal
            .iter()
            .any(|(kind, by, _)| kind == "rollout.approved" && by == "qa")
    );
    house.stop().await;
}
