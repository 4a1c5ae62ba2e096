//! Journals of version 1 are read for ever: every kind of event as it was first written.

use super::*;

const GOLDEN: &str = include_str!("golden-v1.jsonl");

fn file() -> std::path::PathBuf {
    std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("src/tests/golden-v1.jsonl")
}

/// Writes the golden file; run by hand, once for a version, never for one that has been in use.
#[test]
#[ignore = "writes the golden file of a new version"]
fn write_golden() {
    let plan = full();
    let mut state = start(&plan);
    let mut lines = Vec::new();
    let mut kinds = std::collections::BTreeSet::new();
    let mut note = |event: &Event| {
        let value = serde_json::to_value(event).unwrap();
        kinds.insert(value["type"].as_str().unwrap().to_owned());
        lines.push(value.to_string());
    };
    while state.end().is_none() {
        let owed = pending(&plan, &state);
        let at = later(&state);
        let event = answers(&owed[0], at).remove(0);
        note(&event);
        state = step(&plan, state, event).0;
    }
    // What comes after the end changes nothing, and must be readable all the same.
    let (at, generation, reason) = (later(&state), state.generation, "no".to_owned());
    note(&Event::Cancelled { at, by: qa() });
    note(&Event::Rejected {
        at,
        by: qa(),
        reason: reason.clone(),
    });
    note(&Event::TimerFired {
        at,
        name: TimerName::Deadline,
        generation,
    });
    note(&Event::EnvironmentRolledBack {
        at,
        environment: plan.staging.clone(),
        generation,
        outcome: Outcome::Failed {
            reason: reason.clone(),
        },
    });
    for outcome in [
        JobOutcome::Failed {
            reason: reason.clone(),
        },
        JobOutcome::Lost {
            reason: reason.clone(),
        },
    ] {
        note(&Event::JobFinished {
            at,
            stage: Stage::E2e,
            attempt: 1,
            outcome,
        });
    }
    for outcome in [
        RolloutOutcome::RolledBack {
            reason: reason.clone(),
        },
        RolloutOutcome::Failed { reason },
    ] {
        note(&Event::RolloutEnded {
            at,
            environment: plan.staging.clone(),
            attempt: 1,
            outcome,
        });
    }
    std::fs::write(file(), lines.join("\n") + "\n").unwrap();
    println!("written, {kinds:?}");
}

#[test]
fn runs_of_version_1_are_read() {
    let plan = full();
    let mut state = start(&plan);
    let mut kinds = std::collections::BTreeSet::new();
    for line in GOLDEN.lines() {
        let written: serde_json::Value = serde_json::from_str(line).unwrap();
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), written, "nothing is lost");
        kinds.insert(written["type"].as_str().unwrap().to_owned());
        state = step(&plan, state, event).0;
    }
    assert_eq!(state.describe(), "deployed");
    assert_eq!(kinds.len(), 9, "every kind of event is there: {kinds:?}");
}
