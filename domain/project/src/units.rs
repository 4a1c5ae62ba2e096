//! Values with units, as people write them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// Longest period: ten years.
const PERIOD_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A length of time, written `500ms`, `5s`, `5m`, `24h`, `30d` or a sum such as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Period(pub Duration);

impl Period {
    /// From whole milliseconds.
    pub const fn millis(ms: u64) -> Self {
        Period(Duration::from_millis(ms))
    }

    /// From whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Period(Duration::from_secs(seconds))
    }

    /// In milliseconds.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads a period; none when `text` is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return None;
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let count: u64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let unit_len = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit_ms: u64 = match rest[..unit_len].trim() {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            rest = &rest[unit_len..];
            total = total.checked_add(Duration::from_millis(count.checked_mul(unit_ms)?))?;
        }
        (total <= PERIOD_MAX).then_some(Period(total))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.as_millis();
        for (unit, size) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ] {
            if ms.is_multiple_of(size) && (ms > 0 || unit == "s") {
                return write!(f, "{}{unit}", ms / size);
            }
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: 500ms, 5s, 5m, 24h, 30d or a sum such as 1h30m.",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$"
        })
    }
}

/// A share from 0 to 100 %, written `5%` or `99.5%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Percent(f64);

impl Percent {
    /// From per cent; none outside 0 to 100.
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Percent(percent))
    }

    pub(crate) const fn constant(percent: u8) -> Self {
        Percent(percent as f64)
    }

    pub(crate) const fn tenths(tenths: u16) -> Self {
        Percent(tenths as f64 / 10.0)
    }

    /// In per cent.
    pub fn percent(self) -> f64 {
        self.0
    }

    /// As a fraction from 0 to 1.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }

    /// Reads a share; none when `text` is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix('%')?.trim_end();
        if !number.starts_with(|c: char| c.is_ascii_digit()) || number.contains(['e', 'E']) {
            return None;
        }
        Percent::new(number.parse().ok()?)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A share from 0 to 100 %: 5%, 99.5%.",
            "pattern": "^[0-9]+(\\.[0-9]+)?%$"
        })
    }
}

/// Reads a size in bytes: `10MB`, `1GiB`, `512kB`, `100B`; none when `text` is not one.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    count.checked_mul(unit)
}
