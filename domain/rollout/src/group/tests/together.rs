//! A seeded simulator of a group with its members' real rollouts: answers lost, doubled and bad, people who
//! interfere. No member runs ahead, and in the end all serve or none does.

use std::collections::BTreeMap;

use super::*;
use crate::tests::answers as answers_of;
use crate::{Hook, Way};

/// Seeds played.
const RUNS: u64 = 3_000;
/// Turns within which everything must be over.
const TURNS_MAX: usize = 6_000;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = (z ^ (z >> 31)) >> 1;
        usize::try_from(z).unwrap() % limit
    }

    fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }
}

struct World {
    dice: Dice,
    /// How often an answer is a bad one, in thousandths.
    bad: usize,
    plan: Plan,
    group: State,
    plans: Vec<crate::Plan>,
    rollouts: BTreeMap<usize, crate::State>,
    /// True once the whole group was at its last barrier: from there members end one by one.
    landed: bool,
    interfered: bool,
    now: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let members = 2 + dice.below(3);
        let plan = plan(members);
        World {
            bad: [0, 0, 3, 30][dice.below(4)],
            group: start(&plan),
            plans: (0..members).map(member_plan).collect(),
            plan,
            rollouts: BTreeMap::new(),
            landed: false,
            interfered: false,
            dice,
            now: 1,
        }
    }

    fn tell_group(&mut self, event: Event) {
        self.group = step(&self.plan, self.group.clone(), event.clone()).0;
        if self.dice.chance(50) {
            self.group = step(&self.plan, self.group.clone(), event).0;
        }
        check(&self.plan, &self.group);
        self.landed |= self.group.members.iter().all(|member| member.last);
    }

    fn tell_member(&mut self, member: usize, event: crate::Event) {
        let state = self.rollouts[&member].clone();
        let next = crate::step(&self.plans[member], state.clone(), event).0;
        if next.phase != state.phase {
            self.check_step(member, &next);
        }
        self.rollouts.insert(member, next);
    }

    /// A member takes its next step: nobody is far behind.
    fn check_step(&self, member: usize, next: &crate::State) {
        let forward = next.phase.way() == Way::Forward || next.phase == crate::Phase::Finishing;
        let reached = |other: usize| self.group.members[other].reached;
        for other in (0..self.plans.len()).filter(|other| *other != member && !self.interfered) {
            if let (crate::Phase::Shifting { step }, true) = (&next.phase, forward) {
                assert!(reached(other) >= Some(*step), "{other} is behind {member}");
            }
            if next.phase == crate::Phase::DrainingBaseline {
                assert!(
                    self.group.members[other].last,
                    "{member} lets its baseline go before {other} is there"
                );
            }
        }
    }

    fn turn(&mut self) {
        self.now += 1;
        let at = Timestamp(self.now);
        if self.dice.chance(2) && self.bad > 0 {
            self.interfere(at);
            return;
        }
        let mut owed: Vec<(Option<usize>, usize)> = Vec::new();
        let of_group = pending(&self.plan, &self.group);
        owed.extend((0..of_group.len()).map(|place| (None, place)));
        let of_members: BTreeMap<usize, Vec<crate::Effect>> = self
            .rollouts
            .iter()
            .map(|(member, state)| (*member, crate::pending(&self.plans[*member], state)))
            .collect();
        for (member, effects) in &of_members {
            owed.extend((0..effects.len()).map(|place| (Some(*member), place)));
        }
        match owed[self.dice.below(owed.len())] {
            (None, place) => self.serve_group(&of_group[place], at),
            (Some(member), place) => self.serve_member(member, &of_members[&member][place], at),
        }
    }

    fn interfere(&mut self, at: Timestamp) {
        self.interfered = true;
        let by = Actor("anna".to_owned());
        let reason = "ugly".to_owned();
        let member = self.dice.below(self.plans.len());
        match self.dice.below(4) {
            0 => self.tell_group(Event::Aborted { at, by, reason }),
            _ if !self.rollouts.contains_key(&member) => {}
            1 => self.tell_member(member, crate::Event::RolledBack { at, by, reason }),
            2 => self.tell_member(member, crate::Event::Restarted { at, by }),
            _ => self.tell_member(member, crate::Event::Promoted { at, by }),
        }
    }

    fn serve_group(&mut self, effect: &Effect, at: Timestamp) {
        match *effect {
            Effect::StartMember { member } => {
                let begun = crate::start(&self.plans[member]);
                self.rollouts.entry(member).or_insert(begun);
                // A crash before it was reported.
                if !self.dice.chance(100) {
                    let rollout = rollout(member);
                    self.tell_group(Event::MemberStarted { at, member, rollout });
                }
            }
            Effect::FollowMember { member } => {
                let state = &self.rollouts[&member];
                if let Some(end) = state.end().cloned() {
                    self.tell_group(Event::MemberEnded { at, member, end });
                } else if let Some(cause) = &state.cause {
                    let reason = cause.to_string();
                    self.tell_group(Event::MemberTurned { at, member, reason });
                }
            }
            Effect::RecallMember { member } => {
                let Some(state) = self.rollouts.get(&member) else {
                    let reason = "it was never started".to_owned();
                    let end = crate::End::Failed { reason };
                    return self.tell_group(Event::MemberEnded { at, member, end });
                };
                if let Some(end) = state.end().cloned() {
                    return self.tell_group(Event::MemberEnded { at, member, end });
                }
                let (group, reason) = ("group-1".to_owned(), "another".to_owned());
                self.tell_member(member, crate::Event::Recalled { at, group, reason });
            }
            Effect::Notify { what } => self.tell_group(Event::Notified { at, what }),
            Effect::Timer { .. } => {}
        }
    }

    fn serve_member(&mut self, member: usize, effect: &crate::Effect, at: Timestamp) {
        if let crate::Effect::RunHook {
            hook: Hook::Barrier { step: barrier },
            ..
        } = effect
        {
            let barrier = *barrier;
            let last = barrier > self.plans[member].steps().len();
            self.tell_group(Event::MemberWaits {
                at,
                member,
                barrier,
                last,
            });
            if !permits(&self.group, member, barrier, last) {
                return;
            }
            return self.tell_member(member, answers_of(effect, at).remove(0));
        }
        let mut events = answers_of(effect, at);
        match effect {
            // Limits are long: what can be answered is answered before.
            crate::Effect::Timer { at: due, name, .. } => {
                let state = &self.rollouts[&member];
                let waits = matches!(
                    state.phase,
                    crate::Phase::Lingering | crate::Phase::Protected | crate::Phase::DrainingBaseline
                );
                if *name == crate::TimerName::Retry || waits {
                    let event = events.remove(0);
                    let _ = due;
                    self.tell_member(member, event);
                }
            }
            _ if events.len() > 1 && self.dice.chance(self.bad) => {
                self.tell_member(member, events.remove(1));
            }
            _ => self.tell_member(member, events.remove(0)),
        }
    }

    fn is_over(&self) -> bool {
        self.group.end().is_some() && self.rollouts.values().all(|state| state.end().is_some())
    }

    fn check_end(&self) -> &'static str {
        let deployed = |state: &&crate::State| state.end() == Some(&crate::End::Deployed);
        let serve = self.rollouts.values().filter(deployed).count();
        for state in self.rollouts.values() {
            let told = state.describe();
            match state.end() {
                Some(crate::End::Deployed) => assert_eq!(state.traffic.weight, Weight::FULL, "{told}"),
                _ => assert!(state.traffic.is_off(), "{told}"),
            }
        }
        let all = serve == self.plans.len();
        assert_eq!(
            self.group.end() == Some(&End::Deployed),
            all,
            "{}",
            self.group.describe()
        );
        assert!(
            serve == 0 || self.landed,
            "half of it serves: {}",
            self.group.describe()
        );
        match serve {
            0 => "back",
            _ if all => "deployed",
            _ => "torn",
        }
    }
}

