//! Breadth-first search over every reachable state of every plan, with every answer to every effect and
//! every command in every state.

use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;
use trimtab_model::Generation;

use super::*;

/// The state without what grows for ever.
fn shape(state: &State) -> State {
    let mut shape = state.clone();
    shape.generation = Generation(0);
    shape.since = Timestamp(0);
    shape.attempt = state.attempt.min(3);
    shape.refused = false;
    match &mut shape.phase {
        Phase::Holding { until, .. } | Phase::Frozen { until, .. } => *until = Timestamp(0),
        _ => {}
    }
    shape.retry_at = state.retry_at.map(|_| Timestamp(0));
    if let Some(pause) = &mut shape.paused {
        pause.at = Timestamp(0);
    }
    if let Some(watch) = &mut shape.watch {
        watch.generation = Generation(0);
        watch.round = 0;
        watch.until = Timestamp(0);
    }
    for owed in &mut shape.owed {
        owed.generation = Generation(0);
    }
    shape.owed.sort_by_key(|owed| owed.what);
    shape.owed.dedup();
    // What the outbox still lacks changes nothing before the end is announced.
    if !matches!(shape.phase, Phase::Announcing { .. }) {
        shape.owed.clear();
    }
    shape.promoted_by = None;
    shape
}

fn plans() -> Vec<Plan> {
    let mut plans = vec![blue_green(), direct(), first_release()];
    for on_inconclusive in [
        OnInconclusive::Pass,
        OnInconclusive::Ask,
        OnInconclusive::RollBack,
    ] {
        plans.push(with(|strategy| strategy.on_inconclusive = on_inconclusive));
    }
    for on_regressed in [
        OnRegressed::RollBack,
        OnRegressed::Extend,
        OnRegressed::Ask,
        OnRegressed::Report,
    ] {
        plans.push(with(|strategy| strategy.on_regressed = on_regressed));
    }
    plans.push(canary());
    let gate = Gate {
        job: true,
        approval: true,
        hold_ms: 1000,
    };
    plans.push(with_canary(|strategy| {
        strategy.test = true;
        strategy.steps[0].gate = gate;
        strategy.steps[1].on_inconclusive = OnInconclusive::Report;
        strategy.on_regressed = OnRegressed::Protect;
    }));
    plans.push(with_canary(|strategy| {
        strategy.steps[1].gate = gate;
        strategy.on_regressed = OnRegressed::Report;
    }));
    plans.push(Plan {
        hooks: Hooks {
            before: true,
            expand: true,
            contract: true,
            after: true,
        },
        freezes: vec![Freeze {
            from: Timestamp(0),
            until: Timestamp(60_000),
        }],
        ..canary()
    });
    for plan in [canary(), blue_green(), rolling(2, 1, 0), first_release()] {
        let group = Some(group::Membership {
            group: "group-1".to_owned(),
            member: 0,
        });
        let strategy = plan.strategy.in_group();
        plans.push(Plan {
            strategy,
            group,
            ..plan
        });
    }
    for (instances, surge, unavailable) in [(3, 1, 0), (3, 0, 1), (1, 1, 0), (1, 0, 1)] {
        plans.push(rolling(instances, surge, unavailable));
    }
    plans.push(Plan {
        baseline: None,
        ..rolling(2, 1, 0)
    });
    plans.push(flag());
    plans.push(Plan {
        baseline: None,
        ..flag()
    });
    plans.push(with_flag(|strategy| {
        strategy.test = false;
        strategy.watch_ms = 0;
        strategy.steps[0].gate = gate;
        strategy.on_regressed = OnRegressed::RollBack;
    }));
    plans.push(with_canary(|strategy| {
        strategy.on_regressed = OnRegressed::Extend
    }));
    plans.push(with_flag(|strategy| {
        strategy.steps.truncate(1);
        strategy.decommission_after_ms = 2000;
        strategy.on_regressed = OnRegressed::Ask;
    }));
    plans.push(with(|strategy| {
        strategy.holdback = Weight::ZERO;
        strategy.test = false;
        strategy.decommission_after_ms = 0;
    }));
    plans
}

