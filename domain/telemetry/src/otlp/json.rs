//! The proto3 JSON mapping with OTLP's own rule (ids are hex), read into protobuf's messages.
//!
//! As the mapping says: names in lowerCamelCase or as in the `.proto` file, 64-bit integers as text or
//! numbers, enum values as names or numbers, `"NaN"` and `"Infinity"` as text, bytes as base64 of
//! either alphabet, null the same as absent, unknown fields ignored.

pub(super) mod logs;
pub(super) mod metrics;
pub(super) mod traces;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value};

use super::DecodeError;

/// What is wrong and where; the path is put together on the way up.
struct Wrong {
    path: String,
    problem: String,
}

type Result<T> = std::result::Result<T, Wrong>;

fn wrong<T>(problem: impl Into<String>) -> Result<T> {
    Err(Wrong {
        path: String::new(),
        problem: problem.into(),
    })
}

trait At {
    fn at(self, step: &str) -> Self;
}

impl<T> At for Result<T> {
    fn at(self, step: &str) -> Self {
        self.map_err(|wrong| {
            let dot = if wrong.path.is_empty() || wrong.path.starts_with('[') {
                ""
            } else {
                "."
            };
            Wrong {
                path: format!("{step}{dot}{}", wrong.path),
                problem: wrong.problem,
            }
        })
    }
}

/// Reads a whole body.
fn body<T>(bytes: &[u8], read: impl FnOnce(Fields) -> Result<T>) -> std::result::Result<T, DecodeError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| DecodeError::Json(error.to_string()))?;
    Fields::of(value)
        .and_then(read)
        .map_err(|wrong| DecodeError::Field {
            path: if wrong.path.is_empty() {
                "body".to_owned()
            } else {
                wrong.path
            },
            problem: wrong.problem,
        })
}

/// The fields of one message, taken out one by one by their lowerCamelCase names.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Fields(map)),
            other => wrong(format!("expected an object, got {}", kind(&other))),
        }
    }

    fn take(&mut self, camel: &str) -> Option<Value> {
        let found = self.0.remove(camel).or_else(|| {
            camel
                .contains(|c: char| c.is_ascii_uppercase())
                .then(|| self.0.remove(&snake(camel)))
                .flatten()
        });
        found.filter(|value| !value.is_null())
    }

    fn read<T>(&mut self, camel: &str, read: impl FnOnce(Value) -> Result<T>) -> Result<Option<T>> {
        self.take(camel).map(read).transpose().at(camel)
    }

    fn text(&mut self, camel: &str) -> Result<String> {
        Ok(self.read(camel, text)?.unwrap_or_default())
    }

    fn flag(&mut self, camel: &str) -> Result<bool> {
        Ok(self.read(camel, boolean)?.unwrap_or_default())
    }

    fn u64(&mut self, camel: &str) -> Result<u64> {
        Ok(self.read(camel, unsigned)?.unwrap_or_default())
    }

    fn u32(&mut self, camel: &str) -> Result<u32> {
        Ok(self
            .read(camel, |value| narrow(unsigned(value)?))?
            .unwrap_or_default())
    }

    fn i32(&mut self, camel: &str) -> Result<i32> {
        Ok(self
            .read(camel, |value| narrow(signed(value)?))?
            .unwrap_or_default())
    }

    fn f64(&mut self, camel: &str) -> Result<Option<f64>> {
        self.read(camel, double)
    }

    fn hex(&mut self, camel: &str) -> Result<Vec<u8>> {
        let read = |value| {
            let text = text(value)?;
            hex::decode(&text).or_else(|_| wrong(format!("expected hex digits, got {:?}", brief(&text))))
        };
        Ok(self.read(camel, read)?.unwrap_or_default())
    }

    /// An enum by number, or by name through `number_of`.
    fn choice(&mut self, camel: &str, number_of: impl Fn(&str) -> Option<i32>) -> Result<i32> {
        let read = |value| match value {
            Value::String(name) => number_of(&name).map_or_else(
                || wrong(format!("{:?} is not one of its names", brief(&name))),
                Ok,
            ),
            other => narrow(signed(other)?),
        };
        Ok(self.read(camel, read)?.unwrap_or_default())
    }

    fn list<T>(&mut self, camel: &str, read: impl FnMut(Value) -> Result<T>) -> Result<Vec<T>> {
        Ok(self.read(camel, |value| list(value, read))?.unwrap_or_default())
    }

    fn messages<T>(&mut self, camel: &str, mut read: impl FnMut(Fields) -> Result<T>) -> Result<Vec<T>> {
        self.list(camel, |value| Fields::of(value).and_then(&mut read))
    }

    fn message<T>(&mut self, camel: &str, read: impl FnOnce(Fields) -> Result<T>) -> Result<Option<T>> {
        self.read(camel, |value| Fields::of(value).and_then(read))
    }

    fn attributes(&mut self) -> Result<Vec<KeyValue>> {
        self.messages("attributes", key_value)
    }

    fn resource(&mut self) -> Result<Option<Resource>> {
        self.message("resource", |mut fields| {
            Ok(Resource {
                attributes: fields.attributes()?,
                ..Default::default()
            })
        })
    }

    fn scope(&mut self) -> Result<Option<InstrumentationScope>> {
        self.message("scope", |mut fields| {
            Ok(InstrumentationScope {
                name: fields.text("name")?,
                version: fields.text("version")?,
                attributes: fields.attributes()?,
                ..Default::default()
            })
        })
    }
}

