//! Points of the same series from several places become one sorted list.

use std::collections::BTreeMap;

use trimtab_telemetry::{Labels, SeriesData};

/// Parts of series, gathered from the oldest writing to the newest.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    parts: BTreeMap<Labels, Vec<(i64, f64)>>,
    points: usize,
}

impl Gathered {
    /// Adds all parts of another, which were written after all parts here.
    pub(crate) fn extend(&mut self, later: Gathered) {
        for (labels, points) in later.parts {
            self.add(&labels, &points);
        }
    }

    /// Adds a sorted part that was written after all parts added so far.
    pub(crate) fn add(&mut self, labels: &Labels, points: &[(i64, f64)]) {
        if points.is_empty() {
            return;
        }
        self.points += points.len();
        match self.parts.get_mut(labels) {
            Some(known) => known.extend_from_slice(points),
            None => {
                self.parts.insert(labels.clone(), points.to_vec());
            }
        }
    }

    /// Points gathered, with those that turn out to be the same.
    pub(crate) fn points(&self) -> usize {
        self.points
    }

    /// Each series sorted by time, each time once, the last write winning; sorted by labels.
    pub(crate) fn into_data(self) -> Vec<SeriesData> {
        self.parts
            .into_iter()
            .map(|(labels, mut points)| {
                sort_last_wins(&mut points);
                SeriesData { labels, points }
            })
            .collect()
    }
}

/// Sorts by time; of points with the same time the one that came last stays.
pub(crate) fn sort_last_wins(points: &mut Vec<(i64, f64)>) {
    if points.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    points.sort_by_key(|(at, _)| *at);
    points.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = later.1;
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_wins() {
        let mut points = vec![(1, 1.0), (3, 3.0), (2, 2.0), (3, 33.0), (1, 11.0), (1, 111.0)];
        sort_last_wins(&mut points);
        assert_eq!(points, [(1, 111.0), (2, 2.0), (3, 33.0)]);
    }
}
