//! The *no* arrows of a run: each ends where its diagram says, and the team was told.

use trimtab_pipeline::{End, Stage};

use crate::house::{EMAIL, House, Project, SLACK, USERS, WEBHOOK, failure};

#[tokio::test(flavor = "multi_thread")]
async fn a_good_commit_is_deployed_and_told() {
    let project = Project::default().gate("approval", "{role: approver, timeout: 1h}");
    let house = House::start(&project).await;
    let run = house.run().await;
    house.at_stage(&run, Stage::Approval).await;
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "waits for approval")
        .await;
    assert_eq!(house.stable(USERS), None);
    house.answer(&run, "qa", true).await;
    let state = house.ended(&run).await;
    assert_eq!(state.end(), Some(&End::Deployed), "{}", state.describe());
    assert_eq!(house.stable("staging").as_deref(), Some("notes-r1"));
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"));
    let journal = house.journal(&format!("run/{run}")).await;
    let approved = journal.iter().find(|(kind, ..)| kind == "run.approved").unwrap();
    assert_eq!(approved.1, "qa");
    house.inbox.wait(&[SLACK, EMAIL, WEBHOOK], "is deployed").await;
    house.stop().await;
}

/// A.B2 to A.B7: whichever step fails, the run ends Failed there, nothing is deployed, the team knows.
#[tokio::test(flavor = "multi_thread")]
async fn each_failing_step_is_told_and_ends_the_run() {
    let good = Project::default();
    let house = House::start(&good).await;
    let cases = [
        ("install", Stage::Install, "echo no index; exit 7", "no index"),
        ("build", Stage::Build, "echo E0308 >&2; exit 1", "E0308"),
        (
            "unit",
            Stage::Unit,
            "echo 3 of 9 failed; exit 101",
            "3 of 9 failed",
        ),
        ("integration", Stage::Integration, "kill -9 $$", "signal 9"),
        (
            "e2e",
            Stage::E2e,
            "{run: sleep 60, timeout: 300ms}",
            "longer than",
        ),
        ("unit", Stage::Unit, "no-such-tool --all", "no-such-tool"),
    ];
    for (name, stage, yaml, said) in cases {
        let title = format!("Break {name} with {said}");
        house.commit(&good.clone().stage(name, yaml), &title);
        let (at, reason) = failure(&house.ship().await);
        assert_eq!(at, stage, "{title}: {reason}");
        assert!(reason.contains(said), "{title}: {reason}");
        house
            .inbox
            .wait(&[SLACK, EMAIL, WEBHOOK], &format!("failed: {title}"))
            .await;
        house.inbox.wait(&[WEBHOOK], said).await;
    }
    house.commit(
        &good
            .clone()
            .stage("unit", "rm -r bin")
            .stage("integration", "true")
            .stage("e2e", "true"),
        "Leave nothing to pack",
    );
    let (at, reason) = failure(&house.ship().await);
    assert_eq!(at, Stage::Artifact);
    assert!(reason.contains("bin"), "{reason}");
    assert_eq!((house.stable("staging"), house.stable(USERS)), (None, None));
    house.stop().await;
}

/// A.S5, A.S6: whichever gate fails, staging serves the release before, production never changes.
#[tokio::test(flavor = "multi_thread")]
async fn each_failing_gate_rolls_staging_back() {
    let good = Project::default();
    let house = House::start(&good).await;
    assert_eq!(house.deploy().await, "notes-r1");
    let cases = [
        ("fail=1 path=/smoke", Stage::Smoke),
        ("fail=1 path=/integration", Stage::StagingIntegration),
        ("slow=2500 path=/performance", Stage::Performance),
    ];
    for (faults, stage) in cases {
        let title = format!("Break {}", stage.as_str());
        house.commit(&good.with(faults), &title);
        let (at, reason) = failure(&house.ship().await);
        assert_eq!(at, stage, "{reason}");
        assert_staging_is_back(&house, &title).await;
    }
    house.stop().await;
}

