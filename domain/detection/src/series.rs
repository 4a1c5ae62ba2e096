//! Outliers and change points in metric series, one value at a time.
//!
//! Three simple forecasts compete: the median of earlier seasons at the same phase, the median of the latest
//! values, and a smoothed last value; the one whose residuals were smallest lately is believed (follow the
//! leader; Littlestone and Warmuth 1994). Its residual is measured in robust standard deviations (quartile
//! distance; Huber, "Robust Statistics", 1981), so that anomalies do not widen what counts as usual. A
//! two-sided CUSUM (Page, "Continuous inspection schemes", Biometrika 1954) over clipped residuals finds
//! levels that moved for good. After a finding there is a pause, except for something yet stronger.

mod season;
mod window;

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

use crate::anomaly::{Anomaly, Kind, Scope, Signal};
use crate::words::{cut, figure};
use season::Season;
use window::Window;

/// How a series is looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesConfig {
    /// Length of the season.
    pub season_ms: i64,
    /// Values that the local median and the spread of residuals come from.
    pub window: usize,
    /// Robust standard deviations at which a value is an outlier.
    pub deviations: f64,
    /// CUSUM's slack: shifts of less than twice this many standard deviations are let pass.
    pub slack: f64,
    /// CUSUM's limit, in standard deviations.
    pub limit: f64,
    /// Values after a finding in which only stronger ones are reported.
    pub pause: usize,
    /// Values before anything is reported.
    pub warm_up: usize,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        SeriesConfig {
            season_ms: 86_400_000,
            window: 120,
            deviations: 8.0,
            slack: 1.5,
            limit: 40.0,
            pause: 200,
            warm_up: 40,
        }
    }
}

/// A forecast and how well it did lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Forecast {
    residuals: Window,
    loss: f64,
}

impl Forecast {
    fn new(window: usize) -> Self {
        Forecast {
            residuals: Window::new(window),
            loss: f64::MAX,
        }
    }

    /// Takes a residual; the running loss is Huber's: an outlier counts for no more than three spreads.
    fn add(&mut self, residual: f64) {
        let clip = (3.0 * self.residuals.spread()).max(f64::MIN_POSITIVE);
        let cost = if self.residuals.len() < 8 {
            residual.abs()
        } else {
            residual.abs().min(clip)
        };
        self.loss = if self.loss < f64::MAX {
            self.loss + LOSS_GAIN * (cost - self.loss)
        } else {
            cost
        };
        self.residuals.push(residual);
    }
}

/// How fast the running loss of a forecast follows.
const LOSS_GAIN: f64 = 0.03;
/// How fast the smoothed last value follows.
const LEVEL_GAIN: f64 = 0.4;
/// Sizes of residuals that are remembered to know the tail.
const SIZES: usize = 2_000;
/// News is what exceeds the tail by this factor.
const EXTREME_FACTOR: f64 = 1.3;
/// The spread is never taken for smaller than this share of the level.
const SPREAD_SHARE_MIN: f64 = 0.005;

/// What one value came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What was expected.
    pub expected: f64,
    /// The residual in robust standard deviations; negative below.
    pub deviations: f64,
    /// 0 to 1; 0.5 is the limit of what is reported.
    pub score: f64,
    /// An outlier or a change point, when one is to be reported.
    pub found: Option<Kind>,
}

/// Follows one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    config: SeriesConfig,
    season: Season,
    local: Window,
    sizes: Window,
    level: Option<f64>,
    forecasts: Vec<Forecast>,
    up: f64,
    down: f64,
    seen: usize,
    quiet: usize,
    strongest: f64,
    shift_onset: Option<Timestamp>,
    last_at: i64,
}

impl Detector {
    /// A detector that has seen nothing.
    pub fn new(config: SeriesConfig) -> Self {
        Detector {
            season: Season::new(config.season_ms),
            local: Window::new(config.window),
            sizes: Window::new(SIZES),
            level: None,
            forecasts: vec![Forecast::new(config.window * 3); 3],
            up: 0.0,
            down: 0.0,
            seen: 0,
            quiet: 0,
            strongest: 0.0,
            shift_onset: None,
            last_at: i64::MIN,
            config,
        }
    }

