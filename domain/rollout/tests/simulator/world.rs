//! What is true, whatever the machine is told: proxy, instances, the candidate's nature.

use trimtab_model::{Generation, ReleaseId, Weight};
use trimtab_rollout::{Effect, Hook, Instances, Outcome, Plan, Strategy};

use crate::Dice;
use crate::plans::INSTANCES;

/// What the candidate is like.
#[derive(Debug)]
pub(crate) struct Nature {
    pub(crate) starts: bool,
    pub(crate) passes_tests: bool,
    pub(crate) is_healthy: bool,
    pub(crate) regresses: bool,
    pub(crate) hooks_pass: bool,
}

impl Nature {
    pub(crate) fn any(dice: &mut Dice) -> Nature {
        Nature {
            starts: !dice.chance(60),
            passes_tests: !dice.chance(60),
            is_healthy: !dice.chance(60),
            regresses: dice.chance(250),
            hooks_pass: !dice.chance(80),
        }
    }
}

/// Proxy and instances.
pub(crate) struct World {
    pub(crate) weight: Weight,
    in_force: Generation,
    pool: Option<Instances>,
    pub(crate) candidate: u32,
    pub(crate) baseline: u32,
    newest: [Generation; 2],
    /// The share of users who have the flag on.
    pub(crate) flag: Weight,
    flag_in_force: Generation,
    has_baseline: bool,
    may_be_empty: bool,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> World {
        let may_be_empty = match &plan.strategy {
            Strategy::Rolling(rolling) => rolling.unavailable_max >= rolling.instances,
            Strategy::Direct(_) | Strategy::BlueGreen(_) | Strategy::Canary(_) | Strategy::Flag(_) => false,
        };
        let has_baseline = plan.previous().is_some();
        World {
            weight: Weight::ZERO,
            in_force: Generation(0),
            pool: None,
            candidate: 0,
            baseline: if has_baseline { INSTANCES } else { 0 },
            newest: [Generation(0); 2],
            flag: Weight::ZERO,
            flag_in_force: Generation(0),
            has_baseline,
            may_be_empty,
        }
    }

    /// An effect takes place; older generations are refused, as proxy and runtime do.
    pub(crate) fn land(&mut self, plan: &Plan, nature: &Nature, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::StartInstances {
                release,
                count,
                generation,
            } if self.is_newest(plan, release, *generation) => {
                let wanted = count.unwrap_or(INSTANCES);
                if *release != plan.candidate {
                    self.baseline = self.baseline.max(wanted);
                } else if nature.starts {
                    self.candidate = self.candidate.max(wanted);
                }
            }
            Effect::StopInstances {
                release,
                keep,
                generation,
            } if self.is_newest(plan, release, *generation) => {
                let running = if *release == plan.candidate {
                    &mut self.candidate
                } else {
                    &mut self.baseline
                };
                *running = (*running).min(keep.unwrap_or(0));
            }
            Effect::ShiftTraffic {
                candidate_weight,
                instances,
                generation,
            } if *generation >= self.in_force => {
                (self.weight, self.pool, self.in_force) = (*candidate_weight, *instances, *generation);
            }
            Effect::SetFlag { share, generation } if *generation >= self.flag_in_force => {
                (self.flag, self.flag_in_force) = (*share, *generation);
            }
            _ => {}
        }
        self.check()
    }

    /// True when nothing newer was asked of the release's instances.
    fn is_newest(&mut self, plan: &Plan, release: &ReleaseId, generation: Generation) -> bool {
        let newest = &mut self.newest[usize::from(*release != plan.candidate)];
        *newest = (*newest).max(generation);
        *newest == generation
    }

    /// Nobody is sent to an arm without instances.
    fn check(&self) -> Result<(), String> {
        let serving = |running: u32, pool: fn(Instances) -> u32| {
            self.pool
                .map_or(running, |instances| running.min(pool(instances)))
        };
        let candidate = serving(self.candidate, |pool| pool.candidate);
        let baseline = serving(self.baseline, |pool| pool.baseline);
        if self.weight > Weight::ZERO && candidate == 0 {
            return Err(format!("{} of users meet no candidate", self.weight));
        }
        if self.has_baseline && self.weight < Weight::FULL && baseline == 0 && !self.may_be_empty {
            return Err(format!("all but {} of users meet no baseline", self.weight));
        }
        Ok(())
    }
}

/// What an effect reports when nothing but nature decides.
pub(crate) fn outcome(plan: &Plan, nature: &Nature, effect: &Effect) -> Outcome {
    let good = match effect {
        Effect::StartInstances { release, count, .. } => {
            nature.starts || *release != plan.candidate || *count == Some(0)
        }
        Effect::Test { .. } => nature.passes_tests,
        Effect::CheckHealth { .. } => nature.is_healthy,
        Effect::RunHook { hook, .. } => nature.hooks_pass || *hook == Hook::After,
        _ => true,
    };
    if good {
        Outcome::Done
    } else {
        Outcome::Failed {
            reason: "so it is".to_owned(),
        }
    }
}