/// A.S8, A.S6: a no, or no answer, rolls staging back too.
#[tokio::test(flavor = "multi_thread")]
async fn rejection_and_silence_roll_staging_back() {
    let good = Project::default();
    let house = House::start(&good).await;
    assert_eq!(house.deploy().await, "notes-r1");

    let asking = good.clone().gate("approval", "{role: approver, timeout: 1h}");
    house.commit(&asking, "Ask for a look");
    let run = house.run().await;
    house.at_stage(&run, Stage::Approval).await;
    house.answer(&run, "qa", false).await;
    let (at, reason) = failure(&house.ended(&run).await);
    assert_eq!(at, Stage::Approval);
    assert!(reason.contains("rejected by qa: Tried it."), "{reason}");
    assert_staging_is_back(&house, "Ask for a look").await;

    let hasty = good.clone().gate("approval", "{role: approver, timeout: 500ms}");
    house.commit(&hasty, "Ask in vain");
    let (at, reason) = failure(&house.ship().await);
    assert_eq!(at, Stage::Approval);
    assert!(reason.contains("nobody answered in time"), "{reason}");
    assert_staging_is_back(&house, "Ask in vain").await;
    house.stop().await;
}

async fn assert_staging_is_back(house: &House, title: &str) {
    assert_eq!(house.stable("staging").as_deref(), Some("notes-r1"), "{title}");
    assert_eq!(house.stable(USERS).as_deref(), Some("notes-r1"), "{title}");
    assert_eq!(
        house.instances("staging").await,
        ["notes-r1-staging-1"],
        "{title}"
    );
    house
        .inbox
        .wait(
            &[SLACK, EMAIL, WEBHOOK],
            &format!("was rolled back from staging: {title}"),
        )
        .await;
}

/// A first release has nothing to go back to: staging is empty again.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_fails_a_gate_leaves_staging_empty() {
    let house = House::start(&Project::default().with("fail=1 path=/smoke")).await;
    let (at, _) = failure(&house.ship().await);
    assert_eq!(at, Stage::Smoke);
    assert_eq!(house.instances("staging").await, Vec::<String>::new());
    house
        .inbox
        .wait(&[SLACK, EMAIL, WEBHOOK], "was rolled back from staging")
        .await;
    assert_eq!(house.stable("staging"), None);
    house.commit(&Project::default(), "Mend it");
    assert_eq!(house.deploy().await, "notes-r2");
    house.stop().await;
}

/// Two runs of one service at once: each has a folder of its own, and ships what its own commit holds.
#[tokio::test(flavor = "multi_thread")]
async fn runs_that_overlap_do_not_share_a_folder() {
    let slow = Project::without_staging().stage(
        "unit",
        "while test -e \"$PWD/../../../hold\"; do sleep 0.05; done; cp trimtab.yaml bin/",
    );
    let house = House::start(&slow.with("slow=1")).await;
    let hold = house.place.root().join("hold");
    std::fs::write(&hold, "").unwrap();
    let first = house.run().await;
    house.at_stage(&first, Stage::Unit).await;
    house.commit(&slow.with("slow=2"), "Again");
    let second = house.run().await;
    house.at_stage(&second, Stage::Unit).await;
    std::fs::remove_file(hold).unwrap();
    for (run, faults) in [(first, "slow=1"), (second, "slow=2")] {
        let release = house.ended(&run).await.release.unwrap();
        let digest = house.world.releases.get(&release).unwrap().release.artifact;
        let unpacked = house.place.root().join(format!("unpacked-{run}"));
        house.world.artifacts.unpack(&digest, &unpacked).await.unwrap();
        let text = std::fs::read_to_string(unpacked.join("bin/trimtab.yaml")).unwrap();
        assert!(text.contains(faults), "{run}: {text}");
    }
    house.stop().await;
}