fn strategy(plan: &Plan) -> OnRegressed {
    plan.strategy.manner().on_regressed
}

/// True once the way forward is justified: by a verdict, an allowed want of one, or a person.
fn justifies(plan: &Plan, before: &State, event: &Event) -> bool {
    let watch = before.watch.as_ref();
    match event {
        Event::Observed {
            generation, verdict, ..
        } if watch.is_some_and(|w| w.generation == *generation) => match verdict {
            Verdict::Healthy => true,
            Verdict::Inconclusive { .. } => plan.steps().iter().any(|step| {
                matches!(
                    step.on_inconclusive,
                    OnInconclusive::Pass | OnInconclusive::Report
                )
            }),
            Verdict::Regressed { .. } => strategy(plan) == OnRegressed::Report,
        },
        Event::Promoted { .. } | Event::Approved { .. } => before.phase.step().is_some(),
        _ => false,
    }
}

fn check_state(plan: &Plan, state: &State, justified: bool) {
    let owed = pending(plan, state);
    let told = format!("{}: {state:#?}\n{owed:#?}", state.describe());
    if let Some(end) = state.end() {
        assert!(owed.is_empty(), "an end owes nothing: {told}");
        let flagged = matches!(plan.strategy, crate::Strategy::Flag(_)) && *end == End::Deployed;
        let share = state.flag.as_ref().map_or(Weight::ZERO, |flag| flag.share);
        let flag = if flagged { Weight::FULL } else { Weight::ZERO };
        assert_eq!(share, flag, "the flag is on for everyone or nobody: {told}");
        match end {
            End::Deployed | End::FlagDisabled { .. } => {
                assert!(
                    state.traffic.weight == Weight::FULL && state.traffic.acknowledged,
                    "{told}"
                );
                assert!(state.cause.is_none(), "{told}");
            }
            End::RolledBack { .. } => assert!(state.traffic.is_off() && state.exposed, "{told}"),
            End::Failed { .. } => assert!(state.traffic.is_off() && !state.exposed, "{told}"),
        }
        return;
    }
    assert_eq!(
        owed.iter().filter(|effect| is_timer(effect)).count(),
        1,
        "one timer: {told}"
    );
    let gone = matches!(
        state.phase,
        Phase::Protected | Phase::DrainingCandidate | Phase::Quarantining | Phase::Stopping
    );
    assert!(
        !(gone && flag::is_raised(state)),
        "no flag is on for a release that is gone: {told}"
    );
    let watched = plan
        .steps()
        .iter()
        .any(|step| step.watch_ms > 0 && step.flag.is_none());
    for effect in &owed {
        match effect {
            Effect::ShiftTraffic { candidate_weight, .. } => {
                let off = *candidate_weight == Weight::ZERO;
                assert!(
                    off || state.cause.is_none(),
                    "no traffic on the condemned: {told}"
                );
                assert!(
                    off || state.protection.is_none(),
                    "no traffic on the protected: {told}"
                );
                // Over a baseline, that is: a first release that is superseded only goes on serving.
                if state.phase == Phase::Finishing && plan.previous().is_some() {
                    assert!(justified || !watched, "no promotion without a verdict: {told}");
                }
            }
            Effect::StopInstances { release, keep, .. } | Effect::Drain { release, keep, .. } => {
                if let (Some(keep), Some(instances)) = (keep, state.instances) {
                    assert!(
                        instances.baseline <= *keep && state.traffic.acknowledged,
                        "off traffic first: {told}"
                    );
                    assert!(state.cause.is_none() && *release != plan.candidate, "{told}");
                } else if *release == plan.candidate {
                    assert!(
                        state.traffic.is_off(),
                        "traffic first, then drain, then stop: {told}"
                    );
                } else {
                    assert!(
                        state.traffic.weight == Weight::FULL && state.traffic.acknowledged,
                        "{told}"
                    );
                    assert!(
                        justified || !watched,
                        "the baseline stays until there is a verdict: {told}"
                    );
                }
            }
            _ => {}
        }
    }
}

