//! JSON values as JsonLogic sees them: JavaScript's coercions where its tests ask for them.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// Whether a condition holds: nothing, `false`, 0, the empty text and the empty list do not.
pub(crate) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64().is_some_and(|n| n != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) => true,
    }
}

/// As a number; not a number when it is none.
pub(crate) fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => {
            let text = text.trim();
            let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
            match text {
                "" => 0.0,
                // Without the words `inf` and `nan`, which Rust would read too.
                _ if text.bytes().all(plain) => text.parse().unwrap_or(f64::NAN),
                _ => f64::NAN,
            }
        }
        Value::Array(_) | Value::Object(_) => f64::NAN,
    }
}

/// A number as JSON: whole ones without a point; nothing when there is no such number.
pub(crate) fn from_number(number: f64) -> Value {
    // Up to here every whole number has its own float.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        Value::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

/// As text, as `cat` joins it.
pub(crate) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed("null"),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => Cow::Owned(from_number(float).to_string()),
            _ => Cow::Owned(number.to_string()),
        },
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(items) => {
            let parts: Vec<Cow<'_, str>> = items.iter().map(text).collect();
            Cow::Owned(parts.join(","))
        }
        Value::Object(_) => Cow::Borrowed("[object Object]"),
    }
}

/// `===`: of one kind and equal.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// `==`: equal, or equal once both are numbers or text.
pub(crate) fn alike(a: &Value, b: &Value) -> bool {
    use Value::{Array, Bool, Null, Number, Object, String};
    match (a, b) {
        (Null, _) | (_, Null) => a.is_null() && b.is_null(),
        (Array(_) | Object(_), Array(_) | Object(_)) => a == b,
        (Array(_) | Object(_), String(other)) | (String(other), Array(_) | Object(_)) => {
            let whole = if a.is_string() { b } else { a };
            text(whole) == other.as_str()
        }
        (Bool(_) | Number(_), _) | (_, Bool(_) | Number(_)) => number(a) == number(b),
        (String(a), String(b)) => a == b,
    }
}

/// `<` and its kin: texts by their letters, everything else as numbers.
pub(crate) fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.as_str().cmp(b.as_str())),
        _ => number(a).partial_cmp(&number(b)),
    }
}

/// About how many bytes a copy takes.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => 8 + text.len(),
        Value::Array(items) => 8 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => {
            8 + fields
                .iter()
                .map(|(key, value)| key.len() + size(value))
                .sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// Whether a value nests at most `depth` deep.
pub(crate) fn within(value: &Value, depth: usize) -> bool {
    let Some(left) = depth.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(items) => items.iter().all(|item| within(item, left)),
        Value::Object(fields) => fields.values().all(|field| within(field, left)),
        _ => true,
    }
}
