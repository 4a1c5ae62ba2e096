//! Seeds, and one run of one.

use crate::control::Control;
use crate::plans;
use crate::shell::Shell;
use trimtab_rollout::Plan;

/// The last lines of a story that are printed.
const LINES_SHOWN: usize = 60;

/// splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }
}

/// Plays a seed to its end; a failure tells its story.
pub(crate) fn play<C: Control>(seed: u64, control: impl FnOnce(&Plan) -> C) -> Result<&'static str, String> {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let plan = plans::any(&mut dice);
    let control = control(&plan);
    let mut shell = Shell::new(plan, dice, control);
    shell.run().map_err(|wrong| {
        let story = shell.story();
        let from = story.len().saturating_sub(LINES_SHOWN);
        format!(
            "seed {seed}: {wrong}\n{:?}\n{}\nTRIMTAB_SEED={seed} plays it again",
            shell.plan().strategy,
            story[from..].join("\n")
        )
    })
}
