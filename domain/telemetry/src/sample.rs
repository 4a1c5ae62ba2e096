//! One value of one series at one instant.

use serde::{Deserialize, Serialize};

use crate::Labels;

/// The bits of the NaN that Prometheus uses to say "this series has ended": no other NaN ends one.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The value that ends a series until its next sample.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a value is the marker that ends a series.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One value of one series.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// The series.
    pub labels: Labels,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// The value; NaN and infinities are values too.
    #[serde(with = "number")]
    pub value: f64,
}

impl PartialEq for Sample {
    /// Compares values by their bits, so that a NaN equals itself and the stale marker differs from it.
    fn eq(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.at_ms == other.at_ms
            && self.value.to_bits() == other.value.to_bits()
    }
}

/// The points of one series within some time, oldest first, one per instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesData {
    /// The series.
    pub labels: Labels,
    /// Milliseconds since the epoch, and the value.
    pub points: Vec<(i64, f64)>,
}

/// Serde for numbers that JSON lacks: they become text.
pub(crate) mod number {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    use super::{is_stale, stale_marker};

    /// The number as Prometheus writes it.
    pub(crate) fn text(value: f64) -> String {
        if is_stale(value) {
            "stale".to_owned()
        } else if value.is_nan() {
            "NaN".to_owned()
        } else if value.is_infinite() {
            if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
        } else {
            value.to_string()
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(*value)
        } else {
            serializer.serialize_str(&text(*value))
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = f64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"+Inf\", \"-Inf\" or \"stale\"")
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
                match text {
                    "stale" => Ok(stale_marker()),
                    "NaN" => Ok(f64::NAN),
                    "+Inf" => Ok(f64::INFINITY),
                    "-Inf" => Ok(f64::NEG_INFINITY),
                    other => Err(E::custom(format!("{other:?} is not a number"))),
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn every_value_survives_json() {
        for value in [
            0.0,
            -1.5,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            stale_marker(),
        ] {
            let sample = Sample {
                labels: Labels::from_pairs([("a", "b")]),
                at_ms: -3,
                value,
            };
            let json = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Sample>(&json).unwrap(), sample, "{json}");
        }
        assert!(is_stale(stale_marker()) && !is_stale(f64::NAN));
    }
}
