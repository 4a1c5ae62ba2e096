//! Metrics of a team's own decide about a release, and each absence does what its setting says.

use trimtab_control::clock;
use trimtab_model::Actor;
use trimtab_rollout::{End, Event, Phase};

use crate::house::{EMAIL, House, Project, SLACK, USERS, WEBHOOK, failure, service, until};

/// A canary at half the traffic, judged by a metric that the service exposes.
fn project(watch: &str, verdict: &str, metric: &str) -> Project {
    Project::without_staging()
        .production("strategy", "canary")
        .production("steps", &format!("[{{weight: 50%, watch: {watch}}}]"))
        .production(
            "verdict",
            &format!("{{on_inconclusive: pass, requests_min: 50, {verdict}, metrics: [{metric}]}}"),
        )
}

const LAG: &str = "{name: queue_lag, query: max(queue_lag_seconds), direction: lower, unit: s, share: 50%, \
                   interval: 500ms, intervals_min: 2}";

async fn newest(house: &House) -> String {
    let environment = trimtab_control::world::environment(USERS);
    house
        .world
        .rollouts_of(&service(), &environment)
        .pop()
        .unwrap()
        .id
}

/// The verdicts that the newest rollout was told.
async fn verdicts(house: &House) -> Vec<serde_json::Value> {
    let journal = house.journal(&format!("rollout/{}", newest(house).await)).await;
    let observed = journal
        .into_iter()
        .filter(|(kind, ..)| kind == "rollout.observed");
    observed.map(|(.., body)| body["verdict"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_of_the_teams_own_rolls_a_canary_back() {
    let project = project("90s", "on_regressed: rollback", LAG);
    let house = House::start(&project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    let load = house.load(60);
    house.commit(&project.with("lag=5"), "Queue longer");
    let (_, reason) = failure(&house.ship().await);
    assert!(reason.contains("queue_lag: worse than tolerated in"), "{reason}");
    let rollout = house.rollout(USERS);
    assert!(
        matches!(rollout.end(), Some(End::RolledBack { .. })),
        "{}",
        rollout.describe()
    );
    // Nothing else was wrong with it.
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    let told = verdicts(&house).await;
    let last = told.last().unwrap();
    assert_eq!(
        (&last["metric"], &last["on"]),
        (&"queue_lag".into(), &"roll_back".into()),
        "{last}"
    );
    let verdict = house
        .world
        .evidence
        .kept(&newest(&house).await.parse().unwrap())
        .unwrap()
        .verdict;
    let lag = &verdict.custom[0];
    assert!(
        lag.intervals >= 8 && lag.candidate_figure > Some(4.0) && lag.baseline_figure < Some(1.5),
        "{lag:?}"
    );
    assert!(lag.e_value >= 200.0 && verdict.alpha_left == 0.0, "{verdict:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_absence_does_what_its_setting_says() {
    let absent = "on_missing_metric: ask, on_failed_query: rollback";
    let house = House::start(&project("2s", absent, LAG)).await;
    assert_eq!(house.deploy().await, "notes-r1");
    let load = house.load(60);

    // Missing, and `ask`: a person is waited for.
    house.commit(&project("2s", absent, LAG).with("mute"), "Forget a metric");
    let run = house.run().await;
    let reason = until("the question", || match house.rollout(USERS).phase {
        Phase::Asking { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("metric missing: queue_lag"), "{reason}");
    let asked = "notes-r2 waits for your decision";
    house.inbox.wait(&[SLACK, EMAIL, WEBHOOK], asked).await;
    assert_eq!(verdicts(&house).await[0]["lack"], "missing_metric");
    let approved = Event::Approved {
        at: clock::now(),
        by: Actor("qa".to_owned()),
        step: 0,
    };
    let id = newest(&house).await;
    house.world.machines().rollouts.send(&id, approved).await.unwrap();
    assert_eq!(
        house.ended(&run).await.end(),
        Some(&trimtab_pipeline::End::Deployed)
    );

    // A query that gives two numbers fails; here that rolls back.
    let failing = LAG.replace("max(queue_lag_seconds)", "queue_depth");
    house.commit(&project("2s", absent, &failing), "Ask for two numbers");
    let (_, reason) = failure(&house.ship().await);
    assert!(
        reason.contains("query failed: queue_lag") && reason.contains("2 series"),
        "{reason}"
    );
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));

    // The same under `report`: what is left is well, so it goes on and everyone hears of it.
    house.commit(
        &project("2s", "on_failed_query: report", &failing),
        "Only tell of it",
    );
    assert_eq!(house.deploy().await, "notes-r4");
    let told = "notes-r4 goes on without a verdict";
    house.inbox.wait(&[SLACK, EMAIL, WEBHOOK], told).await;
    assert_eq!(verdicts(&house).await[0]["lack"], "failed_query");
    assert_eq!(load.stop().await.failures, Vec::<String>::new());

    // What is no query at all is refused before anything is built.
    let broken = LAG.replace("max(queue_lag_seconds)", "max(queue_lag_seconds");
    house.commit(&project("2s", absent, &broken), "Forget a bracket");
    let dev = Actor("dev".to_owned());
    let refused = trimtab_control::runs::start(&house.world, &service(), "main", &dev).await;
    let refused = refused.err().unwrap();
    assert!(
        refused.contains("production.verdict.metrics[0].query: failed to read the query"),
        "{refused}"
    );
    house.stop().await;
}

/// Under `extend` a regression keeps its traffic for one more watch; then a person decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_regression_is_watched_as_long_again_and_then_asked_about() {
    let project = project("4s", "on_regressed: extend", "");
    let house = House::start(&project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    let load = house.load(60);
    house.commit(&project.with("fail=0.5 path=/work"), "Tear version vectors");
    let run = house.run().await;
    let watched = until("the extension", || {
        let rollout = house.rollout(USERS);
        rollout.extends_over_regression().then_some(rollout)
    })
    .await;
    assert!(
        watched.describe().contains("as long again: regression: ")
            && watched.traffic.weight.percent() == 50.0,
        "{}",
        watched.describe()
    );
    let extended = watched.watch.unwrap().until;
    let reason = until("the question", || match house.rollout(USERS).phase {
        Phase::Asking { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("regression: "), "{reason}");
    assert!(clock::now() >= extended, "the whole extension was waited out");
    let asked = "notes-r2 waits for your decision";
    house.inbox.wait(&[SLACK, EMAIL, WEBHOOK], asked).await;
    let aborted = Event::Aborted {
        at: clock::now(),
        by: Actor("qa".to_owned()),
    };
    let id = newest(&house).await;
    house.world.machines().rollouts.send(&id, aborted).await.unwrap();
    failure(&house.ended(&run).await);
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    load.stop().await;
    house.stop().await;
}