/// Guards work in every state that is not the end.
fn check_guards(plan: &Plan, state: &State) {
    if state.irreversible {
        for event in commands(later(state)) {
            let (next, _) = step(plan, state.clone(), event);
            assert!(
                next.cause.is_none() && next.traffic == state.traffic,
                "{}",
                next.describe()
            );
        }
        return;
    }
    let at = later(state);
    let (by, reason) = (anna(), String::new());
    let protect = Event::Protected {
        at,
        incident: incident(),
        reason: reason.clone(),
    };
    let (protected, _) = step(plan, state.clone(), protect);
    let going_off = |state: &State| state.traffic.weight == Weight::ZERO || state.phase == Phase::Restoring;
    assert!(going_off(&protected), "{}", protected.describe());
    let roll_back = Event::RolledBack {
        at,
        by: by.clone(),
        reason: reason.clone(),
    };
    let condemn = Event::Condemned {
        at,
        incident: incident(),
        reason,
    };
    for event in [roll_back, condemn] {
        let (next, _) = step(plan, state.clone(), event);
        assert!(going_off(&next), "{}", next.describe());
        assert!(
            next.cause.as_ref().is_some_and(Cause::quarantines),
            "{}",
            next.describe()
        );
        assert!(next.paused.is_none() || state.cause.is_some());
    }
    // In a step of a flag, the flag is what is taken back.
    let flag_off = |next: &State| {
        let settled = state.cause.is_some() || state.protection.is_some();
        let of_flag = state.flag.is_some() && state.phase.way() == Way::Forward && !settled;
        of_flag && next.phase == Phase::Disabling && next.traffic == state.traffic
    };
    let (next, _) = step(plan, state.clone(), Event::Aborted { at, by });
    assert!(
        (next.cause.is_some() && going_off(&next)) || flag_off(&next),
        "{}",
        next.describe()
    );
    let acts = matches!(strategy(plan), OnRegressed::Protect | OnRegressed::RollBack);
    if let Some(watch) = state.watch.as_ref().filter(|_| acts && state.cause.is_none()) {
        let regressed = Event::Observed {
            at,
            generation: watch.generation,
            round: watch.round,
            verdict: Verdict::regressed("errors".to_owned()),
        };
        let (next, _) = step(plan, state.clone(), regressed);
        assert!(going_off(&next) || flag_off(&next), "{}", next.describe());
    }
}

/// With every effect answered well, each path ends.
fn check_ends(plan: &Plan, state: &State) {
    let mut state = state.clone();
    for _ in 0..120 {
        let owed = pending(plan, &state);
        if state.end().is_some() {
            return;
        }
        let work = owed
            .iter()
            .find(|effect| !is_timer(effect) && !matches!(effect, Effect::Observe { .. }));
        let observe = owed
            .iter()
            .find(|effect| matches!(effect, Effect::Observe { .. }));
        let next = work
            .or(observe.filter(|_| !state.ready))
            .unwrap_or(owed.last().unwrap());
        let event = answers(next, later(&state)).remove(0);
        state = step(plan, state, event).0;
    }
    panic!("no end in sight: {state:#?}");
}

fn check_edge(plan: &Plan, state: &State, event: &Event, next: &State, effects: &[Effect]) {
    assert!(
        state.cause.is_none() || next.cause.is_some(),
        "no way forward from condemnation"
    );
    assert!(next.generation >= state.generation);
    let owed = pending(plan, next);
    assert!(effects.iter().all(|effect| owed.contains(effect)));
    // An answer that comes twice counts once; commands may mean something new the second time.
    let is_answer = pending(plan, state)
        .iter()
        .any(|effect| effect.is_discharged_by(event) && !matches!(effect, Effect::AskPerson { .. }));
    if is_answer {
        assert_eq!(
            &step(plan, next.clone(), event.clone()).0,
            next,
            "twice: {event:?}"
        );
        assert_ne!(
            next, state,
            "an answer changes something: {event:?} in {state:#?}"
        );
        assert!(
            !owed.iter().any(|effect| effect.is_discharged_by(event)),
            "discharged: {event:?} in {state:#?}"
        );
    }
}

