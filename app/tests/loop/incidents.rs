//! Long after a rollout: from warning to problem solved, a restart that heals, the way back to an artifact that
//! no longer runs, and silences.

use serde_json::json;
use trimtab_control::clock;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Incidents;
use trimtab_incident::{Class, End, Event, Phase, Way};
use trimtab_journal::{Expected, NewEvent};
use trimtab_model::{Actor, Severity};

use crate::house::{EMAIL, House, Project, SLACK, SMS, USERS, until};

fn anna() -> Actor {
    Actor("anna".to_owned())
}

/// Slowness of a busy machine that runs tests is not what these are about.
fn project() -> Project {
    Project {
        more: "objectives: {latency: 30s}\n".to_owned(),
        ..Project::without_staging()
    }
}

/// A house in which the second release serves and the first is decommissioned.
async fn long_after() -> House {
    let project = project();
    let house = House::start(&project).await;
    assert_eq!(house.deploy().await, "notes-r1");
    // Another artifact: what is the same bytes would be quarantined with it.
    house.commit(&project.clone().production("drain", "1s"), "Better notes");
    assert_eq!(house.deploy().await, "notes-r2");
    assert_eq!(house.instances(USERS).await, ["notes-r2-production-1"]);
    house
}

async fn incident(house: &House) -> Snapshot<Incidents> {
    until("an incident", || {
        house.world.machines().incidents.list().into_iter().next()
    })
    .await
}

async fn in_phase(house: &House, id: &str, wanted: impl Fn(&Phase) -> bool) {
    until(&format!("the phase of {id}"), || {
        let state = house.world.machines().incidents.get(id).unwrap().state;
        assert!(state.end().is_none(), "{}", state.describe());
        wanted(&state.phase).then_some(())
    })
    .await;
}

async fn resolved(house: &House, id: &str) -> Way {
    let end = until(&format!("the end of {id}"), || {
        let state = house.world.machines().incidents.get(id).unwrap().state;
        if matches!(state.phase, Phase::PeopleNeeded { .. }) {
            panic!("{}", state.describe());
        }
        state.end().cloned()
    })
    .await;
    let End::Resolved { way } = end;
    way
}

fn postmortem(house: &House, id: &str) -> String {
    let path = house.place.data().join(format!("postmortems/{id}.md"));
    std::fs::read_to_string(path).unwrap()
}