    /// Takes the next value. Values that are not finite, and those older than the last, are passed over.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> Option<Observation> {
        if !value.is_finite() || at.0 <= self.last_at {
            return None;
        }
        self.last_at = at.0;
        let forecasts = [self.season.expected(at.0), self.local.median(), self.level];
        let best = (0..3)
            .filter(|n| forecasts[*n].is_some() && self.forecasts[*n].residuals.len() >= 8)
            .min_by(|x, y| self.forecasts[*x].loss.total_cmp(&self.forecasts[*y].loss));
        let observation = best.map(|best| self.judge(at, value, forecasts[best].unwrap_or(value), best));
        for (forecast, expected) in self.forecasts.iter_mut().zip(forecasts) {
            if let Some(expected) = expected {
                forecast.add(value - expected);
            }
        }
        self.season.push(at.0, value);
        self.local.push(value);
        self.level = Some(
            self.level
                .map_or(value, |level| level + LEVEL_GAIN * (value - level)),
        );
        self.seen += 1;
        observation
    }

    fn judge(&mut self, at: Timestamp, value: f64, expected: f64, best: usize) -> Observation {
        let size = self.local.quantile(0.9).unwrap_or(0.0).abs().max(expected.abs());
        let floor = (SPREAD_SHARE_MIN * size).max(1e-12);
        let spread = self.forecasts[best].residuals.spread().max(floor);
        let deviations = (value - expected) / spread;
        // A series with a heavy tail raises its own limit (peaks over a threshold, Siffer et al., KDD 2017,
        // in a plain form): what it shows now and then is no news.
        let usual = self.sizes.quantile(0.995).unwrap_or(0.0) * EXTREME_FACTOR;
        let limit = self.config.deviations.max(usual);
        self.sizes.push(deviations.abs());
        let outlier = 1.0 - 0.5f64.powf((deviations.abs() / limit).powf(1.5));
        let shift = self.shift(at, value);
        let score = outlier.max(shift);
        self.quiet = self.quiet.saturating_sub(1);
        if self.quiet == 0 {
            self.strongest = 0.0;
        }
        let report = self.seen >= self.config.warm_up && score >= 0.5 && score > self.strongest * 1.05;
        let found = report.then_some(if shift > outlier {
            Kind::ChangePoint
        } else {
            Kind::Outlier
        });
        if report {
            self.quiet = self.config.pause;
            self.strongest = score;
        }
        let quiet = self.quiet > 0 && !report;
        Observation {
            expected,
            deviations,
            score: if quiet { score * 0.5 } else { score },
            found,
        }
    }

    /// The CUSUM's score; when it passes its limit the new level is taken for the usual one.
    fn shift(&mut self, at: Timestamp, value: f64) -> f64 {
        let seasonal = self
            .season
            .expected(at.0)
            .filter(|_| self.forecasts[0].loss <= self.forecasts[1].loss);
        let Some(usual) = seasonal.or_else(|| self.local.median()) else {
            return 0.0;
        };
        let number = usize::from(seasonal.is_none());
        let floor = (SPREAD_SHARE_MIN * usual.abs()).max(1e-12);
        let spread = self.forecasts[number].residuals.spread().max(floor);
        let z = ((value - usual) / spread).clamp(-4.0, 4.0);
        if self.up <= 0.0 && self.down <= 0.0 {
            self.shift_onset = Some(at);
        }
        self.up = (self.up + z - self.config.slack).max(0.0);
        self.down = (self.down - z - self.config.slack).max(0.0);
        let sum = self.up.max(self.down);
        if sum >= self.config.limit {
            (self.up, self.down) = (0.0, 0.0);
            self.local.clear();
            return 0.55;
        }
        0.0
    }

    /// The last value, if any was seen.
    pub fn last(&self) -> Option<f64> {
        self.local.last()
    }

    /// An observation as an anomaly; none when nothing is to be reported. `name` is the series' name and
    /// labels for people.
    pub fn anomaly(
        &self,
        name: &str,
        at: Timestamp,
        value: f64,
        observation: &Observation,
        scope: &Scope,
    ) -> Option<Anomaly> {
        let kind = observation.found?;
        let onset = if kind == Kind::ChangePoint {
            self.shift_onset.unwrap_or(at)
        } else {
            at
        };
        let direction = if value >= observation.expected {
            "up"
        } else {
            "down"
        };
        let text = match kind {
            Kind::ChangePoint => format!(
                "{} moved {direction} for good: {} where {} was usual",
                cut(name, 160),
                figure(value),
                figure(observation.expected)
            ),
            _ => format!(
                "{} is {}, {} was expected ({} robust standard deviations off)",
                cut(name, 160),
                figure(value),
                figure(observation.expected),
                figure(observation.deviations.abs())
            ),
        };
        Some(scope.anomaly(Signal::Metrics, kind, at, onset).with(
            name.to_owned(),
            observation.score,
            (value, observation.expected, ""),
            text,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(random: &mut fastrand::Rng) -> f64 {
        (0..6).map(|_| random.f64() - 0.5).sum::<f64>()
    }

    fn play(values: impl Iterator<Item = f64>) -> Vec<(usize, Kind, f64)> {
        let mut detector = Detector::new(SeriesConfig::default());
        values
            .enumerate()
            .filter_map(|(n, value)| {
                let observation = detector.observe(Timestamp(n as i64 * 300_000), value)?;
                observation.found.map(|kind| (n, kind, observation.score))
            })
            .collect()
    }

    /// Five minutes apart, ten days, with a daily wave.
    fn day(n: usize, random: &mut fastrand::Rng) -> f64 {
        let wave = (n as f64 / 288.0 * 2.0 * std::f64::consts::PI).sin();
        100.0 + 40.0 * wave + 2.0 * noise(random)
    }

    #[test]
    fn a_spike_is_found_and_the_season_is_not() {
        let mut random = fastrand::Rng::with_seed(1);
        let spiked = |n| if n == 2_000 { 400.0 } else { day(n, &mut random) };
        let found = play((0..2_880).map(spiked));
        // The first day's climb is news; later ones are known.
        let later: Vec<_> = found
            .iter()
            .filter(|(n, ..)| *n >= 288)
            .map(|(n, kind, _)| (*n, *kind))
            .collect();
        assert_eq!(later, [(2_000, Kind::Outlier)], "{found:?}");
    }

    #[test]
    fn a_flat_day_is_found_by_its_season() {
        let mut random = fastrand::Rng::with_seed(2);
        let flat = |n: usize, random: &mut fastrand::Rng| {
            let value = day(n, random);
            if (2_592..2_736).contains(&n) {
                62.0 + noise(random)
            } else {
                value
            }
        };
        let found = play((0..2_880).map(|n| flat(n, &mut random)));
        assert!(
            found.iter().any(|(n, ..)| (2_592..2_736).contains(n)),
            "{found:?}"
        );
    }

    #[test]
    fn a_level_that_moved_is_found_once() {
        let mut random = fastrand::Rng::with_seed(3);
        let found = play((0..1_000).map(|n| if n >= 600 { 106.0 } else { 100.0 } + noise(&mut random)));
        assert!(!found.is_empty() && found.len() <= 2, "{found:?}");
        assert!((600..640).contains(&found[0].0), "{found:?}");
    }

    #[test]
    fn noise_is_quiet_and_odd_values_do_no_harm() {
        let mut random = fastrand::Rng::with_seed(4);
        let found = play((0..5_000).map(|_| noise(&mut random)));
        assert!(found.len() <= 1, "{found:?}");
        let odd = [f64::NAN, f64::INFINITY, 0.0, 1e300, -1e300, 0.0];
        play(odd.iter().copied().cycle().take(500));
        assert_eq!(play((0..500).map(|_| 7.0)), vec![]);
        let mut detector = Detector::new(SeriesConfig::default());
        detector.observe(Timestamp(10), 1.0);
        assert_eq!(detector.observe(Timestamp(5), 1.0), None);
    }

    #[test]
    fn a_finding_reads_well() {
        let mut detector = Detector::new(SeriesConfig::default());
        let mut random = fastrand::Rng::with_seed(5);
        for n in 0..100 {
            detector.observe(Timestamp(n * 1_000), 50.0 + noise(&mut random));
        }
        let at = Timestamp(100_000);
        let anomaly = detector
            .observe(at, 500.0)
            .and_then(|o| detector.anomaly("cpu{instance=\"a\"}", at, 500.0, &o, &Scope::default()));
        let text = anomaly.map(|a| a.text).unwrap_or_default();
        assert!(text.starts_with("cpu{instance=\"a\"} is 500"), "{text}");
    }
}
