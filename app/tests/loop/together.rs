//! Two services go out together: step by step, and back together when one of them is bad.

use std::path::Path;
use std::time::Duration;

use trimtab_control::world::{Repository, Together, environment};
use trimtab_model::{Actor, ServiceName};
use trimtab_rollout::End;
use trimtab_rollout::group::End as GroupEnd;

use crate::house::{House, Load, Place, Project, SERVICE, USERS, git, until};

const OTHER: &str = "search";

fn project(faults: &'static str) -> Project {
    Project::without_staging()
        .untested()
        .with(faults)
        .production("strategy", "canary")
        .production(
            "steps",
            "[{weight: 20%, watch: 1500ms}, {weight: 50%, watch: 1500ms}]",
        )
}

/// The other service's file: the same program elsewhere.
fn other(project: &Project, faults_file: &Path) -> String {
    let yaml = project
        .clone()
        .production("route", "{host: \"*\", path: /search, timeout: 10s}");
    let text = yaml.yaml(faults_file);
    text.replace(&format!("service: {SERVICE}"), &format!("service: {OTHER}"))
}

fn commit_other(repository: &Path, text: &str, title: &str) {
    std::fs::write(repository.join("trimtab.yaml"), text).unwrap();
    git(repository, &["add", "-A"]);
    git(repository, &["commit", "-q", "--allow-empty", "-m", title]);
}

async fn run_of(house: &House, service: &str) -> String {
    let service = ServiceName::new(service).unwrap();
    let dev = Actor("dev".to_owned());
    let run = trimtab_control::runs::start(&house.world, &service, "main", &dev).await;
    run.unwrap().id
}

/// Ships both, and waits for both.
async fn ship_both(house: &House) {
    let runs = [run_of(house, SERVICE).await, run_of(house, OTHER).await];
    for run in runs {
        house.ended(&run).await;
    }
}

fn stable(house: &House, service: &str) -> String {
    let service = ServiceName::new(service).unwrap();
    let stable = house.world.stable(&service, &environment(USERS));
    stable.map_or_else(String::new, |release| release.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_advance_together_and_one_bad_one_takes_both_back() {
    let place = Place::make();
    place.commit(&project(""), "Begin");
    let repository = place.root().join("other");
    std::fs::create_dir(&repository).unwrap();
    git(&repository, &["init", "-q", "-b", "main"]);
    commit_other(&repository, &other(&project(""), &place.faults_file()), "Begin");
    let name = |service: &str| ServiceName::new(service).unwrap();
    let more = Repository {
        service: name(OTHER),
        path: repository.clone(),
        branch: "main".to_owned(),
    };
    let together = Together {
        services: vec![(name(SERVICE), 1), (name(OTHER), 1)],
        wait: Duration::from_secs(60),
    };
    let house = House::with(place, vec![more], vec![together]).await;
    let groups = || house.world.machines().groups.list();

    ship_both(&house).await;
    assert_eq!(groups().len(), 1, "the first releases met");
    let load = Load::start(house.place.traffic(), 40, "/work");

    // A good pair goes all the way.
    house.commit(&project(""), "Second");
    commit_other(
        &repository,
        &other(&project(""), &house.place.faults_file()),
        "Second",
    );
    ship_both(&house).await;
    let ended = until("the end of the good pair", || groups()[1].state.end().cloned()).await;
    assert_eq!(ended, GroupEnd::Deployed);
    assert_eq!(
        (stable(&house, SERVICE), stable(&house, OTHER)),
        ("notes-r2".to_owned(), "search-r2".to_owned())
    );

    // The first of them fails its users: both go back, the good one first, and only the bad one is quarantined.
    house.commit(&project("fail=0.6 path=/work"), "Third");
    commit_other(
        &repository,
        &other(&project(""), &house.place.faults_file()),
        "Third",
    );
    ship_both(&house).await;
    let ended = until("the end of the bad pair", || groups()[2].state.end().cloned()).await;
    let GroupEnd::RolledBack { reason } = ended else {
        panic!("{ended:?}")
    };
    assert!(reason.starts_with("notes: "), "{reason}");
    let members = groups()[2].state.members.clone();
    assert!(
        members
            .iter()
            .all(|member| !matches!(member.end, Some(End::Deployed) | None))
    );
    let other_end = format!("{:?}", members[1].end);
    assert!(other_end.contains("recalled by group-3"), "{other_end}");
    assert_eq!(
        (stable(&house, SERVICE), stable(&house, OTHER)),
        ("notes-r2".to_owned(), "search-r2".to_owned())
    );
    let quarantined = |release: &str| {
        let known = house.world.releases.get(&release.parse().unwrap()).unwrap();
        house.world.releases.quarantined(&known.release.id).is_some()
    };
    assert!(quarantined("notes-r3") && !quarantined("search-r3"));
    load.stop().await;
    house.stop().await;
}
