#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod golden;
use std::collections::{HashSet, VecDeque};

use insta::assert_snapshot;
use proptest::prelude::*;
use trimtab_model::{Actor, Digest, Generation, Role, Timestamp};

use crate::*;

fn with(stages: &[Stage]) -> Plan {
    Plan {
        run: "run-1".parse().unwrap(),
        service: "blocks".parse().unwrap(),
        commit: "c0ffee".to_owned(),
        title: "Add search".to_owned(),
        started_at: Timestamp(0),
        staging: "staging".parse().unwrap(),
        production: "production".parse().unwrap(),
        approver: Role::Approver,
        stages: stages
            .iter()
            .map(|stage| StagePlan {
                stage: *stage,
                deadline_ms: 60_000,
            })
            .collect(),
    }
}

fn full() -> Plan {
    with(&Stage::ALL)
}

fn later(state: &State) -> Timestamp {
    Timestamp(state.since.0 + 100)
}

fn qa() -> Actor {
    Actor("qa".to_owned())
}

/// The events that `effect` may be answered with, the good one first.
fn answers(effect: &Effect, at: Timestamp) -> Vec<Event> {
    let reason = "no".to_owned();
    match effect.clone() {
        Effect::RunJob { stage, attempt } => [
            JobOutcome::Passed,
            JobOutcome::Failed {
                reason: reason.clone(),
            },
            JobOutcome::Lost { reason },
        ]
        .map(|outcome| Event::JobFinished {
            at,
            stage,
            attempt,
            outcome,
        })
        .into(),
        Effect::RecordArtifact { attempt } => {
            let failed = [
                JobOutcome::Failed {
                    reason: reason.clone(),
                },
                JobOutcome::Lost { reason },
            ];
            let mut events = vec![Event::ArtifactRecorded {
                at,
                attempt,
                release: "blocks-r1".parse().unwrap(),
                digest: Digest("ab".repeat(32)),
            }];
            events.extend(failed.map(|outcome| Event::JobFinished {
                at,
                stage: Stage::Artifact,
                attempt,
                outcome,
            }));
            events
        }
        Effect::StartRollout { environment, attempt } => [
            RolloutOutcome::Deployed,
            RolloutOutcome::RolledBack {
                reason: reason.clone(),
            },
            RolloutOutcome::Failed { reason },
        ]
        .map(|outcome| Event::RolloutEnded {
            at,
            environment: environment.clone(),
            attempt,
            outcome,
        })
        .into(),
        Effect::RollBackEnvironment {
            environment,
            generation,
        } => [Outcome::Done, Outcome::Failed { reason }]
            .map(|outcome| Event::EnvironmentRolledBack {
                at,
                environment: environment.clone(),
                generation,
                outcome,
            })
            .into(),
        Effect::AskApproval { .. } => vec![
            Event::Approved {
                at,
                by: qa(),
                reason: reason.clone(),
            },
            Event::Rejected { at, by: qa(), reason },
        ],
        Effect::Notify { what, generation } => vec![Event::Notified { at, what, generation }],
        Effect::Timer {
            name, generation, at, ..
        } => vec![Event::TimerFired { at, name, generation }],
    }
}

fn is_timer(effect: &Effect) -> bool {
    matches!(effect, Effect::Timer { .. })
}

fn short(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::RunJob { stage, attempt } => format!("run {} {attempt}", stage.as_str()),
        Effect::RecordArtifact { attempt } => format!("record artifact {attempt}"),
        Effect::StartRollout { environment, .. } => format!("roll out to {environment}"),
        Effect::RollBackEnvironment { environment, .. } => format!("roll back {environment}"),
        Effect::AskApproval { role, .. } => format!("ask {role}"),
        Effect::Notify { what, .. } => format!("notify {what:?}"),
        Effect::Timer { .. } => return None,
    })
}

/// How each effect in turn is answered: the pick among its possible answers.
#[derive(Clone, Copy)]
enum Do {
    /// The work of the present phase is answered by the answer of this number.
    Answer(usize),
    /// The work of the first so many phases goes well.
    Well(usize),
    /// The deadline passes.
    Deadline,
    /// A person stops the run.
    Cancel,
}

