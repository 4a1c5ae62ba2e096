//! Quantiles of classic histograms.

use std::collections::BTreeMap;

use super::aggregate::ascending;
use super::eval::Element;
use crate::{Labels, METRIC_NAME};

struct Bucket {
    upper: f64,
    count: f64,
}

/// For each histogram among the `_bucket` elements the value below which the share `q` lies.
pub(super) fn quantiles(q: f64, elements: Vec<Element>) -> Vec<Element> {
    let mut histograms = BTreeMap::<Labels, Vec<Bucket>>::new();
    for (labels, count) in elements {
        let Some(upper) = labels.get("le").and_then(|le| le.parse().ok()) else {
            continue;
        };
        let rest = labels.filtered(|name| name != "le" && name != METRIC_NAME);
        histograms.entry(rest).or_default().push(Bucket { upper, count });
    }
    histograms
        .into_iter()
        .map(|(labels, buckets)| (labels, quantile(q, buckets)))
        .collect()
}

/// Interpolates linearly within the bucket that holds the rank; the lowest bucket begins at zero, and
/// beyond the highest finite bound its own value is all that can be said.
fn quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| ascending(a.upper, b.upper));
    buckets.dedup_by(|later, kept| {
        let same = later.upper == kept.upper;
        if same {
            kept.count += later.count;
        }
        same
    });
    // Scrapes and sums may tear: a cumulative count never falls.
    let mut highest = 0.0f64;
    for bucket in &mut buckets {
        highest = highest.max(bucket.count);
        bucket.count = highest;
    }
    let [finite @ .., infinite] = buckets.as_slice() else {
        return f64::NAN;
    };
    if finite.is_empty()
        || infinite.upper != f64::INFINITY
        || infinite.count == 0.0
        || infinite.count.is_nan()
    {
        return f64::NAN;
    }
    let rank = q * infinite.count;
    let Some(place) = finite.iter().position(|bucket| bucket.count >= rank) else {
        return finite[finite.len() - 1].upper;
    };
    let bucket = &finite[place];
    if place == 0 && bucket.upper <= 0.0 {
        return bucket.upper;
    }
    let (start, below) = match place.checked_sub(1).map(|before| &finite[before]) {
        Some(before) => (before.upper, before.count),
        None => (0.0, 0.0),
    };
    start + (bucket.upper - start) * ((rank - below) / (bucket.count - below))
}
