//! Intervals for people that hold at every moment at once: they may be watched like the verdict.
//!
//! Both rest on the beta-binomial mixture: for independent outcomes of rate p the ratio of the
//! mixture's likelihood to that at p is a martingale of mean one, so the rates at which it is below
//! 1/alpha cover the true one at all times together with a chance of 1 - alpha (Robbins 1970; Howard,
//! Ramdas, McAuliffe and Sekhon, arXiv 1810.08240). For a quantile the outcome is "at or below the
//! quantile", whose rate is known: Howard and Ramdas, arXiv 1906.09712.

use trimtab_model::LatencyHistogram;

use super::process::Tally;

/// ln of the gamma function for positive arguments (Stirling's series after shifting to 8 and more).
fn log_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 8.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

fn log_beta(a: f64, b: f64) -> f64 {
    log_gamma(a) + log_gamma(b) - log_gamma(a + b)
}

/// ln of the chance of `next` in its order, after `seen` from the same unknown rate (Jeffreys' prior).
pub(crate) fn log_predictive(next: Tally, seen: Tally) -> f64 {
    let (bad, good) = (seen.bad as f64 + 0.5, (seen.units - seen.bad) as f64 + 0.5);
    let (more_bad, more_good) = (next.bad as f64, (next.units - next.bad) as f64);
    log_beta(bad + more_bad, good + more_good) - log_beta(bad, good)
}

/// ln of the evidence against rate `p`, with the mixture Beta(`prior_bad`, `prior_good`).
fn log_evidence(tally: Tally, p: f64, prior_bad: f64, prior_good: f64) -> f64 {
    let (bad, good) = (tally.bad as f64, (tally.units - tally.bad) as f64);
    let mixture = log_beta(bad + prior_bad, good + prior_good) - log_beta(prior_bad, prior_good);
    let part = |count: f64, p: f64| if count == 0.0 { 0.0 } else { count * p.ln() };
    mixture - part(bad, p) - part(good, 1.0 - p)
}

/// The anytime-valid interval of the rate behind a tally.
pub(crate) fn rate_interval(tally: Tally, alpha: f64) -> (f64, f64) {
    if tally.units == 0 {
        return (0.0, 1.0);
    }
    let limit = (1.0 / alpha).ln();
    let inside = |p: f64| log_evidence(tally, p, 0.5, 0.5) < limit;
    let middle = tally.rate();
    // The evidence is convex in p with its least value at the observed rate.
    let search = |mut out: f64, mut at: f64| {
        for _ in 0..50 {
            let half = (out + at) / 2.0;
            if inside(half) {
                at = half;
            } else {
                out = half;
            }
        }
        at
    };
    let low = if tally.bad == 0 { 0.0 } else { search(0.0, middle) };
    let high = if tally.bad == tally.units {
        1.0
    } else {
        search(1.0, middle)
    };
    (low, high)
}

/// The anytime-valid interval of candidate's rate less baseline's: each arm's interval at half of alpha.
pub(crate) fn effect_interval(baseline: Tally, candidate: Tally, alpha: f64) -> (f64, f64) {
    let (base_low, base_high) = rate_interval(baseline, alpha / 2.0);
    let (low, high) = rate_interval(candidate, alpha / 2.0);
    (low - base_high, high - base_low)
}

/// The anytime-valid interval of a quantile in microseconds, out to bucket bounds; none while too little
/// was seen to bound it from above.
pub(crate) fn quantile_interval(
    histogram: &LatencyHistogram,
    quantile: f64,
    alpha: f64,
) -> Option<(f64, f64)> {
    let total = histogram.total();
    let limit = (1.0 / alpha).ln();
    let strength = 4.0;
    let plausible = |at_or_below: u64| {
        let tally = Tally::new(total, at_or_below);
        log_evidence(tally, quantile, strength * quantile, strength * (1.0 - quantile)) < limit
    };
    // Between two buckets that hold something the count at or below stays the same, so the interval runs
    // from where the count becomes plausible to where it no longer is.
    let mut low = plausible(0).then_some(0.0);
    let mut below = 0;
    for &(bucket, count) in histogram.buckets() {
        let with = below + count;
        let expected = (quantile * total as f64).round() as u64;
        let inside = plausible(with) || (below..=with).contains(&expected);
        if low.is_none() && inside {
            low = Some(LatencyHistogram::lower_bound(bucket) as f64);
        }
        if with > expected && !plausible(with) {
            return low.map(|low| (low, LatencyHistogram::lower_bound(bucket + 1) as f64));
        }
        below = with;
    }
    None
}

/// The anytime-valid interval of the median of what `sorted` holds, in growing order; none while too little was
/// seen to bound it on both sides.
pub(crate) fn median_interval(sorted: &[f64], alpha: f64) -> Option<(f64, f64)> {
    let n = sorted.len() as u64;
    let limit = (1.0 / alpha).ln();
    // The number at or below the median is a fair coin's; symmetric, so one side tells both.
    let outside = |below: u64| log_evidence(Tally::new(n, below), 0.5, 2.0, 2.0) >= limit;
    let cut = (0..=n / 2).take_while(|below| outside(*below)).count();
    let low = cut.checked_sub(1)?;
    Some((*sorted.get(low)?, *sorted.get(sorted.len() - 1 - low)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_gamma_knows_factorials() {
        for (x, factorial) in [(1.0, 1.0), (2.0, 1.0), (5.0, 24.0), (11.0, 3_628_800.0f64)] {
            assert!((log_gamma(x) - f64::ln(factorial)).abs() < 1e-8, "{x}");
        }
        assert!((log_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-8);
    }

    #[test]
    fn intervals_hold_at_all_times_together() {
        let mut random = fastrand::Rng::with_seed(7);
        let (runs, mut rate_missed, mut quantile_missed) = (400, 0, 0);
        for _ in 0..runs {
            let (mut tally, mut histogram) = (Tally::default(), LatencyHistogram::default());
            let (mut missed, mut lost) = (false, false);
            for _ in 0..400 {
                tally.add(Tally::new(1, u64::from(random.f64() < 0.07)));
                let (low, high) = rate_interval(tally, 0.05);
                missed |= !(low..=high).contains(&0.07);
                histogram.record((random.f64() * 100_000.0) as u64);
                let (low, high) = quantile_interval(&histogram, 0.9, 0.05).unwrap_or((0.0, f64::MAX));
                lost |= !(low..=high).contains(&90_000.0);
            }
            rate_missed += u32::from(missed);
            quantile_missed += u32::from(lost);
        }
        assert!(rate_missed <= 30, "{rate_missed} of {runs}");
        assert!(quantile_missed <= 30, "{quantile_missed} of {runs}");
    }

    #[test]
    fn intervals_narrow() {
        let (low, high) = rate_interval(Tally::new(10_000, 100), 0.05);
        assert!(low > 0.006 && high < 0.015, "{low} {high}");
        let mut histogram = LatencyHistogram::default();
        (0..5_000).for_each(|i| histogram.record(i * 20));
        let (low, high) = quantile_interval(&histogram, 0.9, 0.05).unwrap_or_default();
        assert!(low > 82_000.0 && high < 98_500.0, "{low} {high}");
        assert_eq!(rate_interval(Tally::new(50, 0), 0.05).0, 0.0);
        assert_eq!(rate_interval(Tally::new(50, 50), 0.05).1, 1.0);
    }
}
