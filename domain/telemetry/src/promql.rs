//! A subset of PromQL with Prometheus' own semantics.
//!
//! Two phases, so that stores may be asynchronous: [`parse`] a query, fetch what its
//! [`Query::selectors`] ask for, then evaluate it at one instant or over a range. What is outside the
//! subset is an error that names the construct and where it stands.
//!
//! Kept from Prometheus 3: an instant selector sees the last point of the five minutes before, unless
//! that is a staleness marker; ranges are open on the left; `rate`, `increase` and `delta` extrapolate
//! to the range's ends; counters may reset; names are dropped where values change their meaning.

mod aggregate;
mod binary;
mod eval;
mod histogram;
mod instant;
mod over_time;
mod plan;
mod scope;

use crate::{Labels, Sample, Selector, SeriesData};
use plan::Plan;

/// How far back an instant selector looks, in milliseconds.
pub const LOOKBACK_MS: i64 = 5 * 60 * 1000;
/// Longest query in bytes.
pub const QUERY_BYTES_MAX: usize = 4096;
/// Deepest nesting of a query.
pub const DEPTH_MAX: usize = 100;
/// Most steps of one range.
pub const STEPS_MAX: i64 = 11_000;
/// Most series times steps of one evaluation, counted for each selector.
pub const POINTS_MAX: u64 = 20_000_000;

/// Why a query cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no PromQL.
    #[error("failed to read the query: {0}")]
    Syntax(String),
    /// It is PromQL that this subset lacks.
    #[error(
        "failed to evaluate the query: {construct} at character {position} is not supported; see docs/telemetry.md for what is"
    )]
    Unsupported {
        /// What is not supported.
        construct: String,
        /// Where it stands, counted from 1.
        position: usize,
    },
    /// A limit would be passed.
    #[error("failed to evaluate the query: {0}")]
    Limit(String),
    /// The data do not allow it, for example several series where one must match.
    #[error("failed to evaluate the query: {0}")]
    Data(String),
}

/// What a query is worth at one instant.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// A number for each series, in the order the query gives.
    Vector(Vec<Sample>),
}

impl Value {
    /// The number, if there is exactly one: of a scalar, or of a vector of one series.
    pub fn single(&self) -> Option<f64> {
        match self {
            Value::Scalar(value) => Some(*value),
            Value::Vector(samples) => match samples.as_slice() {
                [only] => Some(only.value),
                _ => None,
            },
        }
    }
}

/// A parsed query.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
    plan: Plan,
    selectors: Vec<Selector>,
    range_ms_max: i64,
}

/// Where series come from, for callers whose data is at hand.
pub trait SeriesSource {
    /// The series that satisfy the selector, with their points from `start_ms` to `end_ms` (both included).
    fn select(&self, selector: &Selector, start_ms: i64, end_ms: i64) -> Vec<SeriesData>;
}

impl SeriesSource for [SeriesData] {
    fn select(&self, selector: &Selector, start_ms: i64, end_ms: i64) -> Vec<SeriesData> {
        let fitting = self.iter().filter(|series| selector.matches(&series.labels));
        fitting
            .map(|series| SeriesData {
                labels: series.labels.clone(),
                points: series
                    .points
                    .iter()
                    .filter(|(at, _)| (start_ms..=end_ms).contains(at))
                    .copied()
                    .collect(),
            })
            .filter(|series| !series.points.is_empty())
            .collect()
    }
}

/// Parses a query and checks that all of it is within the subset.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(QueryError::Limit(format!(
            "it has {} bytes, more than {QUERY_BYTES_MAX}",
            text.len()
        )));
    }
    let tree = promql_parser::parser::parse(text).map_err(QueryError::Syntax)?;
    compiled(text, &tree, text.to_owned())
}

/// The same with every selector narrowed to `labels`, but for those of which it speaks itself.
/// [`Query::text`] is then the narrowed query.
pub fn parse_narrowed(text: &str, labels: &[(&str, &str)]) -> Result<Query, QueryError> {
    parse(text)?;
    let mut tree = promql_parser::parser::parse(text).map_err(QueryError::Syntax)?;
    scope::narrow(&mut tree, labels);
    compiled(text, &tree, tree.to_string())
}

