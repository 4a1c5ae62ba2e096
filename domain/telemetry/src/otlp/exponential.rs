//! Exponential histograms become classic buckets at the powers of two.
//!
//! A bucket of an exponential histogram of scale `s` ends at `2^((index + 1) / 2^s)`. With a scale of
//! zero or more each lies within one power of two, so nothing is guessed, only coarsened. With a
//! negative scale a bucket spans several powers and is counted at its upper end. The bounds are fixed:
//! bounds that move with the data would break the series of each bucket.

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;

/// The lowest bucket ends at two to this power (about one millionth); all below are counted there.
pub const EXPONENT_MIN: i32 = -20;
/// The highest finite bucket ends at two to this power (about a milliard); all above are in `+Inf`.
pub const EXPONENT_MAX: i32 = 30;

/// The upper bounds, ascending, without `+Inf`.
pub(super) fn bounds() -> Vec<f64> {
    (EXPONENT_MIN..=EXPONENT_MAX)
        .map(|power| 2f64.powi(power))
        .collect()
}

/// How many values each bucket holds (not cumulative), the last for `+Inf`.
pub(super) fn counts(point: &ExponentialHistogramDataPoint) -> Vec<u64> {
    let buckets = (EXPONENT_MAX - EXPONENT_MIN) as usize + 2;
    let mut counts = vec![0u64; buckets];
    let negative: u64 = point
        .negative
        .iter()
        .flat_map(|b| &b.bucket_counts)
        .fold(0, |a, b| a.saturating_add(*b));
    counts[0] = negative.saturating_add(point.zero_count);
    if let Some(positive) = &point.positive {
        for (at, count) in positive.bucket_counts.iter().enumerate() {
            let index = i64::from(positive.offset).saturating_add(at as i64);
            let power = upper_power(index, point.scale);
            let place = (power - i64::from(EXPONENT_MIN)).clamp(0, buckets as i64 - 1) as usize;
            counts[place] = counts[place].saturating_add(*count);
        }
    }
    counts
}

/// The least power of two that is not below the bucket's upper end.
fn upper_power(index: i64, scale: i32) -> i64 {
    let upper = index.saturating_add(1);
    if scale >= 0 {
        // ceil(upper / 2^scale); beyond 62 the divisor is larger than any index.
        let scale = scale.min(62);
        let floor = upper >> scale;
        if upper == floor << scale { floor } else { floor + 1 }
    } else {
        let factor = 1i64 << scale.unsigned_abs().min(40);
        upper.saturating_mul(factor)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

    use super::*;

    fn place_of(bound: f64) -> usize {
        bounds()
            .iter()
            .position(|b| *b == bound)
            .unwrap_or(bounds().len())
    }

    #[test]
    fn every_value_lands_below_the_right_power_of_two() {
        // Scale 1: bucket i is (2^(i/2), 2^((i+1)/2)].
        for (scale, index, bound) in [
            (1, 0, 2.0),
            (1, 1, 2.0),
            (1, 2, 4.0),
            (1, -1, 1.0),
            (1, -2, 1.0),
            (1, -3, 0.5),
            (0, 0, 2.0),
            (-1, 0, 4.0),
            (-1, -1, 1.0),
            (20, 0, 2.0),
            (20, -1, 1.0),
        ] {
            let point = ExponentialHistogramDataPoint {
                scale,
                positive: Some(Buckets {
                    offset: index,
                    bucket_counts: vec![7],
                }),
                zero_count: 1,
                ..Default::default()
            };
            let counts = counts(&point);
            assert_eq!(counts[place_of(bound)], 7, "scale {scale} index {index}");
            assert_eq!(counts[0], 1);
        }
    }

    #[test]
    fn extremes_stay_inside() {
        for (scale, offset) in [
            (i32::MIN, i32::MAX),
            (i32::MAX, i32::MIN),
            (0, i32::MAX),
            (0, i32::MIN),
        ] {
            let point = ExponentialHistogramDataPoint {
                scale,
                positive: Some(Buckets {
                    offset,
                    bucket_counts: vec![u64::MAX, u64::MAX],
                }),
                ..Default::default()
            };
            assert_eq!(counts(&point).len(), bounds().len() + 1);
        }
    }
}
