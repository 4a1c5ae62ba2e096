//! Long after a rollout: from warning to problem solved.

use trimtab_control::clock;
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Incidents;
use trimtab_incident::{End, Event, Phase, Way};
use trimtab_model::{Actor, Severity};

use crate::house::{EMAIL, House, Project, SLACK, SMS, until};

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
