//! Evidence for findings that are shown and ranked, and never act alone.

use crate::verdict::process::{Tally, guess};

/// ln of the evidence that a rate rose over its reference: the likelihood ratio of two rates against one,
/// with Schwarz's penalty for the second (Schwarz 1978); zero when it did not rise.
pub(crate) fn rise(reference: Tally, now: Tally) -> f64 {
    let low = guess((reference.bad as f64 + 0.5) / (reference.units as f64 + 1.0));
    let rate = guess(now.rate());
    if now.units == 0 || rate <= low {
        return 0.0;
    }
    let pooled = guess((reference.bad + now.bad) as f64 / (reference.units + now.units).max(1) as f64);
    let gained = now.log_ratio(rate, pooled) + reference.log_ratio(low, pooled);
    (gained - 0.5 * (now.units as f64).ln()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_told_from_chance() {
        assert!(rise(Tally::new(1_000, 10), Tally::new(200, 2)) < 1.0);
        assert_eq!(rise(Tally::new(1_000, 10), Tally::new(200, 0)), 0.0);
        assert!(rise(Tally::new(1_000, 10), Tally::new(200, 40)) > 20.0);
        let mut random = fastrand::Rng::with_seed(1);
        let strong = (0..2_000).filter(|_| {
            let draw = |random: &mut fastrand::Rng, n: u64| {
                Tally::new(n, (0..n).filter(|_| random.f64() < 0.05).count() as u64)
            };
            let (reference, now) = (draw(&mut random, 400), draw(&mut random, 200));
            rise(reference, now) > 100f64.ln()
        });
        assert!(strong.count() < 5);
    }
}
