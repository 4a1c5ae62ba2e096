//! Targeting once it is read.

use std::sync::Arc;

use serde_json::Value;

use crate::operation::Operation;

/// A rule: what it is worth depends on the context.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rule {
    /// Always this.
    Literal(Value),
    /// A list of what its rules are worth.
    List(Vec<Rule>),
    /// One of the set's `$evaluators`: a segment that several flags use.
    Shared(Arc<Rule>),
    /// An operation on its arguments.
    Call(Operation, Vec<Rule>),
}

impl Rule {
    /// How deep it nests, through shared rules too.
    pub(crate) fn height(&self) -> usize {
        match self {
            Rule::Literal(_) => 1,
            Rule::Shared(rule) => 1 + rule.height(),
            Rule::List(rules) | Rule::Call(_, rules) => 1 + rules.iter().map(Rule::height).max().unwrap_or(0),
        }
    }

    /// Texts that it may end with where they are written out: names of variants, if it is a flag's
    /// whole targeting.
    pub(crate) fn outcomes(&self) -> Vec<&Value> {
        match self {
            Rule::Literal(value) => vec![value],
            Rule::Shared(rule) => rule.outcomes(),
            Rule::Call(Operation::If, rules) => branches(rules).flat_map(Rule::outcomes).collect(),
            Rule::Call(Operation::Fractional, rules) => rules
                .iter()
                .filter_map(|rule| match rule {
                    Rule::List(parts) => parts.first(),
                    _ => None,
                })
                .flat_map(Rule::outcomes)
                .collect(),
            Rule::List(_) | Rule::Call(..) => Vec::new(),
        }
    }

    /// Whether a draw by hash may decide it.
    pub(crate) fn splits(&self) -> bool {
        match self {
            Rule::Literal(_) => false,
            Rule::Shared(rule) => rule.splits(),
            Rule::Call(Operation::Fractional, _) => true,
            Rule::List(rules) | Rule::Call(_, rules) => rules.iter().any(Rule::splits),
        }
    }
}

/// What an `if` may end with: everything but its conditions.
fn branches(rules: &[Rule]) -> impl Iterator<Item = &Rule> {
    let last = rules.len().saturating_sub(1);
    let condition = move |place: usize| place.is_multiple_of(2) && place != last;
    rules
        .iter()
        .enumerate()
        .filter(move |(place, _)| !condition(*place))
        .map(|(_, rule)| rule)
}
