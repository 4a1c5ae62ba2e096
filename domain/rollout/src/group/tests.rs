#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{HashSet, VecDeque};

use trimtab_model::{Actor, Generation, Timestamp, Weight};

use super::*;
use crate::tests::canary;

mod together;

/// Barriers of the members in the search.
const LAST: usize = 2;

fn plan(members: usize) -> Plan {
    let member = |place: usize| Member {
        service: format!("s{place}").parse().unwrap(),
        release: format!("s{place}-r2").parse().unwrap(),
        weight: 1,
        run: None,
    };
    Plan {
        group: "group-1".to_owned(),
        environment: "production".parse().unwrap(),
        members: (0..members).map(member).collect(),
        alpha_ppm: 10_000,
        by: Actor("anna".to_owned()),
        comment: String::new(),
        started_at: Timestamp(0),
        limits: Limits::default(),
    }
}

fn rollout(member: usize) -> RolloutId {
    format!("rollout-{}", member + 1).parse().unwrap()
}

fn failed() -> crate::End {
    crate::End::RolledBack {
        reason: "regression: errors".to_owned(),
    }
}

/// Every way in which an effect may be answered.
fn answers(effect: &Effect, state: &State, at: Timestamp) -> Vec<Event> {
    match *effect {
        Effect::StartMember { member } => vec![
            Event::MemberStarted {
                at,
                member,
                rollout: rollout(member),
            },
            Event::MemberEnded {
                at,
                member,
                end: crate::End::Failed {
                    reason: "quarantined".to_owned(),
                },
            },
        ],
        Effect::FollowMember { member } => {
            let mut events = vec![
                Event::MemberTurned {
                    at,
                    member,
                    reason: "regression".to_owned(),
                },
                Event::MemberEnded {
                    at,
                    member,
                    end: failed(),
                },
            ];
            let progress = &state.members[member];
            let next = progress.reached.map_or(0, |reached| reached + 1);
            let may_go = progress
                .reached
                .is_none_or(|reached| permits(state, member, reached, progress.last));
            if next <= LAST && may_go {
                let last = next == LAST;
                events.insert(
                    0,
                    Event::MemberWaits {
                        at,
                        member,
                        barrier: next,
                        last,
                    },
                );
            }
            if progress.last && may_go {
                let end = crate::End::Deployed;
                events.insert(0, Event::MemberEnded { at, member, end });
            }
            events
        }
        Effect::RecallMember { member } => vec![Event::MemberEnded {
            at,
            member,
            end: failed(),
        }],
        Effect::Notify { what } => vec![Event::Notified { at, what }],
        Effect::Timer { generation, .. } => vec![Event::TimerFired { at, generation }],
    }
}

fn shape(state: &State) -> State {
    State {
        generation: Generation(0),
        since: Timestamp(0),
        cause: state.cause.as_ref().map(|_| String::new()),
        phase: match &state.phase {
            Phase::Announcing {
                end: End::RolledBack { .. },
            } => Phase::Announcing {
                end: End::RolledBack {
                    reason: String::new(),
                },
            },
            Phase::Ended {
                end: End::RolledBack { .. },
            } => Phase::Ended {
                end: End::RolledBack {
                    reason: String::new(),
                },
            },
            phase => phase.clone(),
        },
        ..state.clone()
    }
}

fn check(plan: &Plan, state: &State) {
    let owed = pending(plan, state);
    let told = format!("{}: {state:#?}\n{owed:#?}", state.describe());
    let recalls: Vec<usize> = owed
        .iter()
        .filter_map(|effect| match effect {
            Effect::RecallMember { member } => Some(*member),
            _ => None,
        })
        .collect();
    let timers = owed
        .iter()
        .filter(|effect| matches!(effect, Effect::Timer { .. }));
    assert_eq!(timers.count(), usize::from(state.end().is_none()), "{told}");
    if let Some(end) = state.end() {
        assert!(owed.is_empty(), "{told}");
        let deployed = |member: &Progress| member.end == Some(crate::End::Deployed);
        let all = state.members.iter().all(deployed);
        assert_eq!(*end == End::Deployed, all, "{told}");
        return;
    }
    if state.phase == Phase::Recalling {
        for member in &recalls {
            let behind = state.members.iter().skip(member + 1);
            let mut waits = behind.filter(|member| member.end.is_none() && !member.overdue);
            assert!(
                waits.next().is_none(),
                "in reverse order, one after the other: {told}"
            );
        }
    } else {
        assert_eq!(recalls, Vec::<usize>::new(), "{told}");
    }
    for member in 0..state.members.len() {
        for barrier in 0..=LAST {
            let last = barrier == LAST;
            if !permits(state, member, barrier, last) {
                continue;
            }
            assert_eq!(
                state.phase,
                Phase::Advancing,
                "nobody goes on while all go back: {told}"
            );
            for (other, progress) in state.members.iter().enumerate() {
                let there = progress.last || (!last && progress.reached >= Some(barrier));
                assert!(other == member || there, "{told}");
            }
        }
    }
}

