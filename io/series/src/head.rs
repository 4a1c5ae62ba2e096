//! The newest samples in memory, found by their labels through an inverted index.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use trimtab_telemetry::{Labels, MatchOp, Matcher, Sample};

use crate::Appended;
use crate::merge::Gathered;

/// The labels of the series that counts what did not fit.
pub(crate) fn overflow_labels() -> Labels {
    Labels::from_pairs([("overflow", "true")])
}

#[derive(Debug)]
struct HeadSeries {
    labels: Labels,
    /// By time, each time once.
    points: Vec<(i64, f64)>,
}

/// Samples that are not in a block yet.
#[derive(Debug, Default)]
pub(crate) struct Head {
    series: Vec<HeadSeries>,
    ids: HashMap<Labels, u32>,
    /// Label name, then value, to the series that have it, in order of their numbers.
    postings: BTreeMap<String, BTreeMap<String, Vec<u32>>>,
    samples: usize,
    /// The least and greatest time; none when empty.
    span: Option<(i64, i64)>,
}

impl Head {
    /// Adds samples; those of more than `series_max` series are counted in the overflow series, whose
    /// value goes on from `overflowed`.
    pub(crate) fn apply(
        &mut self,
        samples: Vec<Sample>,
        series_max: usize,
        overflowed: &mut u64,
    ) -> Appended {
        let mut appended = Appended::default();
        for sample in samples {
            if let Some(id) = self.id_of(&sample.labels, series_max) {
                self.insert(id, sample.at_ms, sample.value);
                appended.accepted += 1;
            } else {
                *overflowed += 1;
                appended.overflowed += 1;
                if let Some(id) = self.id_of(&overflow_labels(), usize::MAX) {
                    self.insert(id, sample.at_ms, *overflowed as f64);
                }
            }
        }
        appended
    }

    fn id_of(&mut self, labels: &Labels, series_max: usize) -> Option<u32> {
        if let Some(id) = self.ids.get(labels) {
            return Some(*id);
        }
        if self.series.len() >= series_max {
            return None;
        }
        let id = u32::try_from(self.series.len()).ok()?;
        for (name, value) in labels.iter() {
            if !self.postings.contains_key(name) {
                self.postings.insert(name.to_owned(), BTreeMap::new());
            }
            if let Some(values) = self.postings.get_mut(name) {
                match values.get_mut(value) {
                    Some(ids) => ids.push(id),
                    None => {
                        values.insert(value.to_owned(), vec![id]);
                    }
                }
            }
        }
        self.ids.insert(labels.clone(), id);
        self.series.push(HeadSeries {
            labels: labels.clone(),
            points: Vec::new(),
        });
        Some(id)
    }

    fn insert(&mut self, id: u32, at_ms: i64, value: f64) {
        let Some(series) = self.series.get_mut(id as usize) else {
            return;
        };
        let points = &mut series.points;
        if points.last().is_none_or(|(last, _)| *last < at_ms) {
            points.push((at_ms, value));
        } else {
            match points.binary_search_by_key(&at_ms, |(at, _)| *at) {
                // The last write wins.
                Ok(same) => {
                    points[same].1 = value;
                    return;
                }
                Err(place) => points.insert(place, (at_ms, value)),
            }
        }
        self.samples += 1;
        let (least, greatest) = self.span.unwrap_or((at_ms, at_ms));
        self.span = Some((least.min(at_ms), greatest.max(at_ms)));
    }

    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples == 0
    }

    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        self.span
    }

    /// All series with their points.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Labels, &[(i64, f64)])> {
        self.series
            .iter()
            .map(|series| (&series.labels, series.points.as_slice()))
    }

    /// Adds the points of matching series between two times, both included.
    pub(crate) fn gather(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64, into: &mut Gathered) {
        for series in self.matching(matchers) {
            let first = series.points.partition_point(|(at, _)| *at < start_ms);
            let past = series.points.partition_point(|(at, _)| *at <= end_ms);
            if first < past {
                into.add(&series.labels, &series.points[first..past]);
            }
        }
    }

    pub(crate) fn gather_labels(&self, matchers: &[Matcher], into: &mut BTreeSet<Labels>) {
        into.extend(self.matching(matchers).map(|series| series.labels.clone()));
    }

    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = &'a HeadSeries> {
        let fits = move |series: &&HeadSeries| matchers.iter().all(|m| m.matches_labels(&series.labels));
        let (few, all) = match self.fewest(matchers) {
            Some(ids) => (Some(ids), None),
            None => (None, Some(self.series.iter())),
        };
        few.into_iter()
            .flatten()
            .filter_map(|id| self.series.get(*id as usize))
            .chain(all.into_iter().flatten())
            .filter(fits)
    }

    /// The shortest list of series that an equality allows; none when there is no equality.
    fn fewest(&self, matchers: &[Matcher]) -> Option<&[u32]> {
        matchers
            .iter()
            .filter(|matcher| matcher.op() == MatchOp::Equal && !matcher.value().is_empty())
            .map(|matcher| {
                self.postings
                    .get(matcher.name())
                    .and_then(|values| values.get(matcher.value()))
                    .map_or(&[][..], Vec::as_slice)
            })
            .min_by_key(|ids| ids.len())
    }
}
