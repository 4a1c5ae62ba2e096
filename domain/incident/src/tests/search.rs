//! Breadth-first search over every reachable state of every plan.

use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;
use trimtab_model::Generation;

use super::*;

/// The state without what grows for ever.
fn shape(state: &State) -> State {
    let mut shape = state.clone();
    shape.generation = Generation(0);
    shape.since = Timestamp(0);
    shape.acted_at = Timestamp(0);
    shape.seen_at = Timestamp(0);
    for owed in &mut shape.owed {
        owed.generation = Generation(0);
    }
    shape.owed.sort_by_key(|owed| (owed.what, owed.severity));
    shape.owed.dedup();
    shape
}

fn plans() -> Vec<Plan> {
    let mut plans = vec![at_rollout(), long_after()];
    plans.extend([Severity::High, Severity::Medium, Severity::Low].map(of));
    let guards = [
        Guard::DryRun,
        Guard::Refused {
            reason: "cool-down".to_owned(),
        },
    ];
    plans.extend(guards.map(|guard| Plan {
        guard,
        ..at_rollout()
    }));
    plans.push(Plan {
        previous: None,
        ..long_after()
    });
    plans.push(Plan {
        suspect: None,
        ..long_after()
    });
    plans.push(Plan {
        class: Class::DependencyFailure,
        ..at_rollout()
    });
    plans
}

fn check_state(plan: &Plan, state: &State) {
    let owed = pending(plan, state);
    let told = format!("{}: {state:#?}\n{owed:#?}", state.describe());
    if state.end().is_some() {
        assert!(owed.is_empty(), "an end owes nothing: {told}");
        return;
    }
    assert_eq!(
        owed.iter().filter(|effect| is_timer(effect)).count(),
        1,
        "one timer: {told}"
    );
    let acts = owed.iter().any(is_action);
    if plan.guard != Guard::Allowed || !plan.class.acting_helps() || plan.suspect.is_none() {
        assert!(!acts, "a guard-rail holds: {told}");
    }
    if state.severity != Severity::Critical {
        assert!(!acts, "only the critical branch acts: {told}");
    }
    let half_way = state.phase == Phase::RollingBack;
    if state.taken_over_by.is_some() && !half_way {
        assert!(!acts, "a person has taken over: {told}");
    }
    if owed
        .iter()
        .any(|effect| matches!(effect, Effect::StartPrevious { .. }))
    {
        assert!(
            plan.rollout.is_none(),
            "only the rollout moves traffic while there is one: {told}"
        );
    }
}

/// With every effect answered well, each path ends.
fn check_ends(plan: &Plan, state: &State) {
    let mut state = state.clone();
    for _ in 0..60 {
        let owed = pending(plan, &state);
        let Some(effect) = owed.first() else { return };
        let event = answers(effect, later(&state)).remove(0);
        state = step(plan, state, event).0;
    }
    panic!("no end in sight: {state:#?}");
}

fn search(plan: &Plan) -> usize {
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([start(plan)]);
    while let Some(state) = queue.pop_front() {
        if !seen.insert(shape(&state)) {
            continue;
        }
        check_state(plan, &state);
        let at = later(&state);
        if state.end().is_some() {
            for event in commands(at) {
                assert_eq!(step(plan, state.clone(), event).0, state, "an end stays");
            }
            continue;
        }
        check_ends(plan, &state);
        let owed = pending(plan, &state);
        let results: Vec<Event> = owed.iter().flat_map(|effect| answers(effect, at)).collect();
        for event in &results {
            let (next, effects) = step(plan, state.clone(), event.clone());
            assert_ne!(next, state, "an answer changes something: {event:?}");
            assert_eq!(
                step(plan, next.clone(), event.clone()).0,
                next,
                "twice: {event:?}"
            );
            let now = pending(plan, &next);
            assert!(effects.iter().all(|effect| now.contains(effect)));
            assert!(
                !now.iter().any(|effect| effect.is_discharged_by(event)),
                "discharged: {event:?}"
            );
        }
        for event in results.into_iter().chain(commands(at)) {
            let next = step(plan, state.clone(), event.clone()).0;
            assert!(next.severity >= state.severity && next.generation >= state.generation);
            queue.push_back(next);
        }
    }
    seen.len()
}

#[test]
fn every_reachable_state_of_an_incident_is_safe_and_can_end() {
    for plan in plans() {
        let states = search(&plan);
        assert!((20..200_000).contains(&states), "{states} states");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_of_incident_events_replays(
        which in 0usize..10,
        picks in prop::collection::vec((0usize..64, any::<bool>()), 1..100),
    ) {
        let plan = plans()[which].clone();
        let mut state = start(&plan);
        let mut journal: Vec<Event> = Vec::new();
        for (pick, old) in picks {
            let at = later(&state);
            let event = if old && !journal.is_empty() {
                journal[pick % journal.len()].clone()
            } else {
                let mut events = commands(at);
                events.extend(pending(&plan, &state).iter().flat_map(|effect| answers(effect, at)));
                events[pick % events.len()].clone()
            };
            let text = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), &event);
            journal.push(event.clone());
            state = step(&plan, state, event).0;
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
