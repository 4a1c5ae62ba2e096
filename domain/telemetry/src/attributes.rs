//! Attributes as OpenTelemetry has them: named values that nest.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Deepest nesting of lists and maps in one value; what lies deeper is dropped where rows come in, so
/// that every reader, also one with a limit of its own, can read what was stored.
pub const ATTRIBUTE_DEPTH_MAX: usize = 16;

/// Named values, sorted by name.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// The value of an attribute. Serialized with one-letter tags, so that every value (also NaN and
/// bytes) comes back from JSON as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AttributeValue {
    /// No value at all.
    #[serde(rename = "0")]
    Empty,
    /// Text.
    #[serde(rename = "s")]
    Text(String),
    /// True or false.
    #[serde(rename = "b")]
    Bool(bool),
    /// A whole number.
    #[serde(rename = "i")]
    Int(i64),
    /// A number with a fraction.
    #[serde(rename = "d")]
    Double(#[serde(with = "crate::sample::number")] f64),
    /// Raw bytes, serialized as base64.
    #[serde(rename = "x")]
    Bytes(#[serde(with = "base64_bytes")] Vec<u8>),
    /// A list of values.
    #[serde(rename = "l")]
    List(Vec<AttributeValue>),
    /// Named values.
    #[serde(rename = "m")]
    Map(Attributes),
}

impl AttributeValue {
    /// The text, if the value is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            AttributeValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if the value is one (whole or not).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            AttributeValue::Int(value) => Some(*value as f64),
            AttributeValue::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// As plain JSON for people and APIs: bytes become base64, numbers that JSON lacks become text.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            AttributeValue::Empty => Value::Null,
            AttributeValue::Text(text) => Value::String(text.clone()),
            AttributeValue::Bool(value) => Value::Bool(*value),
            AttributeValue::Int(value) => Value::from(*value),
            AttributeValue::Double(value) => serde_json::Number::from_f64(*value).map_or_else(
                || Value::String(crate::sample::number::text(*value)),
                Value::Number,
            ),
            AttributeValue::Bytes(bytes) => Value::String(encode(bytes)),
            AttributeValue::List(list) => Value::Array(list.iter().map(Self::to_json).collect()),
            AttributeValue::Map(map) => Value::Object(
                map.iter()
                    .map(|(name, value)| (name.clone(), value.to_json()))
                    .collect(),
            ),
        }
    }
}

impl fmt::Display for AttributeValue {
    /// Text as it is, everything else as JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeValue::Empty => Ok(()),
            AttributeValue::Text(text) => f.pad(text),
            AttributeValue::Double(value) => f.pad(&crate::sample::number::text(*value)),
            AttributeValue::Bytes(bytes) => f.pad(&encode(bytes)),
            other => write!(f, "{}", other.to_json()),
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        AttributeValue::Text(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        AttributeValue::Text(text)
    }
}

impl From<i64> for AttributeValue {
    fn from(value: i64) -> Self {
        AttributeValue::Int(value)
    }
}

impl From<f64> for AttributeValue {
    fn from(value: f64) -> Self {
        AttributeValue::Double(value)
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        AttributeValue::Bool(value)
    }
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

mod base64_bytes {
    use base64::Engine as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        base64::engine::general_purpose::STANDARD
            .decode(String::deserialize(deserializer)?)
            .map_err(serde::de::Error::custom)
    }
}
