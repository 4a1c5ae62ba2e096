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
    let plan = blue_green();
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
            let is_work = |effect: &&Effect| !is_timer(effect) && !matches!(effect, Effect::Observe { .. });
            let is_observe = |effect: &&Effect| matches!(effect, Effect::Observe { .. });
            let next = owed.iter().find(is_work).or(owed.iter().find(is_observe));
            answers(next.unwrap_or(owed.last().unwrap()), at).remove(0)
        };
        note(&event);
        state = step(&plan, state, event).0;
    }
    // What comes after the end changes nothing, and must be readable all the same.
    let at = later(&state);
    for event in commands(at) {
        note(&event);
    }
    let (reason, generation) = ("errors".to_owned(), state.generation);
    for verdict in [
        Verdict::regressed(reason.clone()),
        Verdict::inconclusive(reason.clone()),
    ] {
        note(&Event::Observed {
            at,
            generation,
            round: 0,
            verdict,
        });
    }
    note(&Event::Quarantined {
        at,
        generation,
        outcome: Outcome::Failed { reason },
    });
    std::fs::write(file(), lines.join("\n") + "\n").unwrap();
    println!("written, {kinds:?}");
}

#[test]
fn rollouts_of_version_1_are_read() {
    let plan = blue_green();
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
    assert_eq!(kinds.len(), 19, "every kind of event is there: {kinds:?}");
}

/// What came to the journal with steps, gates and hooks.
#[test]
fn events_of_steps_and_hooks_are_read() {
    for line in include_str!("golden-v1-steps.jsonl").lines() {
        let written: serde_json::Value = serde_json::from_str(line).unwrap();
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), written, "nothing is lost");
    }
}

/// A plan as it was written before there were hooks and freezes.
#[test]
fn plans_without_hooks_and_freezes_are_read() {
    let plan = blue_green();
    let mut written = serde_json::to_value(&plan).unwrap();
    let fields = written.as_object_mut().unwrap();
    fields.remove("hooks");
    fields.remove("freezes");
    fields["limits"].as_object_mut().unwrap().remove("hook_ms");
    assert_eq!(serde_json::from_value::<Plan>(written).unwrap(), plan);
}