fn play(plan: &Plan, deeds: &[Do]) -> String {
    let mut state = start(plan);
    let line = |state: &State, effects: &[Effect]| {
        let owed: Vec<String> = effects.iter().filter_map(short).collect();
        format!("{} [{}]", state.describe(), owed.join(", "))
    };
    let mut lines = vec![line(&state, &pending(plan, &state))];
    for deed in deeds {
        let (times, pick) = match deed {
            Do::Well(times) => (*times, 0),
            Do::Answer(pick) => (1, *pick),
            Do::Deadline | Do::Cancel => (1, 0),
        };
        for _ in 0..times {
            let owed = pending(plan, &state);
            let at = later(&state);
            let event = match deed {
                Do::Deadline => answers(owed.iter().find(|effect| is_timer(effect)).unwrap(), at).remove(0),
                Do::Cancel => Event::Cancelled { at, by: qa() },
                Do::Well(_) | Do::Answer(_) => answers(&owed[0], at).remove(pick),
            };
            let (next, effects) = step(plan, state, event);
            lines.push(line(&next, &effects));
            state = next;
        }
    }
    lines.join("\n")
}

#[test]
fn a_good_commit_goes_all_the_way() {
    assert_snapshot!(play(&full(), &[Do::Well(13)]), @"
    install dependencies [run install 1]
    build [run build 1]
    unit tests [run unit 1]
    integration tests [run integration 1]
    end-to-end tests [run e2e 1]
    create artifact [record artifact 1]
    deploy to staging [roll out to staging]
    smoke tests [run smoke 1]
    staging integration tests [run staging_integration 1]
    performance tests [run performance 1]
    waiting for approval [ask approver, notify ApprovalWanted]
    deploy to production [roll out to production]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn a_failing_stage_tells_the_team_and_fails() {
    assert_snapshot!(play(&full(), &[Do::Well(2), Do::Answer(1), Do::Well(1)]), @"
    install dependencies [run install 1]
    build [run build 1]
    unit tests [run unit 1]
    failed at unit tests: no; telling the team [notify StageFailed]
    failed at unit tests: no []
    ");
}

#[test]
fn a_failing_staging_gate_rolls_staging_back() {
    assert_snapshot!(play(&full(), &[Do::Well(8), Do::Answer(1), Do::Well(2)]), @"
    install dependencies [run install 1]
    build [run build 1]
    unit tests [run unit 1]
    integration tests [run integration 1]
    end-to-end tests [run e2e 1]
    create artifact [record artifact 1]
    deploy to staging [roll out to staging]
    smoke tests [run smoke 1]
    staging integration tests [run staging_integration 1]
    rolling back staging: staging integration tests: no [roll back staging]
    failed at staging integration tests: no; telling the team [notify StagingRolledBack]
    failed at staging integration tests: no []
    ");
}

#[test]
fn a_rejection_rolls_staging_back() {
    assert_snapshot!(play(&full(), &[Do::Well(10), Do::Answer(1), Do::Well(2)]), @"
    install dependencies [run install 1]
    build [run build 1]
    unit tests [run unit 1]
    integration tests [run integration 1]
    end-to-end tests [run e2e 1]
    create artifact [record artifact 1]
    deploy to staging [roll out to staging]
    smoke tests [run smoke 1]
    staging integration tests [run staging_integration 1]
    performance tests [run performance 1]
    waiting for approval [ask approver, notify ApprovalWanted]
    rolling back staging: approval: rejected by qa: no [roll back staging]
    failed at approval: rejected by qa: no; telling the team [notify StagingRolledBack]
    failed at approval: rejected by qa: no []
    ");
}

#[test]
fn silence_is_no_approval() {
    assert_snapshot!(play(&full(), &[Do::Well(10), Do::Deadline, Do::Answer(1), Do::Well(1)]), @"
    install dependencies [run install 1]
    build [run build 1]
    unit tests [run unit 1]
    integration tests [run integration 1]
    end-to-end tests [run e2e 1]
    create artifact [record artifact 1]
    deploy to staging [roll out to staging]
    smoke tests [run smoke 1]
    staging integration tests [run staging_integration 1]
    performance tests [run performance 1]
    waiting for approval [ask approver, notify ApprovalWanted]
    rolling back staging: approval: nobody answered in time [roll back staging]
    failed at approval: nobody answered in time; failed to roll back staging: no; telling the team [notify StagingRolledBack]
    failed at approval: nobody answered in time; failed to roll back staging: no []
    ");
}

#[test]
fn a_production_rollback_alerts_the_team() {
    assert_snapshot!(play(&full(), &[Do::Well(11), Do::Answer(1), Do::Well(1)]), @"
    install dependencies [run install 1]
    build [run build 1]
    unit tests [run unit 1]
    integration tests [run integration 1]
    end-to-end tests [run e2e 1]
    create artifact [record artifact 1]
    deploy to staging [roll out to staging]
    smoke tests [run smoke 1]
    staging integration tests [run staging_integration 1]
    performance tests [run performance 1]
    waiting for approval [ask approver, notify ApprovalWanted]
    deploy to production [roll out to production]
    failed at deploy to production: no; telling the team [notify ProductionRolledBack]
    failed at deploy to production: no []
    ");
}

#[test]
fn a_lost_job_is_run_again_at_most_three_times() {
    assert_snapshot!(play(&with(&[Stage::Build]), &[Do::Answer(2), Do::Answer(2), Do::Answer(2), Do::Well(1)]), @"
    build [run build 1]
    build (attempt 2) [run build 2]
    build (attempt 3) [run build 3]
    failed at build: lost 3 times: no; telling the team [notify StageFailed]
    failed at build: lost 3 times: no []
    ");
    assert_snapshot!(play(&with(&[Stage::Build]), &[Do::Answer(2), Do::Well(2)]), @"
    build [run build 1]
    build (attempt 2) [run build 2]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn a_person_cancels_a_rollout_under_way() {
    assert_snapshot!(play(&full(), &[Do::Well(11), Do::Cancel, Do::Well(2)]), @"
    install dependencies [run install 1]
    build [run build 1]
    unit tests [run unit 1]
    integration tests [run integration 1]
    end-to-end tests [run e2e 1]
    create artifact [record artifact 1]
    deploy to staging [roll out to staging]
    smoke tests [run smoke 1]
    staging integration tests [run staging_integration 1]
    performance tests [run performance 1]
    waiting for approval [ask approver, notify ApprovalWanted]
    deploy to production [roll out to production]
    rolling back production: deploy to production: cancelled by qa [roll back production]
    failed at deploy to production: cancelled by qa; telling the team [notify Cancelled]
    failed at deploy to production: cancelled by qa []
    ");
    assert_snapshot!(play(&full(), &[Do::Well(1), Do::Cancel, Do::Well(1)]), @"
    install dependencies [run install 1]
    build [run build 1]
    failed at build: cancelled by qa; telling the team [notify Cancelled]
    failed at build: cancelled by qa []
    ");
}

#[test]
fn stages_left_out_are_skipped() {
    let plan = with(&[
        Stage::DeployProduction,
        Stage::Artifact,
        Stage::Build,
        Stage::Build,
    ]);
    assert_snapshot!(play(&plan, &[Do::Well(4)]), @"
    build [run build 1]
    create artifact [record artifact 1]
    deploy to production [roll out to production]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

fn plans() -> Vec<Plan> {
    let without = |left_out: &[Stage]| {
        let stages: Vec<Stage> = Stage::ALL
            .into_iter()
            .filter(|stage| !left_out.contains(stage))
            .collect();
        with(&stages)
    };
    vec![
        full(),
        without(&[Stage::Approval]),
        without(&[Stage::DeployStaging, Stage::Approval]),
        with(&[Stage::Artifact, Stage::DeployProduction]),
        with(&[]),
    ]
}

/// The state without what does not bear on what follows: times, and which attempt of a stage ended it.
fn shape(state: &State) -> State {
    let mut shape = state.clone();
    shape.results.reverse();
    let mut seen = HashSet::new();
    shape.results.retain(|result| seen.insert(result.stage));
    shape.generation = Generation(0);
    shape.since = Timestamp(0);
    for result in &mut shape.results {
        (result.started_at, result.finished_at, result.attempt) = (Timestamp(0), Timestamp(0), 0);
    }
    shape
}

fn check_state(plan: &Plan, state: &State) {
    let owed = pending(plan, state);
    let told = format!("{}: {state:#?}\n{owed:#?}", state.describe());
    if let Some(end) = state.end() {
        assert!(owed.is_empty(), "an end owes nothing: {told}");
        let failed = state
            .results
            .iter()
            .rev()
            .take(1)
            .any(|result| result.failure.is_some());
        assert_eq!(
            *end != End::Deployed,
            failed,
            "the end is the last stage's: {told}"
        );
        return;
    }
    assert_eq!(
        owed.iter().filter(|effect| is_timer(effect)).count(),
        1,
        "one timer: {told}"
    );
    assert!(owed.len() > 1, "work is owed: {told}");
    let passed = |stage: Stage| {
        state
            .results
            .iter()
            .any(|result| result.stage == stage && result.failure.is_none())
    };
    let production = owed
        .iter()
        .any(|effect| matches!(effect, Effect::StartRollout { environment, .. } if *environment == plan.production));
    if production {
        for stage in Stage::ALL {
            let before = plan.has(stage) && stage < Stage::DeployProduction;
            assert!(!before || passed(stage), "production only after {stage}: {told}");
        }
    }
    let deploys = owed
        .iter()
        .any(|effect| matches!(effect, Effect::StartRollout { .. }));
    assert!(
        !deploys || state.release.is_some() || !plan.has(Stage::Artifact),
        "{told}"
    );
}

fn check_ends(plan: &Plan, state: &State) {
    let mut state = state.clone();
    for _ in 0..40 {
        let owed = pending(plan, &state);
        let Some(effect) = owed.first() else { return };
        state = step(plan, state.clone(), answers(effect, later(&state)).remove(0)).0;
    }
    panic!("no end in sight: {state:#?}");
}

#[test]
fn every_reachable_state_of_a_run_is_safe_and_can_end() {
    for plan in plans() {
        let mut seen = HashSet::new();
        let mut queue = VecDeque::from([start(&plan)]);
        while let Some(state) = queue.pop_front() {
            if !seen.insert(shape(&state)) {
                continue;
            }
            check_state(&plan, &state);
            check_ends(&plan, &state);
            let at = later(&state);
            let owed = pending(&plan, &state);
            for event in owed.iter().flat_map(|effect| answers(effect, at)) {
                let (next, effects) = step(&plan, state.clone(), event.clone());
                let now = pending(&plan, &next);
                assert_ne!(next, state, "an answer changes something: {event:?}");
                assert!(effects.iter().all(|effect| now.contains(effect)));
                assert!(
                    !now.iter().any(|effect| effect.is_discharged_by(&event)),
                    "discharged: {event:?}"
                );
                assert_eq!(
                    step(&plan, next.clone(), event.clone()).0,
                    next,
                    "twice: {event:?}"
                );
                // A staging that was deployed to is rolled back before a run may fail at its gates.
                if let (
                    Phase::Working { stage, .. },
                    Phase::Announcing {
                        end: End::Failed { .. },
                        ..
                    },
                ) = (&state.phase, &next.phase)
                {
                    assert!(
                        !stage.is_staging_gate() || !plan.has(Stage::DeployStaging),
                        "{event:?}"
                    );
                }
                queue.push_back(next);
            }
            let cancelled = step(&plan, state.clone(), Event::Cancelled { at, by: qa() }).0;
            if state.stage().is_some() {
                assert!(cancelled.stage().is_none(), "{}", cancelled.describe());
            }
            queue.push_back(cancelled);
        }
        assert!((2..50_000).contains(&seen.len()), "{} states", seen.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Answers come in any order, twice, late and with answers to older attempts.
    #[test]
    fn any_order_of_run_events_replays(picks in prop::collection::vec((0usize..64, 0u8..8), 1..80)) {
        let plan = full();
        let mut state = start(&plan);
        let mut journal: Vec<Event> = Vec::new();
        for (pick, kind) in picks {
            let at = later(&state);
            let owed = pending(&plan, &state);
            let event = match kind {
                0 if !journal.is_empty() => journal[pick % journal.len()].clone(),
                1 if pick < 4 => Event::Cancelled { at, by: qa() },
                _ if owed.is_empty() => break,
                2 => {
                    let all: Vec<Event> = owed.iter().flat_map(|effect| answers(effect, at)).collect();
                    all[pick % all.len()].clone()
                }
                _ => answers(&owed[0], at).remove(0),
            };
            let text = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), &event);
            let is_old = journal.contains(&event) && !owed.iter().any(|effect| effect.is_discharged_by(&event));
            let before = state.clone();
            journal.push(event.clone());
            state = step(&plan, state, event).0;
            prop_assert!(!is_old || state == before, "stale events change nothing");
            check_state(&plan, &state);
        }
        let text = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(&serde_json::from_str::<State>(&text).unwrap(), &state);
        let replayed = journal
            .into_iter()
            .fold(start(&plan), |state, event| step(&plan, state, event).0);
        prop_assert_eq!(replayed, state);
    }
}