#[test]
fn soak_members_of_a_group_advance_together_and_go_back_together() {
    let mut ends = BTreeMap::<&str, u64>::new();
    for seed in 0..RUNS {
        let mut world = World::new(seed);
        let mut turns = 0;
        while !world.is_over() {
            world.turn();
            turns += 1;
            let told = || {
                let members = world.rollouts.values().map(crate::State::describe);
                members.collect::<Vec<_>>().join("; ")
            };
            assert!(
                turns < TURNS_MAX,
                "seed {seed}: {}: {}",
                world.group.describe(),
                told()
            );
        }
        *ends.entry(world.check_end()).or_default() += 1;
    }
    println!("{ends:?}");
    for end in ["deployed", "back"] {
        assert!(ends.get(end).copied().unwrap_or(0) > RUNS / 10, "{ends:?}");
    }
}

#[test]
fn one_bad_member_takes_all_back_in_reverse_order() {
    let mut world = World::new(7);
    world.bad = 0;
    world.plan = plan(3);
    world.group = start(&world.plan);
    world.plans = (0..3).map(member_plan).collect();
    let mut order = Vec::new();
    let mut regressed = false;
    while !world.is_over() {
        world.turn();
        let at = Timestamp(world.now);
        let watched = world.rollouts.get(&1).filter(|state| !regressed && state.exposed);
        if let Some(watch) = watched.and_then(|state| state.watch.clone()) {
            regressed = true;
            let verdict = crate::Verdict::regressed("5 of 9 fail".to_owned());
            let event = crate::Event::Observed {
                at,
                generation: watch.generation,
                round: watch.round,
                verdict,
            };
            world.tell_member(1, event);
        }
        for (member, state) in &world.rollouts {
            if state.end().is_some() && !order.contains(member) {
                order.push(*member);
            }
        }
    }
    let places: Vec<usize> = order.iter().copied().filter(|member| *member != 1).collect();
    assert_eq!(places, [2, 0], "{order:?}");
    let end = world.group.end().unwrap().to_string();
    assert_eq!(end, "rolled back: s1: regression: 5 of 9 fail");
    let quarantined = |member: usize| world.rollouts[&member].cause.clone().unwrap().quarantines();
    assert_eq!([0, 1, 2].map(quarantined), [false, true, false]);
    assert_eq!(
        world.rollouts[&2].describe(),
        "rolled back: recalled by group-1: another"
    );
}
