//! A point in time as people and programs exchange it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trimtab_model::Timestamp;

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: use RFC 3339, for example 2026-01-31T12:00:00Z")]
pub struct MomentError(pub String);

/// A time that travels as RFC 3339 text in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Timestamp);

impl Moment {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Moment(Timestamp(millis))
    }

    /// In milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0.0
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Moment(at)
    }
}

impl From<Moment> for Timestamp {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Times beyond what jiff can hold are shown as its ends, so that printing cannot fail.
        let at = jiff::Timestamp::from_millisecond(self.millis()).unwrap_or(if self.millis() < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        f.pad(&format!("{at:.3}"))
    }
}

impl FromStr for Moment {
    type Err = MomentError;
    fn from_str(text: &str) -> Result<Self, MomentError> {
        let cut = || MomentError(text.chars().take(80).collect());
        let at: jiff::Timestamp = text.parse().map_err(|_| cut())?;
        Ok(Moment::from_millis(at.as_millisecond()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time", "description": "RFC 3339, in UTC"})
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn times_travel_as_text_and_return() {
        let moment = Moment::from_millis(1_769_860_800_123);
        let text = serde_json::to_string(&moment).unwrap();
        assert_eq!(text, "\"2026-01-31T12:00:00.123Z\"");
        assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), moment);
        assert_eq!("2026-01-31T15:00:00.123+03:00".parse::<Moment>().unwrap(), moment);
    }

    #[test]
    fn odd_times_do_not_panic() {
        assert!(Moment::from_millis(i64::MAX).to_string().starts_with("9999"));
        assert!(Moment::from_millis(i64::MIN).to_string().starts_with('-'));
        let problem = "yesterday".parse::<Moment>().unwrap_err().to_string();
        assert!(problem.contains("RFC 3339"), "{problem}");
    }
}
