//! When to try again.

use std::time::Duration;

/// How often and how patiently a message is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Attempts before a message is a dead letter.
    pub attempts_max: u32,
    /// Pause after the first failure; doubles with each further one.
    pub pause_min: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// One attempt takes no longer.
    pub attempt_timeout: Duration,
    /// Seed of the jitter.
    pub jitter_seed: u64,
}

impl Default for Schedule {
    /// Ten attempts over some 20 minutes.
    fn default() -> Self {
        Schedule {
            attempts_max: 10,
            pause_min: Duration::from_secs(2),
            pause_max: Duration::from_secs(300),
            attempt_timeout: Duration::from_secs(15),
            jitter_seed: 0,
        }
    }
}

impl Schedule {
    /// The pause after failed attempt number `attempt` (from 1) of delivery `id`: doubled each time, then
    /// shortened by up to half, so that many messages to a receiver that comes back don't arrive at once.
    pub(crate) fn pause(&self, id: i64, attempt: u32) -> Duration {
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1).min(30));
        let whole = self.pause_min.saturating_mul(doubled).min(self.pause_max);
        let seed = self.jitter_seed ^ (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(attempt);
        let share = (split_mix(seed) >> 11) as f64 / (1u64 << 53) as f64;
        whole.mul_f64(1.0 - share / 2.0)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): a well mixed number from any seed.
fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stop_growing() {
        let schedule = Schedule::default();
        for id in 0..50 {
            for attempt in 1..40 {
                let whole = Duration::from_secs(2u64 << (attempt - 1).min(20)).min(schedule.pause_max);
                let pause = schedule.pause(id, attempt);
                assert!(pause <= whole && pause >= whole / 2, "{id} {attempt} {pause:?}");
            }
        }
        assert_ne!(schedule.pause(1, 1), schedule.pause(2, 1));
        assert_eq!(schedule.pause(1, 1), schedule.pause(1, 1));
    }
}
