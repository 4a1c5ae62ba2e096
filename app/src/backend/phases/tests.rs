#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use trimtab_model::{Digest, Generation, Weight};
use trimtab_rollout::blue_green::BlueGreen;
use trimtab_rollout::{Event, Limits, OnInconclusive, OnRegressed, Outcome, Strategy};

use super::*;

fn plan() -> Plan {
    Plan {
        rollout: "rollout-2".parse().unwrap(),
        service: "blocks".parse().unwrap(),
        environment: "production".parse().unwrap(),
        run: None,
        candidate: "blocks-r2".parse().unwrap(),
        candidate_digest: Digest("ab".repeat(32)),
        baseline: Some("blocks-r1".parse().unwrap()),
        started_at: Timestamp(0),
        strategy: Strategy::BlueGreen(BlueGreen {
            test: true,
            holdback: Weight::from_percent(5.0).unwrap(),
            watch_ms: 30_000,
            drain_ms: 5_000,
            decommission_after_ms: 2_000,
            on_inconclusive: OnInconclusive::Pass,
            extensions_max: 1,
            on_regressed: OnRegressed::Protect,
        }),
        limits: Limits::default(),
        hooks: trimtab_rollout::Hooks::default(),
        freezes: Vec::new(),
        group: None,
        before: None,
    }
}

/// Steps a rollout through events, each made from the state before it.
fn walk(plan: &Plan, events: &[&dyn Fn(Generation) -> Event]) -> Vec<Pass> {
    let mut state = trimtab_rollout::start(plan);
    let mut passes = vec![Pass {
        at: Timestamp(0),
        state: state.clone(),
    }];
    for (at, event) in (1..).zip(events) {
        state = trimtab_rollout::step(plan, state.clone(), event(state.generation)).0;
        passes.push(Pass {
            at: Timestamp(at * 1_000),
            state: state.clone(),
        });
    }
    passes
}

fn told(plan: &Plan, passes: &[Pass]) -> String {
    let stages = phases(plan, passes);
    let told: Vec<String> = stages
        .iter()
        .map(|stage| format!("{}={:?}", stage.name, stage.state))
        .collect();
    told.join(", ")
}

fn started(generation: Generation) -> Event {
    Event::Started {
        at: Timestamp(1_000),
        release: "blocks-r2".parse().unwrap(),
        generation,
        outcome: Outcome::Done,
    }
}

fn tested(generation: Generation) -> Event {
    Event::Tested {
        at: Timestamp(2_000),
        generation,
        outcome: Outcome::Done,
    }
}

fn shifted(generation: Generation) -> Event {
    Event::Shifted {
        at: Timestamp(3_000),
        generation,
        outcome: Outcome::Done,
    }
}

fn protected(_: Generation) -> Event {
    Event::Protected {
        at: Timestamp(4_000),
        incident: "incident-1".parse().unwrap(),
        reason: "it fails".to_owned(),
    }
}

#[test]
fn phases_tell_what_passed_and_what_is_to_come() {
    let plan = plan();
    assert_eq!(
        told(&plan, &walk(&plan, &[&started])),
        "start=Passed, test off traffic=Running, switch 95 %=Pending, health at 95 %=Pending, watch 95 %=Pending, \
         switch 100 %=Pending, drain the previous=Pending, keep the previous warm=Pending, stop the previous=Pending"
    );
}

#[test]
fn a_rollout_that_turns_back_shows_where() {
    let plan = plan();
    let passes = walk(&plan, &[&started, &tested, &shifted, &protected, &shifted]);
    let told = told(&plan, &passes);
    assert!(told.contains("health at 95 %=Failed"), "{told}");
    assert!(told.ends_with("off traffic=Running"), "{told}");
    assert!(!told.contains("Pending"), "{told}");
    let steps: Vec<f64> = weights(&passes)
        .iter()
        .map(|step| step.candidate_percent)
        .collect();
    assert_eq!(steps, [95.0, 0.0]);
}
