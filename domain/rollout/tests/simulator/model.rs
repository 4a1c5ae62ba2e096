//! A model of control: what it means to do, without a journal on disk or tasks.

use std::collections::BTreeSet;

use trimtab_rollout::{Effect, Event, Plan, State, start, step};

use crate::control::Control;

pub(crate) struct Model {
    plan: Plan,
    journal: Vec<Event>,
    state: State,
    running: BTreeSet<Effect>,
}

impl Model {
    pub(crate) fn new(plan: &Plan) -> Model {
        Model {
            plan: plan.clone(),
            journal: Vec::new(),
            state: start(plan),
            running: BTreeSet::new(),
        }
    }
}

impl Control for Model {
    fn begun(&mut self, owed: &BTreeSet<Effect>) -> Vec<Effect> {
        let begun = owed.difference(&self.running).cloned().collect();
        self.running.clone_from(owed);
        begun
    }

    fn answer(&mut self, effect: &Effect, event: Event) -> Result<State, String> {
        self.running.remove(effect);
        self.say(event)
    }

    fn say(&mut self, event: Event) -> Result<State, String> {
        self.state = step(&self.plan, self.state.clone(), event.clone()).0;
        self.journal.push(event);
        Ok(self.state.clone())
    }

    fn crash(&mut self) -> Result<State, String> {
        self.running.clear();
        let events = self.journal.iter().cloned();
        self.state = events.fold(start(&self.plan), |state, event| step(&self.plan, state, event).0);
        Ok(self.state.clone())
    }

    fn crash_amid(&mut self, _: &Effect, event: Event, when: u64) -> Result<State, String> {
        if when.is_multiple_of(2) {
            self.journal.push(event);
        }
        self.crash()
    }
}
