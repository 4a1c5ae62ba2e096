//! A latency histogram whose bucket bounds are fixed for everyone, so that counts from any process
//! add up exactly and a threshold laid on a bound splits them exactly.

use serde::{Deserialize, Serialize};

/// Sub-buckets per power of two: bounds are at most 6.25 % apart.
const SUB_BUCKETS: u64 = 16;
/// 2^36 µs is 19 hours; longer is counted in the last bucket.
const EXPONENT_MAX: u32 = 36;
/// One past the largest bucket number.
const BUCKETS: u16 = (SUB_BUCKETS as u16) * (EXPONENT_MAX as u16 - 4 + 2);

/// Counts of latencies in log-linear buckets (the scheme of HdrHistogram: 16 linear steps within
/// each power of two of microseconds), kept sparse and sorted by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LatencyHistogram {
    counts: Vec<(u16, u64)>,
}

impl LatencyHistogram {
    /// How many buckets the scheme has; bucket numbers are below it.
    pub const BUCKETS: u16 = BUCKETS;

    /// The bucket that a latency in microseconds falls into.
    pub fn bucket_of(micros: u64) -> u16 {
        let micros = micros.min((1 << EXPONENT_MAX) - 1);
        if micros < SUB_BUCKETS {
            return micros as u16;
        }
        let exponent = micros.ilog2();
        let sub = (micros >> (exponent - 4)) - SUB_BUCKETS;
        ((exponent - 3) * SUB_BUCKETS as u32 + sub as u32) as u16
    }

    /// The least latency of a bucket in microseconds: everything in lower buckets is below it.
    pub fn lower_bound(bucket: u16) -> u64 {
        let (group, sub) = (
            u32::from(bucket) / SUB_BUCKETS as u32,
            u64::from(bucket) % SUB_BUCKETS,
        );
        if group == 0 {
            sub
        } else {
            (SUB_BUCKETS + sub) << (group - 1)
        }
    }

    /// Counts one latency.
    pub fn record(&mut self, micros: u64) {
        self.add(Self::bucket_of(micros), 1);
    }

    /// Counts `count` latencies in `bucket`.
    pub fn add(&mut self, bucket: u16, count: u64) {
        if count == 0 {
            return;
        }
        match self.counts.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => self.counts[at].1 += count,
            Err(at) => self.counts.insert(at, (bucket, count)),
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &LatencyHistogram) {
        for &(bucket, count) in &other.counts {
            self.add(bucket, count);
        }
    }

    /// Bucket numbers with their counts, lowest first; no count is zero.
    pub fn buckets(&self) -> &[(u16, u64)] {
        &self.counts
    }

    /// How many latencies were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// How many lie in `bucket` or above.
    pub fn at_or_above(&self, bucket: u16) -> u64 {
        self.counts
            .iter()
            .filter(|(b, _)| *b >= bucket)
            .map(|(_, count)| count)
            .sum()
    }

    /// The bucket that holds the `quantile` (0 to 1) of what was counted; none when empty.
    pub fn quantile_bucket(&self, quantile: f64) -> Option<u16> {
        let rank = (quantile.clamp(0.0, 1.0) * self.total() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.counts.iter().find_map(|&(bucket, count)| {
            seen += count;
            (seen >= rank).then_some(bucket)
        })
    }

    /// The `quantile` in microseconds: the middle of its bucket; none when empty.
    pub fn quantile_micros(&self, quantile: f64) -> Option<f64> {
        let bucket = self.quantile_bucket(quantile)?;
        Some((Self::lower_bound(bucket) + Self::lower_bound(bucket + 1)) as f64 / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_latency_lies_within_its_bucket(micros in 0u64..(1 << EXPONENT_MAX)) {
            let bucket = LatencyHistogram::bucket_of(micros);
            prop_assert!(bucket < BUCKETS);
            prop_assert!(LatencyHistogram::lower_bound(bucket) <= micros);
            prop_assert!(micros < LatencyHistogram::lower_bound(bucket + 1));
        }

        #[test]
        fn bounds_are_close(micros in 16u64..(1 << 35)) {
            let bucket = LatencyHistogram::bucket_of(micros);
            let low = LatencyHistogram::lower_bound(bucket) as f64;
            let high = LatencyHistogram::lower_bound(bucket + 1) as f64;
            prop_assert!(high / low <= 1.0625 + 1e-9);
        }
    }

    #[test]
    fn quantiles_and_exceedances() {
        let mut histogram = LatencyHistogram::default();
        for micros in 1..=1000 {
            histogram.record(micros);
        }
        histogram.record(u64::MAX);
        assert_eq!(histogram.total(), 1001);
        assert!((470.0..530.0).contains(&histogram.quantile_micros(0.5).unwrap_or(0.0)));
        let threshold = histogram.quantile_bucket(0.9).unwrap_or(0);
        assert_eq!(
            histogram.at_or_above(threshold),
            1001 - LatencyHistogram::lower_bound(threshold) + 1
        );
    }
}