fn search(plan: &Plan) -> usize {
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([(start(plan), false)]);
    while let Some((state, justified)) = queue.pop_front() {
        if !seen.insert((shape(&state), justified)) {
            continue;
        }
        check_state(plan, &state, justified);
        if state.end().is_some() {
            for event in commands(later(&state)) {
                assert_eq!(step(plan, state.clone(), event).0, state, "an end stays");
            }
            continue;
        }
        check_guards(plan, &state);
        check_ends(plan, &state);
        let at = later(&state);
        let mut events = commands(at);
        events.extend(
            pending(plan, &state)
                .iter()
                .flat_map(|effect| answers(effect, at)),
        );
        for event in events {
            let (next, effects) = step(plan, state.clone(), event.clone());
            check_edge(plan, &state, &event, &next, &effects);
            let anew = next.phase == Phase::Starting;
            let justified = !anew && (justified || justifies(plan, &state, &event));
            queue.push_back((next, justified));
        }
    }
    seen.len()
}

#[test]
fn every_reachable_state_is_safe_and_can_end() {
    for plan in plans() {
        let states = search(&plan);
        assert!((40..100_000).contains(&states), "{states} states");
    }
}

#[test]
fn states_and_effects_survive_the_journal() {
    let plan = blue_green();
    let mut state = start(&plan);
    for _ in 0..30 {
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let owed = pending(&plan, &state);
        let text = serde_json::to_string(&owed).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Effect>>(&text).unwrap(), owed);
        let Some(effect) = owed.first() else { return };
        let event = answers(effect, later(&state)).remove(0);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        state = step(&plan, state, event).0;
    }
    panic!("not over: {}", state.describe());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Answers come in any order, twice, late, mixed with commands and with answers to older attempts.
    #[test]
    fn any_order_of_events_is_safe_and_replays(picks in prop::collection::vec((0usize..64, any::<bool>()), 1..120)) {
        let plan = blue_green();
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
            journal.push(event.clone());
            let condemned = state.cause.is_some();
            state = step(&plan, state, event).0;
            for effect in pending(&plan, &state) {
                if let Effect::ShiftTraffic { candidate_weight, .. } = effect {
                    prop_assert!(!condemned || candidate_weight == Weight::ZERO);
                }
            }
            prop_assert_eq!(pending(&plan, &state).is_empty(), state.end().is_some());
        }
        let replayed = journal
            .into_iter()
            .fold(start(&plan), |state, event| step(&plan, state, event).0);
        prop_assert_eq!(replayed, state);
    }

    /// Answers to generations that are not the present one change nothing.
    #[test]
    fn stale_generations_change_nothing(picks in prop::collection::vec(0usize..8, 1..40)) {
        let plan = blue_green();
        let mut state = start(&plan);
        let mut stale: Vec<Event> = Vec::new();
        for pick in picks {
            let owed = pending(&plan, &state);
            if owed.is_empty() {
                break;
            }
            let effect = &owed[pick % owed.len()];
            let options = answers(effect, later(&state));
            let all: Vec<Event> = owed.iter().flat_map(|effect| answers(effect, later(&state))).collect();
            state = step(&plan, state, options[pick % options.len()].clone()).0;
            let now = pending(&plan, &state);
            stale.extend(all.into_iter().filter(|event| !matches!(event, Event::Promoted { .. })));
            // A regression counts as long as its evidence does, whatever the round.
            stale.retain(|event| !now.iter().any(|effect| effect.is_discharged_by(event))
                && !matches!(event, Event::Observed { verdict: Verdict::Regressed { .. }, .. }));
            for event in &stale {
                prop_assert_eq!(&step(&plan, state.clone(), event.clone()).0, &state, "{:?}", event);
            }
        }
    }
}
