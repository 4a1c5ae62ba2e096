//! A plan's value at one instant.

use std::collections::HashSet;

use super::instant::Function;
use super::plan::Plan;
use super::{QueryError, aggregate, binary, histogram, instant};
use crate::{Labels, METRIC_NAME, Selector, SeriesData, is_stale};

/// One series' value.
pub(super) type Element = (Labels, f64);

/// A value at one instant.
#[derive(Debug, Clone)]
pub(super) enum Now {
    Scalar(f64),
    Vector(Vec<Element>),
}

impl Now {
    /// The number; of a vector of one element that element's, else NaN.
    pub(super) fn number(&self) -> f64 {
        match self {
            Now::Scalar(value) => *value,
            Now::Vector(elements) => match elements.as_slice() {
                [(_, only)] => *only,
                _ => f64::NAN,
            },
        }
    }

    pub(super) fn elements(self) -> Vec<Element> {
        match self {
            Now::Scalar(value) => vec![(Labels::default(), value)],
            Now::Vector(elements) => elements,
        }
    }
}

pub(super) fn at(
    plan: &Plan,
    selectors: &[Selector],
    data: &[Vec<SeriesData>],
    at_ms: i64,
) -> Result<Now, QueryError> {
    Evaluator {
        selectors,
        data,
        at_ms,
    }
    .value(plan)
}

struct Evaluator<'a> {
    selectors: &'a [Selector],
    data: &'a [Vec<SeriesData>],
    at_ms: i64,
}

impl Evaluator<'_> {
    fn value(&self, plan: &Plan) -> Result<Now, QueryError> {
        match plan {
            Plan::Number(number) => Ok(Now::Scalar(*number)),
            Plan::Select(place) => Ok(Now::Vector(self.select(*place))),
            Plan::OverTime {
                function,
                parameter,
                selector,
            } => {
                let parameter = parameter.as_ref().map(|p| self.value(p)).transpose()?;
                let parameter = parameter.map_or(f64::NAN, |p| p.number());
                let range_ms = self.selectors[*selector].lookback_ms;
                let elements = self.windows(*selector).filter_map(|(labels, points, end_ms)| {
                    let value = function.apply(points, end_ms - range_ms, end_ms, parameter)?;
                    Some((labels.clone(), value))
                });
                let elements = elements.collect();
                Ok(Now::Vector(if function.keeps_name() {
                    elements
                } else {
                    nameless(elements)?
                }))
            }
            Plan::Call { function, arguments } => self.call(*function, arguments),
            Plan::Negate(inner) => match self.value(inner)? {
                Now::Scalar(value) => Ok(Now::Scalar(-value)),
                Now::Vector(elements) => mapped(elements, |value| -value),
            },
            Plan::Binary {
                op,
                sides,
                as_bool,
                matching,
            } => binary::apply(
                *op,
                self.value(&sides.0)?,
                self.value(&sides.1)?,
                *as_bool,
                matching,
            ),
            Plan::Aggregate {
                op,
                parameter,
                inner,
                grouping,
            } => {
                let parameter = parameter.as_ref().map(|p| self.value(p)).transpose()?;
                let parameter = parameter.map_or(f64::NAN, |p| p.number());
                let elements = self.value(inner)?.elements();
                Ok(Now::Vector(aggregate::apply(*op, parameter, elements, grouping)))
            }
        }
    }

    fn call(&self, function: Function, arguments: &[Plan]) -> Result<Now, QueryError> {
        let mut values = arguments
            .iter()
            .map(|argument| self.value(argument))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let mut next = || values.next().unwrap_or(Now::Vector(vec![]));
        match function {
            Function::Time => Ok(Now::Scalar(self.at_ms as f64 / 1000.0)),
            Function::Vector => Ok(Now::Vector(next().elements())),
            Function::Scalar => Ok(Now::Scalar(next().number())),
            Function::HistogramQuantile => {
                let quantile = next().number();
                Ok(Now::Vector(histogram::quantiles(quantile, next().elements())))
            }
            Function::Sort { descending } => {
                let mut elements = next().elements();
                elements.sort_by(|a, b| aggregate::ascending(a.1, b.1));
                if descending {
                    elements.reverse();
                }
                Ok(Now::Vector(elements))
            }
            Function::Map(kind) => {
                let elements = next().elements();
                let numbers: Vec<f64> = values.map(|value| value.number()).collect();
                if kind.empties(&numbers) {
                    return Ok(Now::Vector(vec![]));
                }
                mapped(elements, |value| instant::map(kind, value, &numbers))
            }
        }
    }

    /// The points of each series within the selector's window, with the window's end.
    fn windows(&self, place: usize) -> impl Iterator<Item = (&Labels, &[(i64, f64)], i64)> {
        let selector = &self.selectors[place];
        let end_ms = selector
            .at_ms
            .unwrap_or(self.at_ms)
            .saturating_sub(selector.offset_ms);
        let start_ms = end_ms.saturating_sub(selector.lookback_ms);
        self.data[place].iter().filter_map(move |series| {
            // Open on the left: a point exactly at the window's start belongs to the window before.
            let from = series.points.partition_point(|(at, _)| *at <= start_ms);
            let to = series.points.partition_point(|(at, _)| *at <= end_ms);
            (from < to).then(|| (&series.labels, &series.points[from..to], end_ms))
        })
    }

    fn select(&self, place: usize) -> Vec<Element> {
        let windows = self.windows(place);
        windows
            .filter_map(|(labels, points, _)| {
                let (_, value) = points.last()?;
                (!is_stale(*value)).then(|| (labels.clone(), *value))
            })
            .collect()
    }
}

fn mapped(elements: Vec<Element>, change: impl Fn(f64) -> f64) -> Result<Now, QueryError> {
    let changed = elements
        .into_iter()
        .map(|(labels, value)| (labels, change(value)));
    nameless(changed.collect()).map(Now::Vector)
}

/// The elements without their metrics' names, which may leave no two alike.
pub(super) fn nameless(elements: Vec<Element>) -> Result<Vec<Element>, QueryError> {
    let stripped = elements
        .into_iter()
        .map(|(labels, value)| (without_name(&labels), value));
    let stripped: Vec<Element> = stripped.collect();
    unique(&stripped)?;
    Ok(stripped)
}

pub(super) fn without_name(labels: &Labels) -> Labels {
    if labels.get(METRIC_NAME).is_some() {
        labels.filtered(|name| name != METRIC_NAME)
    } else {
        labels.clone()
    }
}

pub(super) fn unique(elements: &[Element]) -> Result<(), QueryError> {
    let mut seen = HashSet::with_capacity(elements.len());
    match elements.iter().find(|(labels, _)| !seen.insert(labels)) {
        None => Ok(()),
        Some((labels, _)) => Err(QueryError::Data(format!(
            "more than one series of the result would be {labels}: select one metric, or aggregate"
        ))),
    }
}
