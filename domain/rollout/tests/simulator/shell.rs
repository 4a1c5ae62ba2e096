//! The world around control, in simulated time, with every fault drawn from the dice.
//!
//! Who journals, steps and carries out is behind [`Control`]: a model of it here, the real one in `io/control`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use trimtab_model::{Actor, Timestamp, Weight};
use trimtab_rollout::{
    Cause, Effect, End, Event, Hook, OnRegressed, Outcome, Plan, State, Strategy, Verdict, pending, start,
    step,
};

use crate::Dice;
use crate::control::Control;
use crate::plans::INSTANCES;
use crate::world::{Nature, World, outcome};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
/// Every rollout is over by then: a day for each of a pause, a question and an approval, and their steps.
const DEADLINE: i64 = 21 * 24 * HOUR;
const CRASHES_MAX: u32 = 8;
const COMMANDS_MAX: u32 = 6;
const JUMPS_MAX: u32 = 3;

/// What the queue holds.
enum Item {
    /// An effect takes place in the world.
    Lands(u64, Effect),
    /// An effect reports.
    Answers(u64, Box<Event>),
    /// Something is said that no effect reports: commands, and answers that come twice.
    Said(Box<Event>),
    /// Timers look at the clock.
    Tick,
}

pub(crate) struct Shell<C> {
    control: C,
    plan: Plan,
    dice: Dice,
    nature: Nature,
    world: World,
    state: State,
    running: BTreeMap<Effect, u64>,
    tickets: u64,
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    items: BTreeMap<u64, Item>,
    now: i64,
    clock_ahead: i64,
    crashes: u32,
    commands: u32,
    jumps: u32,
    /// A gate said no, and nothing has begun anew since.
    told_bad: bool,
    /// A regression that only a longer watch or a person may clear, and that neither has.
    open: bool,
    /// A person has seen a regression and said to go on.
    accepted: bool,
    /// Stops that did not take place as far as control knows: instances may be left over.
    left_over: bool,
    story: Vec<String>,
}

impl<C: Control> Shell<C> {
    pub(crate) fn new(plan: Plan, mut dice: Dice, control: C) -> Shell<C> {
        let nature = Nature::any(&mut dice);
        let state = start(&plan);
        Shell {
            control,
            world: World::new(&plan),
            nature,
            dice,
            state,
            running: BTreeMap::new(),
            tickets: 0,
            queue: BinaryHeap::new(),
            items: BTreeMap::new(),
            now: 0,
            clock_ahead: 0,
            crashes: 0,
            commands: 0,
            jumps: 0,
            told_bad: false,
            open: false,
            accepted: false,
            left_over: false,
            story: Vec::new(),
            plan,
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn story(&self) -> &[String] {
        &self.story
    }

    pub(crate) fn run(&mut self) -> Result<&'static str, String> {
        self.reconcile()?;
        let mut turns = 0;
        while let Some(Reverse((at, ticket))) = self.queue.pop() {
            let Some(item) = self.items.remove(&ticket) else {
                continue;
            };
            self.now = self.now.max(at);
            turns += 1;
            if self.now > DEADLINE || turns > 20_000 {
                return Err(format!(
                    "no end after {} h: {}",
                    self.now / HOUR,
                    self.state.describe()
                ));
            }
            self.meet(item)?;
            if self.state.end().is_none() {
                self.disturb()?;
            }
        }
        self.check_end()
    }

    fn meet(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::Lands(ticket, effect) => {
                // One that was given up may have been on its way already.
                let alive = self.running.get(&effect) == Some(&ticket);
                if alive || self.dice.chance(500) {
                    self.tell(|| format!("lands: {effect:?}"));
                    self.world.land(&self.plan, &self.nature, &effect)?;
                    self.check_guard()?;
                }
            }
            Item::Answers(ticket, event) => {
                let known = self.running.iter().find(|(_, running)| **running == ticket);
                if let Some(effect) = known.map(|(effect, _)| effect.clone()) {
                    self.running.remove(&effect);
                    if self.dice.chance(100) {
                        let later = self.dice.below(60_000).cast_signed();
                        self.push(later, Item::Said(event.clone()));
                    }
                    if self.crashes < CRASHES_MAX && self.dice.chance(10) {
                        self.crash_amid(&effect, *event)?;
                    } else {
                        self.take(Some(&effect), *event)?;
                    }
                }
            }
            Item::Said(event) => self.take(None, *event)?,
            Item::Tick => {
                let due = self.running.keys().find(|effect| match effect {
                    Effect::Timer { at, .. } => at.0 <= self.clock().0,
                    _ => false,
                });
                if let Some(Effect::Timer { name, generation, .. }) = due.cloned() {
                    let at = self.clock();
                    if let Some(effect) = due.cloned() {
                        self.running.remove(&effect);
                        self.take(Some(&effect), Event::TimerFired { at, name, generation })?;
                    }
                } else if let Some(next) = self.next_timer() {
                    // The clock was set back, or the timer is another by now.
                    self.push(next, Item::Tick);
                }
            }
        }
        Ok(())
    }

