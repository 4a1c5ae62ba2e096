//! Operators between two values.

use std::collections::{HashMap, HashSet};

use super::QueryError;
use super::aggregate::grouped;
use super::eval::{Element, Now, nameless, unique, without_name};
use super::plan::{Cardinality, Grouping, Matching, Operator};
use crate::{Labels, METRIC_NAME};

pub(super) fn apply(
    op: Operator,
    left: Now,
    right: Now,
    as_bool: bool,
    matching: &Matching,
) -> Result<Now, QueryError> {
    match (left, right) {
        (Now::Scalar(a), Now::Scalar(b)) => Ok(Now::Scalar(compute(op, a, b).number())),
        (Now::Vector(elements), Now::Scalar(b)) => with_scalar(op, elements, as_bool, |value| (value, b)),
        (Now::Scalar(a), Now::Vector(elements)) => with_scalar(op, elements, as_bool, |value| (a, value)),
        (Now::Vector(left), Now::Vector(right)) => match op {
            Operator::And | Operator::Or | Operator::Unless => {
                Ok(Now::Vector(sets(op, left, right, &matching.on)))
            }
            _ => vectors(op, left, right, as_bool, matching).map(Now::Vector),
        },
    }
}

/// What an operator says about two numbers.
enum Said {
    Value(f64),
    Truth(bool),
}

impl Said {
    fn number(self) -> f64 {
        match self {
            Said::Value(value) => value,
            Said::Truth(truth) => f64::from(u8::from(truth)),
        }
    }
}

fn compute(op: Operator, a: f64, b: f64) -> Said {
    match op {
        Operator::Add => Said::Value(a + b),
        Operator::Subtract => Said::Value(a - b),
        Operator::Multiply => Said::Value(a * b),
        Operator::Divide => Said::Value(a / b),
        Operator::Modulo => Said::Value(a % b),
        Operator::Power => Said::Value(a.powf(b)),
        Operator::Equal => Said::Truth(a == b),
        Operator::NotEqual => Said::Truth(a != b),
        Operator::Greater => Said::Truth(a > b),
        Operator::Less => Said::Truth(a < b),
        Operator::GreaterOrEqual => Said::Truth(a >= b),
        Operator::LessOrEqual => Said::Truth(a <= b),
        // Between numbers the parser refuses these.
        Operator::And | Operator::Or | Operator::Unless => Said::Value(f64::NAN),
    }
}

/// `kept` is what a filtering comparison keeps when it holds.
fn result(op: Operator, a: f64, b: f64, as_bool: bool, kept: f64) -> Option<f64> {
    match compute(op, a, b) {
        Said::Truth(holds) if !as_bool => holds.then_some(kept),
        said => Some(said.number()),
    }
}

/// Whether the result is no longer what the metric's name says.
fn drops_name(op: Operator, as_bool: bool) -> bool {
    as_bool || matches!(compute(op, 0.0, 0.0), Said::Value(_))
}

fn with_scalar(
    op: Operator,
    elements: Vec<Element>,
    as_bool: bool,
    sides: impl Fn(f64) -> (f64, f64),
) -> Result<Now, QueryError> {
    let computed = elements.into_iter().filter_map(|(labels, value)| {
        let (a, b) = sides(value);
        Some((labels, result(op, a, b, as_bool, value)?))
    });
    let computed = computed.collect();
    Ok(Now::Vector(if drops_name(op, as_bool) {
        nameless(computed)?
    } else {
        computed
    }))
}

fn sets(op: Operator, left: Vec<Element>, mut right: Vec<Element>, on: &Grouping) -> Vec<Element> {
    let signatures = |elements: &[Element]| -> HashSet<Labels> {
        elements.iter().map(|(labels, _)| grouped(labels, on)).collect()
    };
    if op == Operator::Or {
        let taken = signatures(&left);
        right.retain(|(labels, _)| !taken.contains(&grouped(labels, on)));
        return left.into_iter().chain(right).collect();
    }
    let there = signatures(&right);
    let wanted = op == Operator::And;
    left.into_iter()
        .filter(|(labels, _)| there.contains(&grouped(labels, on)) == wanted)
        .collect()
}

fn vectors(
    op: Operator,
    left: Vec<Element>,
    right: Vec<Element>,
    as_bool: bool,
    matching: &Matching,
) -> Result<Vec<Element>, QueryError> {
    // Below, each of `many` finds its partner in `one`.
    let (many, one, swapped) = match matching.cardinality {
        Cardinality::OneToMany(_) => (right, left, true),
        _ => (left, right, false),
    };
    let side = if swapped { "left" } else { "right" };
    let mut partners = HashMap::with_capacity(one.len());
    for (labels, value) in &one {
        if let Some((other, _)) = partners.insert(grouped(labels, &matching.on), (labels, *value)) {
            return Err(QueryError::Data(format!(
                "{labels} and {other} on the {side} side match the same group: many-to-many matching is not possible"
            )));
        }
    }
    let mut matched = HashSet::new();
    let mut out = vec![];
    for (labels, value) in &many {
        let signature = grouped(labels, &matching.on);
        let Some((partner, other)) = partners.get(&signature) else {
            continue;
        };
        let (a, b) = if swapped {
            (*other, *value)
        } else {
            (*value, *other)
        };
        let Some(computed) = result(op, a, b, as_bool, a) else {
            continue;
        };
        if matches!(matching.cardinality, Cardinality::OneToOne) && !matched.insert(signature) {
            return Err(QueryError::Data(format!(
                "{labels} is one of several on the left side that match {partner}: say group_left to allow it"
            )));
        }
        out.push((named(op, as_bool, labels, partner, matching), computed));
    }
    unique(&out)?;
    Ok(out)
}

/// The labels of a result.
fn named(op: Operator, as_bool: bool, many: &Labels, one: &Labels, matching: &Matching) -> Labels {
    let base = if drops_name(op, as_bool) {
        without_name(many)
    } else {
        many.clone()
    };
    match &matching.cardinality {
        Cardinality::OneToOne => {
            let listed = |name: &str| matching.on.labels.iter().any(|own| own == name);
            // A filtering comparison without `on` keeps its name.
            base.filtered(|name| {
                if matching.on.keep {
                    listed(name)
                } else {
                    name == METRIC_NAME || !listed(name)
                }
            })
        }
        Cardinality::ManyToOne(include) | Cardinality::OneToMany(include) => {
            let mut labels = base;
            for name in include {
                labels = labels.with(name, one.get(name).unwrap_or_default());
            }
            labels
        }
    }
}
