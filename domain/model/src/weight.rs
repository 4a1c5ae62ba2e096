//! A share of traffic.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a number cannot be a weight.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0} is not a weight: use a share from 0 to 100 %")]
pub struct WeightError(pub f64);

/// A share of traffic in hundredths of a per cent, 0 to 10,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Weight(u16);

impl Weight {
    /// No traffic.
    pub const ZERO: Weight = Weight(0);
    /// All of it.
    pub const FULL: Weight = Weight(10_000);

    /// From per cent, rounded to a hundredth of one.
    pub fn from_percent(percent: f64) -> Result<Self, WeightError> {
        if (0.0..=100.0).contains(&percent) {
            Ok(Weight((percent * 100.0).round() as u16))
        } else {
            Err(WeightError(percent))
        }
    }

    /// From hundredths of a per cent.
    pub fn from_basis_points(points: u16) -> Result<Self, WeightError> {
        if points <= 10_000 {
            Ok(Weight(points))
        } else {
            Err(WeightError(f64::from(points) / 100.0))
        }
    }

    /// In hundredths of a per cent.
    pub fn basis_points(self) -> u16 {
        self.0
    }

    /// In per cent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// As a probability from 0 to 1.
    pub fn probability(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// What is left of the whole.
    pub fn complement(self) -> Self {
        Weight(10_000 - self.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_basis_points(u16::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_stay_in_range() {
        assert_eq!(Weight::from_percent(5.0).map(Weight::probability), Ok(0.05));
        assert!(Weight::from_percent(100.1).is_err());
        assert!(Weight::from_percent(f64::NAN).is_err());
        assert_eq!(
            Weight::from_percent(95.0).map(Weight::complement),
            Weight::from_percent(5.0)
        );
        assert!(serde_json::from_str::<Weight>("10001").is_err());
    }
}