fn compiled(text: &str, tree: &promql_parser::parser::Expr, shown: String) -> Result<Query, QueryError> {
    let (plan, selectors, range_ms_max) = plan::compile(text, tree)?;
    Ok(Query {
        text: shown,
        plan,
        selectors,
        range_ms_max,
    })
}

impl Query {
    /// The query as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it needs from the store, one entry for each selector in it, from left to right.
    /// [`Selector::range`] gives the times.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The longest range in it (`[5m]`); 0 without any.
    pub fn range_ms_max(&self) -> i64 {
        self.range_ms_max
    }

    /// Its value at one instant. `data` holds the series for each of [`Query::selectors`], in that order.
    pub fn eval_instant(&self, data: &[Vec<SeriesData>], at_ms: i64) -> Result<Value, QueryError> {
        self.check(data, 1)?;
        Ok(match eval::at(&self.plan, &self.selectors, data, at_ms)? {
            eval::Now::Scalar(value) => Value::Scalar(value),
            eval::Now::Vector(elements) => Value::Vector(
                elements
                    .into_iter()
                    .map(|(labels, value)| Sample { labels, at_ms, value })
                    .collect(),
            ),
        })
    }

    /// Its values from `start_ms` to `end_ms` (both included) every `step_ms`, sorted by labels. A scalar
    /// becomes one series without labels.
    pub fn eval_range(
        &self,
        data: &[Vec<SeriesData>],
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<SeriesData>, QueryError> {
        if step_ms <= 0 || end_ms < start_ms {
            return Err(QueryError::Limit(
                "the step must be positive and the end not before the start".to_owned(),
            ));
        }
        let steps = end_ms.saturating_sub(start_ms) / step_ms + 1;
        if steps > STEPS_MAX {
            return Err(QueryError::Limit(format!(
                "{steps} steps are more than {STEPS_MAX}: choose a longer step or a shorter time"
            )));
        }
        self.check(data, steps as u64)?;
        let mut found = std::collections::BTreeMap::<Labels, Vec<(i64, f64)>>::new();
        for step in 0..steps {
            let at_ms = start_ms + step * step_ms;
            match eval::at(&self.plan, &self.selectors, data, at_ms)? {
                eval::Now::Scalar(value) => found.entry(Labels::default()).or_default().push((at_ms, value)),
                eval::Now::Vector(elements) => {
                    for (labels, value) in elements {
                        found.entry(labels).or_default().push((at_ms, value));
                    }
                }
            }
        }
        Ok(found
            .into_iter()
            .map(|(labels, points)| SeriesData { labels, points })
            .collect())
    }

    fn check(&self, data: &[Vec<SeriesData>], steps: u64) -> Result<(), QueryError> {
        if data.len() != self.selectors.len() {
            return Err(QueryError::Data(format!(
                "data for {} selectors was given, the query has {}",
                data.len(),
                self.selectors.len()
            )));
        }
        let points = data
            .iter()
            .map(|series| series.len() as u64)
            .sum::<u64>()
            .saturating_mul(steps);
        if points > POINTS_MAX {
            return Err(QueryError::Limit(format!(
                "{points} points would be looked at, more than {POINTS_MAX}: select fewer series or take longer steps"
            )));
        }
        Ok(())
    }
}

/// Parses and evaluates at one instant.
pub fn evaluate<S: SeriesSource + ?Sized>(query: &str, source: &S, at_ms: i64) -> Result<Value, QueryError> {
    let query = parse(query)?;
    query.eval_instant(&fetch(&query, source, at_ms, at_ms), at_ms)
}

/// Parses and evaluates over a range.
pub fn evaluate_range<S: SeriesSource + ?Sized>(
    query: &str,
    source: &S,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
) -> Result<Vec<SeriesData>, QueryError> {
    let query = parse(query)?;
    query.eval_range(
        &fetch(&query, source, start_ms, end_ms),
        start_ms,
        end_ms,
        step_ms,
    )
}

fn fetch<S: SeriesSource + ?Sized>(
    query: &Query,
    source: &S,
    start_ms: i64,
    end_ms: i64,
) -> Vec<Vec<SeriesData>> {
    let selectors = query.selectors().iter();
    selectors
        .map(|selector| {
            let (from, to) = selector.range(start_ms, end_ms);
            source.select(selector, from, to)
        })
        .collect()
}