/// Kinds of the reports about an incident.
async fn reports(house: &House, id: &str) -> Vec<String> {
    let reports = house.journal(&format!("report/{id}")).await;
    reports.into_iter().map(|(kind, _, _)| kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_goes_all_the_way_to_problem_solved() {
    let house = House::start(&project()).await;
    house.deploy().await;
    let load = house.load(80);
    house.place.break_instances("fail=0.022 path=/work");
    let incident = incident(&house).await;
    assert_eq!(incident.plan.severity, Severity::High, "{}", incident.plan.title);
    assert!(
        incident.plan.title.contains("of the requests of notes fail"),
        "{}",
        incident.plan.title
    );
    house
        .inbox
        .wait(&[EMAIL, SLACK], "Important: notes in production")
        .await;
    in_phase(&house, &incident.id, |phase| matches!(phase, Phase::AwaitingFix)).await;
    assert!(
        reports(&house, &incident.id)
            .await
            .contains(&"report.proposals".to_owned())
    );
    let incidents = &house.world.machines().incidents;
    let at = clock::now();
    let known = Event::Acknowledged { at, by: anna() };
    incidents.send(&incident.id, known).await.unwrap();
    house.place.mend_instances();
    let what = "restored the index".to_owned();
    let fixed = Event::FixApplied {
        at: clock::now(),
        by: anna(),
        what,
    };
    incidents.send(&incident.id, fixed).await.unwrap();
    let way = resolved(&house, &incident.id).await;
    assert!(matches!(&way, Way::Fix { by, .. } if *by == anna()), "{way}");
    house
        .inbox
        .wait(&[EMAIL, SLACK], "Problem solved: notes in production")
        .await;
    assert_eq!(
        house.inbox.with(SMS, &incident.id),
        Vec::<String>::new(),
        "nobody is woken"
    );
    let postmortem = postmortem(&house, &incident.id);
    for part in [
        "restored the index",
        "users are not told apart",
        "of 30 days",
        "The models did not change",
    ] {
        assert!(postmortem.contains(part), "{part}: {postmortem}");
    }
    load.stop().await;
    assert_eq!(
        house.world.machines().incidents.list().len(),
        1,
        "no incident twice"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_ends_by_itself_when_the_metrics_are_normal_again() {
    let house = House::start(&project()).await;
    house.deploy().await;
    let load = house.load(80);
    house.place.break_instances("fail=0.025 path=/work");
    let incident = incident(&house).await;
    in_phase(&house, &incident.id, |phase| matches!(phase, Phase::AwaitingFix)).await;
    house.place.mend_instances();
    assert_eq!(resolved(&house, &incident.id).await, Way::Itself);
    house
        .inbox
        .wait(&[EMAIL, SLACK], "Problem solved: notes in production")
        .await;
    load.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_after_the_rollout_a_restart_in_place_heals() {
    let house = long_after().await;
    let load = house.load(80);
    house
        .place
        .break_instances("fail=0.4 path=/work healed-by-restart");
    let incident = incident(&house).await;
    assert_eq!(
        incident.plan.severity,
        Severity::Critical,
        "{}",
        incident.plan.title
    );
    assert_eq!(incident.plan.class, Class::BadRelease);
    assert_eq!(incident.plan.suspect.as_ref().unwrap().as_str(), "notes-r2");
    assert_eq!(incident.plan.rollout, None, "no rollout is under way");
    assert_eq!(resolved(&house, &incident.id).await, Way::Restart);
    house
        .inbox
        .wait(&[SMS, EMAIL, SLACK], "CRITICAL: notes in production")
        .await;
    house
        .inbox
        .wait(&[EMAIL, SLACK], "Healed: a restart of notes-r2")
        .await;
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r2"));
    load.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_after_the_rollout_the_previous_artifact_is_started_when_a_restart_does_not_help() {
    let house = long_after().await;
    let load = house.load(80);
    house.place.break_instances("fail=0.4 path=/work of=notes-r2");
    let incident = incident(&house).await;
    assert_eq!(
        incident.plan.previous.as_ref().map(|release| release.as_str()),
        Some("notes-r1")
    );
    assert_eq!(resolved(&house, &incident.id).await, Way::Rollback);
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    assert_eq!(house.instances(USERS).await, ["notes-r1-production-1"]);
    let bad = house
        .world
        .releases
        .get(incident.plan.suspect.as_ref().unwrap())
        .unwrap();
    assert!(house.world.releases.quarantined(&bad.release.id).is_some());
    let kinds: Vec<String> = house
        .journal(&format!("incident/{}", incident.id))
        .await
        .into_iter()
        .map(|(kind, _, _)| kind)
        .collect();
    let place = |kind: &str| kinds.iter().position(|known| known == kind).unwrap();
    assert!(place("incident.restarted") < place("incident.rollback_ended"));
    assert!(place("incident.rollback_ended") < place("incident.metrics_verified"));
    house
        .inbox
        .wait(&[SMS, EMAIL, SLACK], "Rolled back: notes in production")
        .await;
    let before = load.seen();
    until("users to be served by the previous release", || {
        (load.seen().good > before.good + 40).then_some(())
    })
    .await;
    let seen = load.stop().await;
    assert_eq!(
        seen.failures.len(),
        before.failures.len(),
        "failures after the way back"
    );
    let postmortem = postmortem(&house, &incident.id);
    assert!(postmortem.contains("notes-r2") && postmortem.contains("rolled back to the previous release"));
    assert_eq!(
        house.world.machines().incidents.list().len(),
        1,
        "no incident twice"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_withholds_notices_and_not_the_action() {
    let house = long_after().await;
    let body = json!({
        "of": { "incident": null, "service": "notes", "environment": null },
        "reason": "a game day", "until": clock::now().0 + 600_000 });
    let silence = NewEvent::new("silence/silence-1", "silence.begun", clock::now(), anna(), body);
    house
        .world
        .journal
        .append(Expected::Any, vec![silence])
        .await
        .unwrap();
    let load = house.load(80);
    house
        .place
        .break_instances("fail=0.4 path=/work healed-by-restart");
    let incident = incident(&house).await;
    assert_eq!(
        resolved(&house, &incident.id).await,
        Way::Restart,
        "acted all the same"
    );
    for channel in [SMS, EMAIL, SLACK] {
        assert_eq!(house.inbox.with(channel, &incident.id), Vec::<String>::new());
    }
    let reports = house.journal(&format!("report/{}", incident.id)).await;
    let silenced: Vec<_> = reports
        .iter()
        .filter(|(kind, _, _)| kind == "report.silenced")
        .collect();
    assert_eq!(silenced.len(), 2, "raised and healed: {silenced:?}");
    let (_, _, first) = silenced[0];
    assert_eq!(
        (first["author"].as_str(), first["reason"].as_str()),
        (Some("anna"), Some("a game day"))
    );
    assert!(first["text"].as_str().unwrap().contains("CRITICAL"), "{first}");
    load.stop().await;
    house.stop().await;
}
