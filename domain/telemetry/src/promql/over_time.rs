//! Functions over the points of a range.

use super::aggregate::{self, Sum};
use crate::is_stale;

/// A function over a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OverTime {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Avg,
    Sum,
    Min,
    Max,
    Count,
    Last,
    Present,
    Quantile,
    Stddev,
    Stdvar,
    Changes,
    Resets,
}

impl OverTime {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => OverTime::Rate,
            "increase" => OverTime::Increase,
            "delta" => OverTime::Delta,
            "irate" => OverTime::Irate,
            "idelta" => OverTime::Idelta,
            "avg_over_time" => OverTime::Avg,
            "sum_over_time" => OverTime::Sum,
            "min_over_time" => OverTime::Min,
            "max_over_time" => OverTime::Max,
            "count_over_time" => OverTime::Count,
            "last_over_time" => OverTime::Last,
            "present_over_time" => OverTime::Present,
            "quantile_over_time" => OverTime::Quantile,
            "stddev_over_time" => OverTime::Stddev,
            "stdvar_over_time" => OverTime::Stdvar,
            "changes" => OverTime::Changes,
            "resets" => OverTime::Resets,
            _ => return None,
        })
    }

    /// Whether the value still means what the metric's name says.
    pub(super) fn keeps_name(self) -> bool {
        self == OverTime::Last
    }

    /// The value over the points of `(start_ms, end_ms]`; none if there are too few.
    pub(super) fn apply(
        self,
        points: &[(i64, f64)],
        start_ms: i64,
        end_ms: i64,
        parameter: f64,
    ) -> Option<f64> {
        // Markers end a series for instant selectors; within a range they are simply no points.
        let live: Vec<(i64, f64)> = points
            .iter()
            .filter(|(_, value)| !is_stale(*value))
            .copied()
            .collect();
        let last = live.last()?;
        let values = || live.iter().map(|(_, value)| *value);
        match self {
            OverTime::Rate => {
                let seconds = (end_ms - start_ms) as f64 / 1000.0;
                extrapolated(&live, start_ms, end_ms, true).map(|increase| increase / seconds)
            }
            OverTime::Increase => extrapolated(&live, start_ms, end_ms, true),
            OverTime::Delta => extrapolated(&live, start_ms, end_ms, false),
            OverTime::Irate => between_last_two(&live, true),
            OverTime::Idelta => between_last_two(&live, false),
            OverTime::Avg => Some(values().collect::<Sum>().total() / live.len() as f64),
            OverTime::Sum => Some(values().collect::<Sum>().total()),
            OverTime::Min => values().reduce(aggregate::least),
            OverTime::Max => values().reduce(aggregate::greatest),
            OverTime::Count => Some(live.len() as f64),
            OverTime::Last => Some(last.1),
            OverTime::Present => Some(1.0),
            OverTime::Quantile => Some(aggregate::quantile(parameter, values().collect())),
            OverTime::Stddev => Some(aggregate::variance(&values().collect::<Vec<_>>()).sqrt()),
            OverTime::Stdvar => Some(aggregate::variance(&values().collect::<Vec<_>>())),
            OverTime::Changes => Some(pairs(&live, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
            OverTime::Resets => Some(pairs(&live, |before, after| after < before)),
        }
    }
}

fn pairs(points: &[(i64, f64)], counts: impl Fn(f64, f64) -> bool) -> f64 {
    points
        .windows(2)
        .filter(|pair| counts(pair[0].1, pair[1].1))
        .count() as f64
}

/// How much a series grew over the whole range, from the points inside it: the growth between first and
/// last point (resets of counters added back), stretched to the range's ends where points are as near to
/// them as they are to each other, and by half a step where they are not. A counter is not stretched
/// beyond where it would have been zero. This is what Prometheus calls extrapolation.
fn extrapolated(points: &[(i64, f64)], start_ms: i64, end_ms: i64, counter: bool) -> Option<f64> {
    let [first, .., last] = points else { return None };
    let mut growth = last.1 - first.1;
    if counter {
        let lost = points
            .windows(2)
            .filter(|pair| pair[1].1 < pair[0].1)
            .map(|pair| pair[0].1);
        growth += lost.sum::<f64>();
    }
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1000.0;
    let sampled = seconds(first.0, last.0);
    let step = sampled / (points.len() - 1) as f64;
    let near = step * 1.1;
    let mut to_start = seconds(start_ms, first.0);
    if to_start >= near {
        to_start = step / 2.0;
    }
    if counter && growth > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / growth));
    }
    let mut to_end = seconds(last.0, end_ms);
    if to_end >= near {
        to_end = step / 2.0;
    }
    Some(growth * ((sampled + to_start + to_end) / sampled))
}

fn between_last_two(points: &[(i64, f64)], per_second: bool) -> Option<f64> {
    let [.., before, last] = points else { return None };
    if !per_second {
        return Some(last.1 - before.1);
    }
    // After a reset all of the counter's value is new.
    let growth = if last.1 < before.1 {
        last.1
    } else {
        last.1 - before.1
    };
    Some(growth / ((last.0 - before.0) as f64 / 1000.0))
}
