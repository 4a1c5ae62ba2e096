//! Flags that nobody needs any more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

use crate::flag::{Flag, FlagSet, FlagState};
use crate::logic::Rule;

/// What is known of a flag's use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// When its definition last changed.
    pub changed_at: Timestamp,
    /// When it was last asked for; none when never since counting began.
    pub asked_at: Option<Timestamp>,
    /// Since when askings are counted.
    pub counted_since: Timestamp,
}

/// A flag that can go, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staleness {
    /// The flag.
    pub flag: String,
    /// Why it is thought to be stale.
    pub why: String,
    /// What to do about it.
    pub mend: String,
    /// For how many whole days.
    pub days: u64,
}

/// The flags that changed nothing for anybody, or that nobody asked for, for at least `after`.
pub fn stale(
    set: &FlagSet,
    usage: &BTreeMap<String, Usage>,
    now: Timestamp,
    after: Duration,
) -> Vec<Staleness> {
    let days = |since: Timestamp| now.since(since).as_secs() / 86_400;
    let mut found = Vec::new();
    for (key, flag) in &set.flags {
        let Some(usage) = usage.get(key) else { continue };
        let old = |since: Timestamp| now.since(since) >= after;
        let unasked_since = usage
            .asked_at
            .unwrap_or_else(|| usage.counted_since.max(usage.changed_at));
        let (why, mend, since) = if old(unasked_since) {
            (
                "nobody asked for it".to_owned(),
                "delete it; first check that no code names it",
                unasked_since,
            )
        } else if !old(usage.changed_at) {
            continue;
        } else if flag.state == FlagState::Disabled {
            (
                "it is disabled, and the code's own default has been enough".to_owned(),
                "take the flag out of the code, then delete it",
                usage.changed_at,
            )
        } else if let Some(variant) = only_outcome(flag) {
            (
                format!("everybody gets {variant:?}"),
                "keep that path in the code, take the flag out, then delete it",
                usage.changed_at,
            )
        } else {
            continue;
        };
        found.push(Staleness {
            flag: key.clone(),
            why,
            mend: mend.to_owned(),
            days: days(since),
        });
    }
    found
}

/// The variant that everybody gets, if there is only one.
fn only_outcome(flag: &Flag) -> Option<&str> {
    let Some(rule) = &flag.targeting else {
        return flag.default_variant.as_deref();
    };
    let Rule::Call(crate::operation::Operation::Fractional, parts) = rule else {
        return None;
    };
    let mut with_weight = parts.iter().filter_map(|part| match part {
        Rule::List(pair) => match pair.as_slice() {
            [Rule::Literal(_), Rule::Literal(weight)] if weight.as_u64() == Some(0) => None,
            [Rule::Literal(name), ..] => Some(name.as_str()),
            _ => Some(None),
        },
        _ => None,
    });
    match (with_weight.next(), with_weight.next()) {
        (Some(name), None) => name,
        _ => None,
    }
}
