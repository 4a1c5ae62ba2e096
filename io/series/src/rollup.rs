//! One-minute rollups of raw points.

use trimtab_telemetry::is_stale;

use crate::Rollup;
use crate::block::Columns;

pub(crate) const MINUTE_MS: i64 = 60_000;

/// Points in order of time become minutes. Values that are no number end a minute's `last`, and count
/// nowhere else.
pub(crate) fn roll_up(points: &[(i64, f64)]) -> Vec<Rollup> {
    let mut minutes: Vec<Rollup> = Vec::new();
    for &(at, value) in points {
        let minute_ms = at.div_euclid(MINUTE_MS) * MINUTE_MS;
        if minutes.last().is_none_or(|last| last.minute_ms != minute_ms) {
            minutes.push(Rollup {
                minute_ms,
                min: f64::INFINITY,
                max: f64::NEG_INFINITY,
                sum: 0.0,
                count: 0,
                last: value,
            });
        }
        if let Some(minute) = minutes.last_mut() {
            minute.last = value;
            if !value.is_nan() && !is_stale(value) {
                minute.min = minute.min.min(value);
                minute.max = minute.max.max(value);
                minute.sum += value;
                minute.count += 1;
            }
        }
    }
    minutes
}

/// Two lists of the same series become one; the same minute in both is added up, `later` giving the
/// last value.
pub(crate) fn merge(earlier: Vec<Rollup>, later: Vec<Rollup>) -> Vec<Rollup> {
    let mut all = earlier;
    all.extend(later);
    all.sort_by_key(|minute| minute.minute_ms);
    all.dedup_by(|next, kept| {
        let same = next.minute_ms == kept.minute_ms;
        if same {
            kept.min = kept.min.min(next.min);
            kept.max = kept.max.max(next.max);
            kept.sum += next.sum;
            kept.count += next.count;
            kept.last = next.last;
        }
        same
    });
    all
}

pub(crate) fn to_columns(minutes: &[Rollup]) -> Columns {
    let column = |value: fn(&Rollup) -> f64| minutes.iter().map(value).collect();
    Columns {
        times: minutes.iter().map(|minute| minute.minute_ms).collect(),
        values: vec![
            column(|minute| minute.min),
            column(|minute| minute.max),
            column(|minute| minute.sum),
            column(|minute| minute.count as f64),
            column(|minute| minute.last),
        ],
    }
}

pub(crate) fn from_columns(columns: &Columns) -> Vec<Rollup> {
    let [min, max, sum, count, last] = columns.values.as_slice() else {
        return Vec::new();
    };
    let rows = columns
        .times
        .iter()
        .zip(min)
        .zip(max)
        .zip(sum)
        .zip(count)
        .zip(last);
    rows.map(|(((((minute_ms, min), max), sum), count), last)| Rollup {
        minute_ms: *minute_ms,
        min: *min,
        max: *max,
        sum: *sum,
        count: *count as u64,
        last: *last,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_add_up_and_survive_columns() {
        let points = [
            (59_999, 1.0),
            (60_000, 5.0),
            (60_001, f64::NAN),
            (119_999, 2.0),
            (-1, 7.0),
        ];
        let minutes = roll_up(&points[..4]);
        assert_eq!(minutes.len(), 2);
        assert_eq!(
            (
                minutes[1].min,
                minutes[1].max,
                minutes[1].sum,
                minutes[1].count,
                minutes[1].last
            ),
            (2.0, 5.0, 7.0, 2, 2.0)
        );
        assert_eq!(roll_up(&points[4..])[0].minute_ms, -MINUTE_MS);
        assert_eq!(from_columns(&to_columns(&minutes)), minutes);
        let merged = merge(minutes.clone(), roll_up(&[(61_000, 9.0)]));
        assert_eq!((merged.len(), merged[1].count, merged[1].max), (2, 3, 9.0));
    }
}