fn key_value(mut fields: Fields) -> Result<KeyValue> {
    Ok(KeyValue {
        key: fields.text("key")?,
        value: fields.message("value", any_value)?,
        ..Default::default()
    })
}

fn any_value(mut fields: Fields) -> Result<AnyValue> {
    let mut found = vec![];
    found.extend(fields.read("stringValue", text)?.map(Any::StringValue));
    found.extend(fields.read("boolValue", boolean)?.map(Any::BoolValue));
    found.extend(fields.read("intValue", signed)?.map(Any::IntValue));
    found.extend(fields.read("doubleValue", double)?.map(Any::DoubleValue));
    let array = fields.message("arrayValue", |mut inner| {
        Ok(ArrayValue {
            values: inner.messages("values", any_value)?,
        })
    })?;
    found.extend(array.map(Any::ArrayValue));
    let pairs = fields.message("kvlistValue", |mut inner| {
        Ok(KeyValueList {
            values: inner.messages("values", key_value)?,
        })
    })?;
    found.extend(pairs.map(Any::KvlistValue));
    found.extend(fields.read("bytesValue", base64)?.map(Any::BytesValue));
    if found.len() > 1 {
        return wrong("more than one kind of value is given");
    }
    Ok(AnyValue { value: found.pop() })
}

fn list<T>(value: Value, mut read: impl FnMut(Value) -> Result<T>) -> Result<Vec<T>> {
    let Value::Array(items) = value else {
        return wrong(format!("expected a list, got {}", kind(&value)));
    };
    let numbered = items.into_iter().enumerate();
    numbered
        .map(|(at, item)| read(item).at(&format!("[{at}]")))
        .collect()
}

fn text(value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => wrong(format!("expected text, got {}", kind(&other))),
    }
}

fn boolean(value: Value) -> Result<bool> {
    match value {
        Value::Bool(value) => Ok(value),
        other => wrong(format!("expected true or false, got {}", kind(&other))),
    }
}

fn signed(value: Value) -> Result<i64> {
    whole(&value).and_then(narrow)
}

fn unsigned(value: Value) -> Result<u64> {
    whole(&value).and_then(narrow)
}

/// A whole number, as number or text, also in the form `1.0` or `1e3`.
fn whole(value: &Value) -> Result<i128> {
    let number = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => return wrong(format!("expected a whole number, got {}", kind(other))),
    };
    if let Ok(whole) = number.parse::<i128>() {
        return Ok(whole);
    }
    match number.parse::<f64>() {
        Ok(double) if double.fract() == 0.0 && double.abs() < 1e19 => Ok(double as i128),
        _ => wrong(format!("expected a whole number, got {:?}", brief(&number))),
    }
}

fn narrow<From, To: TryFrom<From>>(number: From) -> Result<To> {
    To::try_from(number).or_else(|_| wrong("the number is out of range"))
}

fn double(value: Value) -> Result<f64> {
    match &value {
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| wrong("the number is out of range"), Ok),
        Value::String(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            // Rust would take "inf" and "nan" too, which the mapping doesn't know.
            other if other.starts_with(|c: char| c.is_ascii_digit() || c == '-') => other
                .parse()
                .or_else(|_| wrong(format!("expected a number, got {:?}", brief(other)))),
            other => wrong(format!("expected a number, got {:?}", brief(other))),
        },
        other => wrong(format!("expected a number, got {}", kind(other))),
    }
}

fn base64(value: Value) -> Result<Vec<u8>> {
    let text = text(value)?;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) {
        alphabet::URL_SAFE
    } else {
        alphabet::STANDARD
    };
    GeneralPurpose::new(&alphabet, config)
        .decode(&text)
        .or_else(|_| wrong("expected base64"))
}

fn snake(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}