/// With every effect answered well, each path ends.
fn check_ends(plan: &Plan, state: &State) {
    let mut state = state.clone();
    for turn in 0..60 {
        let owed = pending(plan, &state);
        if state.end().is_some() {
            return;
        }
        let work: Vec<_> = owed
            .iter()
            .filter(|effect| !matches!(effect, Effect::Timer { .. }))
            .collect();
        let effect = work.get(turn % work.len().max(1)).copied().unwrap_or(&owed[0]);
        let event = answers(effect, &state, Timestamp(1)).remove(0);
        state = step(plan, state, event).0;
    }
    panic!("no end in sight: {state:#?}");
}

#[test]
fn every_reachable_state_of_a_group_is_safe_and_can_end() {
    for members in [1, 2, 3] {
        let plan = plan(members);
        let mut seen = HashSet::new();
        let mut queue = VecDeque::from([start(&plan)]);
        while let Some(state) = queue.pop_front() {
            if !seen.insert(shape(&state)) {
                continue;
            }
            check(&plan, &state);
            let at = Timestamp(state.since.0 + 1);
            let mut events: Vec<Event> = pending(&plan, &state)
                .iter()
                .flat_map(|effect| answers(effect, &state, at))
                .collect();
            let (by, reason) = (Actor("anna".to_owned()), String::new());
            events.push(Event::Aborted { at, by, reason });
            if state.end().is_some() {
                for event in events {
                    assert_eq!(step(&plan, state.clone(), event).0, state);
                }
                continue;
            }
            check_ends(&plan, &state);
            for event in events {
                let (next, effects) = step(&plan, state.clone(), event);
                let owed = pending(&plan, &next);
                assert!(effects.iter().all(|effect| owed.contains(effect)));
                assert!(state.cause.is_none() || next.cause.is_some());
                queue.push_back(next);
            }
        }
        assert!((5..200_000).contains(&seen.len()), "{} states", seen.len());
    }
}

#[test]
fn alpha_is_shared_by_weight() {
    let mut plan = plan(3);
    plan.members[0].weight = 2;
    assert_eq!([0, 1, 2].map(|member| plan.share(member)), [0.5, 0.25, 0.25]);
    for member in &mut plan.members {
        member.weight = 0;
    }
    assert!((plan.share(2) - 1.0 / 3.0).abs() < 1e-12);
    assert!((plan.alpha() - 0.01).abs() < 1e-12);
}

#[test]
fn what_a_group_is_and_does_survives_the_journal() {
    let plan = plan(2);
    let mut state = start(&plan);
    for _ in 0..40 {
        let text = serde_json::to_string(&(&plan, &state)).unwrap();
        assert_eq!(
            serde_json::from_str::<(Plan, State)>(&text).unwrap(),
            (plan.clone(), state.clone())
        );
        let owed = pending(&plan, &state);
        let Some(effect) = owed.iter().find(|effect| !matches!(effect, Effect::Timer { .. })) else {
            break;
        };
        let event = answers(effect, &state, Timestamp(1)).remove(0);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        state = step(&plan, state, event).0;
    }
    assert!(pending(&plan, &state).len() <= 3, "{}", state.describe());
}

/// A member's own plan: a canary of two steps and the rest.
fn member_plan(member: usize) -> crate::Plan {
    crate::Plan {
        rollout: rollout(member),
        service: format!("s{member}").parse().unwrap(),
        candidate: format!("s{member}-r2").parse().unwrap(),
        baseline: Some(format!("s{member}-r1").parse().unwrap()),
        group: Some(Membership {
            group: "group-1".to_owned(),
            member,
        }),
        ..canary()
    }
}