    /// How long the next timer has to wait.
    fn next_timer(&self) -> Option<i64> {
        let waits = self.running.keys().filter_map(|effect| match effect {
            Effect::Timer { at, .. } => Some((at.0 - self.clock().0).max(0)),
            _ => None,
        });
        waits.min()
    }

    /// Crashes, jumps of the clock, and people.
    fn disturb(&mut self) -> Result<(), String> {
        if self.crashes < CRASHES_MAX && self.dice.chance(20) {
            self.crashes += 1;
            self.running.clear();
            if self.control.crash()? != self.state {
                return Err("the journal folds to another state".to_owned());
            }
            self.now += self.dice.below(60_000).cast_signed();
            self.tell(|| "crash".to_owned());
            self.reconcile()?;
        }
        if self.jumps < JUMPS_MAX && self.dice.chance(5) {
            self.jumps += 1;
            self.clock_ahead += self.dice.below(600_000).cast_signed() - 300_000;
            self.tell(|| "the clock jumps".to_owned());
            self.push(0, Item::Tick);
        }
        if self.commands < COMMANDS_MAX && self.dice.chance(15) {
            self.commands += 1;
            let event = self.command();
            let later = self.dice.below(30_000).cast_signed();
            if self.dice.chance(300) {
                let again = later + self.dice.below(2000).cast_signed();
                self.push(again, Item::Said(Box::new(event.clone())));
            }
            self.push(later, Item::Said(Box::new(event)));
        }
        Ok(())
    }

    fn command(&mut self) -> Event {
        let at = self.clock();
        let by = Actor(self.dice.pick(&["anna", "ben"]).to_owned());
        let incident = || "incident-1".parse().unwrap();
        let (reason, step) = (String::new(), usize::try_from(self.dice.below(3)).unwrap());
        match self.dice.below(13) {
            0 => Event::Paused { at, by },
            1..=3 => Event::Resumed { at, by },
            4 => Event::Promoted { at, by },
            5 => Event::Aborted { at, by },
            6 => Event::RolledBack { at, by, reason },
            7 => Event::Protected {
                at,
                incident: incident(),
                reason,
            },
            8 => Event::Condemned {
                at,
                incident: incident(),
                reason,
            },
            9 => Event::Cleared {
                at,
                incident: incident(),
                by,
                reason,
            },
            10 => Event::Superseded {
                at,
                by: "rollout-9".parse().unwrap(),
            },
            11 => Event::Restarted { at, by },
            _ => Event::Approved { at, by, step },
        }
    }

    /// What an effect reports, or somebody says, reaches control.
    fn take(&mut self, by: Option<&Effect>, event: Event) -> Result<(), String> {
        let next = self.heard(&event);
        let stands = match by {
            Some(effect) => self.control.answer(effect, event)?,
            None => self.control.say(event)?,
        };
        if stands != next {
            return Err(format!("control believes {}", stands.describe()));
        }
        self.state = next;
        self.reconcile()
    }

    /// Control dies while an effect reports: the report is journaled, or it never came.
    fn crash_amid(&mut self, effect: &Effect, event: Event) -> Result<(), String> {
        self.crashes += 1;
        self.running.clear();
        let when = self.dice.below(30);
        let stands = self.control.crash_amid(effect, event.clone(), when)?;
        self.tell(|| "crash while an effect reports".to_owned());
        if stands != self.state {
            let next = self.heard(&event);
            if stands != next {
                return Err(format!("the journal folds to {}", stands.describe()));
            }
            self.state = next;
        }
        self.now += self.dice.below(60_000).cast_signed();
        self.reconcile()
    }

    /// The state that follows from an event.
    fn heard(&mut self, event: &Event) -> State {
        let next = step(&self.plan, self.state.clone(), event.clone()).0;
        if next == self.state {
            return next;
        }
        // A stop that a crash or the clock kept from landing before its deadline is given up, and people are told.
        let gave_up = matches!(event, Event::TimerFired { .. });
        let stops = |effect: &Effect| matches!(effect, Effect::StopInstances { .. });
        self.left_over |= gave_up && self.running.keys().any(stops);
        if !self.state.irreversible {
            self.weigh(event, &next);
        }
        self.tell(|| format!("{event:?}\n      -> {}", next.describe()));
        next
    }

