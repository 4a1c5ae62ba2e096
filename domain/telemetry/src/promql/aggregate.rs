//! Aggregations over series, and the sums and quantiles they share with functions over time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::eval::Element;
use super::plan::{Aggregation, Grouping};
use crate::{Labels, METRIC_NAME};

pub(super) fn apply(
    op: Aggregation,
    parameter: f64,
    elements: Vec<Element>,
    grouping: &Grouping,
) -> Vec<Element> {
    let mut groups = BTreeMap::<Labels, Vec<Element>>::new();
    for (labels, value) in elements {
        groups
            .entry(grouped(&labels, grouping))
            .or_default()
            .push((labels, value));
    }
    let mut out = vec![];
    for (labels, members) in groups {
        match op {
            Aggregation::TopK | Aggregation::BottomK => out.extend(ranked(op, parameter, members)),
            _ => out.push((labels, fold(op, parameter, &members))),
        }
    }
    out
}

/// The labels that name an element's group.
pub(super) fn grouped(labels: &Labels, grouping: &Grouping) -> Labels {
    let listed = |name: &str| grouping.labels.iter().any(|own| own == name);
    if grouping.keep {
        labels.filtered(listed)
    } else {
        labels.filtered(|name| name != METRIC_NAME && !listed(name))
    }
}

fn fold(op: Aggregation, parameter: f64, members: &[Element]) -> f64 {
    let values = || members.iter().map(|(_, value)| *value);
    let count = members.len() as f64;
    match op {
        Aggregation::Sum => values().collect::<Sum>().total(),
        Aggregation::Avg => values().collect::<Sum>().total() / count,
        Aggregation::Min => values().reduce(least).unwrap_or(f64::NAN),
        Aggregation::Max => values().reduce(greatest).unwrap_or(f64::NAN),
        Aggregation::Count => count,
        Aggregation::Group => 1.0,
        Aggregation::Stddev => variance(&values().collect::<Vec<_>>()).sqrt(),
        Aggregation::Stdvar => variance(&values().collect::<Vec<_>>()),
        Aggregation::Quantile => quantile(parameter, values().collect()),
        Aggregation::TopK | Aggregation::BottomK => f64::NAN,
    }
}

fn ranked(op: Aggregation, parameter: f64, mut members: Vec<Element>) -> Vec<Element> {
    let keep = if parameter >= 1.0 { parameter as usize } else { 0 };
    members.sort_by(|a, b| match (a.1.is_nan(), b.1.is_nan(), op) {
        // NaN ranks last both ways.
        (true, true, _) => Ordering::Equal,
        (true, false, _) => Ordering::Greater,
        (false, true, _) => Ordering::Less,
        (_, _, Aggregation::TopK) => b.1.total_cmp(&a.1),
        _ => a.1.total_cmp(&b.1),
    });
    members.truncate(keep);
    members
}

/// NaN first, then by value.
pub(super) fn ascending(a: f64, b: f64) -> Ordering {
    b.is_nan()
        .cmp(&a.is_nan())
        .then_with(|| a.partial_cmp(&b).unwrap_or(Ordering::Equal))
}

/// The lesser; NaN only if both are.
pub(super) fn least(a: f64, b: f64) -> f64 {
    if a.is_nan() || b < a { b } else { a }
}

/// The greater; NaN only if both are.
pub(super) fn greatest(a: f64, b: f64) -> f64 {
    if a.is_nan() || b > a { b } else { a }
}

/// The quantile by linear interpolation between the two nearest ranks, as Prometheus does.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| ascending(*a, *b));
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// The population variance.
pub(super) fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().copied().collect::<Sum>().total() / count;
    values
        .iter()
        .map(|value| (value - mean).powi(2))
        .collect::<Sum>()
        .total()
        / count
}

/// A sum that keeps what rounding loses (Neumaier 1974), as Prometheus' does.
#[derive(Debug, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn total(&self) -> f64 {
        // Once infinite, the lost part is NaN.
        if self.sum.is_finite() {
            self.sum + self.lost
        } else {
            self.sum
        }
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut out = Sum::default();
        for value in values {
            let sum = out.sum + value;
            out.lost += if out.sum.abs() >= value.abs() {
                (out.sum - sum) + value
            } else {
                (value - sum) + out.sum
            };
            out.sum = sum;
        }
        out
    }
}
