//! The strategies in which the story can be told, and how the example is set up for each.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// How the demo's releases go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Way {
    /// Beside the old one, then in one switch.
    #[default]
    BlueGreen,
    /// To 5 % of the requests, 25 %, all.
    Canary,
    /// Three instances, one at a time.
    Rolling,
    /// With the change behind a flag, which goes on for 10 % of the users, 50 %, all.
    Flag,
}

const BLUE_GREEN: &str = "  strategy: blue-green\n";
const CANARY: &str = "  strategy: canary\n  steps: [{weight: 5%, watch: 20s}, {weight: 25%, watch: 20s}]\n";
const ROLLING: &str = "  strategy: rolling\n  rolling: {surge_max: 1, ready_min: 10s}\n";
const FLAG: &str = "  strategy: flag\n  flag: {key: whole-edits, steps: [{weight: 10%, watch: 30s}, {weight: 50%, watch: 30s}]}\n";

impl Way {
    /// The example's `trimtab.yaml` for this strategy. A flag is rolled out by the second release: the first
    /// only asks for it.
    pub(super) fn of_good(self, text: &str) -> Result<String> {
        match self {
            Way::BlueGreen | Way::Flag => Ok(text.to_owned()),
            Way::Canary => replaced(text, BLUE_GREEN, CANARY),
            Way::Rolling => {
                let many = replaced(text, "  instances: 1\n", "  instances: 3\n")?;
                replaced(&many, BLUE_GREEN, ROLLING)
            }
        }
    }

    /// What the release with the fault has in its place.
    pub(super) fn of_bad(self, text: &str) -> Result<String> {
        match self {
            Way::BlueGreen | Way::Canary | Way::Rolling => Ok(text.to_owned()),
            Way::Flag => replaced(text, BLUE_GREEN, FLAG),
        }
    }

    /// What the good release has beside the example: one that asks for the flag already costs as much as the
    /// one behind it.
    pub(super) fn preparation(self) -> Option<&'static str> {
        match self {
            Way::BlueGreen | Way::Canary | Way::Rolling => None,
            Way::Flag => Some("blocks-flag-asked.patch"),
        }
    }

    /// The change with the fault, beside the example's folder.
    pub(super) fn patch(self) -> &'static str {
        match self {
            Way::BlueGreen | Way::Canary | Way::Rolling => "blocks-regression.patch",
            Way::Flag => "blocks-flag.patch",
        }
    }

    /// How many users there are. Those of a flag count once each.
    pub(super) fn users(self) -> u64 {
        match self {
            Way::BlueGreen | Way::Canary | Way::Rolling => 25,
            Way::Flag => 600,
        }
    }
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String> {
    if !text.contains(from) {
        bail!(
            "failed to set the example up: its trimtab.yaml has no line {:?}\n  take it as it is in the repository",
            from.trim()
        );
    }
    Ok(text.replacen(from, to, 1))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use trimtab_project::{StrategyName, parse};

    use super::*;

    #[test]
    fn the_example_is_set_up_for_each_strategy() {
        let text = include_str!("../../../examples/blocks/trimtab.yaml");
        for (way, good, bad) in [
            (Way::BlueGreen, StrategyName::BlueGreen, StrategyName::BlueGreen),
            (Way::Canary, StrategyName::Canary, StrategyName::Canary),
            (Way::Rolling, StrategyName::Rolling, StrategyName::Rolling),
            (Way::Flag, StrategyName::BlueGreen, StrategyName::Flag),
        ] {
            let first = way.of_good(text).unwrap();
            let second = way.of_bad(&first).unwrap();
            let strategy = |text: &str| parse("trimtab.yaml", text).unwrap().production.strategy;
            assert_eq!((strategy(&first), strategy(&second)), (good, bad), "{way:?}");
        }
        let refused = Way::Canary.of_good("service: blocks\n").unwrap_err().to_string();
        assert!(refused.contains("strategy: blue-green"), "{refused}");
    }
}