    /// What the gates have said of the candidate up to now.
    fn weigh(&mut self, event: &Event, next: &State) {
        match event {
            Event::Observed {
                verdict: Verdict::Regressed { .. },
                ..
            } => match on_regressed(&self.plan.strategy) {
                OnRegressed::Ask | OnRegressed::Extend => self.open |= !self.accepted,
                OnRegressed::Report => {}
                OnRegressed::Protect | OnRegressed::RollBack => self.told_bad = true,
            },
            // Only what is watched as long again may clear itself.
            Event::Observed {
                verdict: Verdict::Healthy,
                ..
            } if self.state.extends_over_regression() => self.open = false,
            // Nothing else serves: what supersedes it takes over from it.
            Event::Superseded { .. } if self.plan.previous().is_none() => self.open = false,
            Event::Promoted { .. } | Event::Approved { .. } => {
                self.accepted |= self.open;
                self.open = false;
            }
            Event::Tested {
                outcome: Outcome::Failed { .. },
                ..
            }
            | Event::HealthChecked {
                outcome: Outcome::Failed { .. },
                ..
            }
            | Event::HookRan {
                hook: Hook::Before | Hook::Expand | Hook::Gate { .. } | Hook::Barrier { .. },
                outcome: Outcome::Failed { .. },
                ..
            } => self.told_bad = true,
            Event::Cleared { .. } | Event::Restarted { .. } => {
                self.told_bad = next.cause.is_some();
                (self.open, self.accepted) = (false, false);
            }
            _ => {}
        }
    }

    /// Everything that is owed is being carried out, once, and nothing else.
    fn reconcile(&mut self) -> Result<(), String> {
        let owed: BTreeSet<Effect> = pending(&self.plan, &self.state).into_iter().collect();
        self.running.retain(|effect, _| owed.contains(effect));
        for effect in self.control.begun(&owed) {
            if !owed.contains(&effect) {
                return Err(format!("not owed, and carried out: {effect:?}"));
            }
            self.tickets += 1;
            if self.running.insert(effect.clone(), self.tickets).is_some() {
                return Err(format!("carried out twice at once: {effect:?}"));
            }
            self.begin(effect, self.tickets);
        }
        match owed.iter().find(|effect| !self.running.contains_key(*effect)) {
            Some(effect) => Err(format!("owed, and not carried out: {effect:?}")),
            None => Ok(()),
        }
    }

    fn begin(&mut self, effect: Effect, ticket: u64) {
        match &effect {
            Effect::Timer { at, .. } => {
                let wait = (at.0 - self.clock().0).max(0);
                self.push(wait, Item::Tick);
            }
            Effect::AskPerson { .. } => {
                // Most people answer some day.
                let later = self.dice.below((30 * HOUR).unsigned_abs()).cast_signed();
                let (at, by) = (Timestamp(self.clock().0 + later), Actor("carl".to_owned()));
                let step = self.state.phase.step().unwrap_or(0);
                let answer = match self.dice.below(3) {
                    0 => Event::Promoted { at, by },
                    1 => Event::Approved { at, by, step },
                    _ => Event::Aborted { at, by },
                };
                self.push(later, Item::Said(Box::new(answer)));
            }
            Effect::Observe { until, .. } => {
                let wait = (until.0 - self.clock().0).max(0);
                let soon = self.dice.below(wait.unsigned_abs().max(1)).cast_signed();
                // Two in a hundred verdicts are wrong, and some watches see too little.
                let wrong = self.dice.chance(20);
                let (after, verdict) = match (self.nature.regresses != wrong, self.dice.chance(150)) {
                    (true, _) => (soon, Verdict::regressed("errors".to_owned())),
                    (false, true) => (wait, Verdict::inconclusive("few".to_owned())),
                    (false, false) => (wait, Verdict::Healthy),
                };
                self.answer(&effect, ticket, after, Outcome::Done, Some(verdict));
            }
            _ => {
                let latency = match self.dice.below(20) {
                    0 => self.dice.below(120_000),
                    1 => self.dice.below(10_000),
                    _ => self.dice.below(500),
                };
                let latency = latency.cast_signed();
                let hangs = self.dice.chance(20);
                if !hangs || self.dice.chance(500) {
                    self.push(latency, Item::Lands(ticket, effect.clone()));
                }
                // One that fails may have taken place all the same.
                let mut said = outcome(&self.plan, &self.nature, &effect);
                if self.dice.chance(20) {
                    said = Outcome::Failed {
                        reason: "lost its way".to_owned(),
                    };
                }
                let is_stop = matches!(effect, Effect::StopInstances { .. });
                self.left_over |= is_stop && (hangs || said != Outcome::Done);
                // Lost answers look like hung effects.
                if !hangs && !self.dice.chance(10) {
                    self.answer(&effect, ticket, latency + 1, said, None);
                }
            }
        }
    }

