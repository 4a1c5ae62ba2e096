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
    let plan = at_rollout();
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
        let event = {
            let events = answers(&owed[0], at);
            match owed[0] {
                Effect::CheckHealth { .. } => events[1].clone(),
                _ => events[0].clone(),
            }
        };
        note(&event);
        state = step(&plan, state, event).0;
    }
    // What comes after the end changes nothing, and must be readable all the same.
    let (at, generation) = (later(&state), state.generation);
    for event in commands(at) {
        note(&event);
    }
    note(&Event::FixesProposed {
        at,
        generation,
        outcome: outcomes()[0].clone(),
    });
    note(&Event::MetricsCleared {
        at,
        generation,
        detail: "well".to_owned(),
    });
    note(&Event::TimerFired {
        at,
        name: TimerName::Quiet,
        generation,
    });
    std::fs::write(file(), lines.join("\n") + "\n").unwrap();
    println!("written, {kinds:?}");
}

#[test]
fn incidents_of_version_1_are_read() {
    let plan = at_rollout();
    let mut state = start(&plan);
    let mut kinds = std::collections::BTreeSet::new();
    for line in GOLDEN.lines() {
        let written: serde_json::Value = serde_json::from_str(line).unwrap();
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), written, "nothing is lost");
        kinds.insert(written["type"].as_str().unwrap().to_owned());
        state = step(&plan, state, event).0;
    }
    assert_eq!(state.describe(), "resolved: rolled back to the previous release");
    assert_eq!(kinds.len(), 18, "every kind of event is there: {kinds:?}");
}