    fn answer(
        &mut self,
        effect: &Effect,
        ticket: u64,
        after: i64,
        outcome: Outcome,
        verdict: Option<Verdict>,
    ) {
        let at = Timestamp(self.clock().0 + after);
        let event = match effect.clone() {
            Effect::RunHook { hook, generation } => Event::HookRan {
                at,
                hook,
                generation,
                outcome,
                said: None,
            },
            Effect::StartInstances {
                release, generation, ..
            } => Event::Started {
                at,
                release,
                generation,
                outcome,
            },
            Effect::Test { generation, .. } => Event::Tested {
                at,
                generation,
                outcome,
            },
            Effect::ShiftTraffic { generation, .. } => Event::Shifted {
                at,
                generation,
                outcome,
            },
            Effect::SetFlag { generation, .. } => Event::FlagSet {
                at,
                generation,
                outcome,
            },
            Effect::CheckHealth { generation, .. } => Event::HealthChecked {
                at,
                generation,
                outcome,
            },
            Effect::Observe {
                generation, round, ..
            } => match verdict {
                Some(verdict) => Event::Observed {
                    at,
                    generation,
                    round,
                    verdict,
                },
                None => return,
            },
            Effect::Drain {
                release, generation, ..
            } => Event::Drained {
                at,
                release,
                generation,
                in_flight: 0,
            },
            Effect::StopInstances {
                release, generation, ..
            } => Event::Stopped {
                at,
                release,
                generation,
                outcome,
            },
            Effect::Quarantine { generation, .. } => Event::Quarantined {
                at,
                generation,
                outcome,
            },
            Effect::Notify { what, generation } => Event::Notified { at, what, generation },
            Effect::AskPerson { .. } | Effect::Timer { .. } => return,
        };
        self.push(after, Item::Answers(ticket, Box::new(event)));
    }

    fn push(&mut self, after: i64, item: Item) {
        self.tickets += 1;
        self.queue.push(Reverse((self.now + after, self.tickets)));
        self.items.insert(self.tickets, item);
    }

    fn clock(&self) -> Timestamp {
        Timestamp(self.now + self.clock_ahead)
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>9} s {}", self.now / SECOND, line());
        self.story.push(line);
    }

    /// Once traffic is off a condemned candidate, nothing puts it back.
    fn check_guard(&self) -> Result<(), String> {
        if self.state.cause.is_some() && self.state.traffic.is_off() && self.world.weight > Weight::ZERO {
            return Err(format!("{} is back on a condemned candidate", self.world.weight));
        }
        Ok(())
    }

    fn check_end(&self) -> Result<&'static str, String> {
        let end = self
            .state
            .end()
            .ok_or_else(|| format!("nothing more happens: {}", self.state.describe()))?;
        let world = &self.world;
        let baseline = if self.plan.previous().is_some() {
            INSTANCES
        } else {
            0
        };
        let seen = format!(
            "{end} with {} on the candidate, {} new and {} old instances",
            world.weight, world.candidate, world.baseline
        );
        let expect = |holds: bool, what: &str| {
            if holds {
                Ok(())
            } else {
                Err(format!("{what}: {seen}"))
            }
        };
        expect(pending(&self.plan, &self.state).is_empty(), "something is owed")?;
        let flag = match (end, &self.plan.strategy) {
            (End::Deployed, Strategy::Flag(_)) => Weight::FULL,
            (_, _) => Weight::ZERO,
        };
        expect(world.flag == flag, "the flag is not where it should be")?;
        match end {
            End::Deployed | End::FlagDisabled { .. } => {
                let disabled = *end != End::Deployed;
                expect(disabled || !self.told_bad, "deployed against a gate")?;
                expect(disabled || !self.open, "deployed over a regression")?;
                expect(world.weight == Weight::FULL, "half deployed")?;
                expect(world.candidate == INSTANCES, "too few instances")?;
                expect(world.baseline == 0 || self.left_over, "the old ones run on")?;
                Ok(if disabled { "flag disabled" } else { "deployed" })
            }
            End::RolledBack { .. } | End::Failed { .. } => {
                expect(world.weight == Weight::ZERO, "traffic on what failed")?;
                let reports = on_regressed(&self.plan.strategy) == OnRegressed::Report;
                let regressed = matches!(self.state.cause, Some(Cause::Regressed { .. }));
                expect(!(reports && regressed), "taken back for what is only reported")?;
                expect(world.baseline == baseline, "the baseline is not whole")?;
                expect(world.candidate == 0 || self.left_over, "the candidate runs on")?;
                Ok(if self.state.exposed {
                    "rolled back"
                } else {
                    "failed"
                })
            }
        }
    }
}

fn on_regressed(strategy: &Strategy) -> OnRegressed {
    match strategy {
        Strategy::Direct(_) => OnRegressed::RollBack,
        Strategy::BlueGreen(strategy) => strategy.on_regressed,
        Strategy::Canary(strategy) => strategy.on_regressed,
        Strategy::Flag(strategy) => strategy.on_regressed,
        Strategy::Rolling(strategy) => strategy.on_regressed,
    }
}
