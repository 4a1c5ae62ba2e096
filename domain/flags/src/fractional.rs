//! A draw by hash: who gets which part of a split.

use serde_json::Value;

use crate::answer::Cohort;
use crate::bucketing::{self, Bucketing};
use crate::budget::Stop;
use crate::compile::{WEIGHTS_MAX, weight_of};

/// What a draw gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draw {
    /// The part drawn: the name of a variant, or nothing.
    pub(crate) part: Value,
    /// On which side of a rollout that is, when the split has two parts.
    pub(crate) cohort: Option<Cohort>,
}

/// Draws. `values` are the operation's arguments, computed.
pub(crate) fn draw(
    values: &[Value],
    bucketing: Bucketing,
    flag: &str,
    targeting_key: Option<&str>,
) -> Result<Draw, Stop> {
    let (hash, parts) = match (values.first(), bucketing) {
        (Some(Value::String(text)), Bucketing::Text) => {
            (bucketing::murmur3_32(text.as_bytes()), &values[1..])
        }
        (Some(Value::Array(_)) | None, _) => (by_key(bucketing, flag, targeting_key)?, values),
        // A property that is absent leaves the targeting key to decide.
        (Some(Value::Null), Bucketing::Text) => (by_key(bucketing, flag, targeting_key)?, &values[1..]),
        (Some(other), Bucketing::Text) => {
            return Err(Stop::Split(format!(
                "a split by {other}, which is no text; make it one with \"cat\", or choose the bucketing \"cbor\""
            )));
        }
        (Some(value), Bucketing::Cbor) => (bucketing::murmur3_32(&bucketing::cbor(value)), &values[1..]),
    };
    let parts = parts.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let total: u64 = parts.iter().map(|(_, weight)| weight).sum();
    let total = match u32::try_from(total) {
        Ok(total) if u64::from(total) <= WEIGHTS_MAX => total,
        _ => {
            return Err(Stop::Split(format!(
                "a split whose weights sum to {total}; at most {WEIGHTS_MAX}"
            )));
        }
    };
    if total == 0 {
        return Ok(Draw {
            part: Value::Null,
            cohort: None,
        });
    }
    let bucket = u64::from(bucketing::bucket(hash, total));
    let cohort = match parts[..] {
        [(_, on), (_, off)] => Some(Cohort::of(bucket, on, off)),
        _ => None,
    };
    let mut end = 0;
    for (name, weight) in parts {
        end += weight;
        if bucket < end {
            return Ok(Draw {
                part: name.clone(),
                cohort,
            });
        }
    }
    // The last part ends at `total`, which no bucket reaches.
    Ok(Draw {
        part: Value::Null,
        cohort: None,
    })
}

fn by_key(bucketing: Bucketing, flag: &str, targeting_key: Option<&str>) -> Result<u32, Stop> {
    let key = targeting_key.ok_or(Stop::TargetingKeyMissing)?;
    Ok(bucketing::of_targeting_key(bucketing, flag, key))
}

fn part(value: &Value) -> Result<(&Value, u64), Stop> {
    let wrong = || {
        Stop::Split(format!(
            "a split with the part {value}; a part is a variant and a whole weight"
        ))
    };
    let pair = value.as_array().ok_or_else(wrong)?;
    let (name, weight) = match pair.as_slice() {
        [name] => (name, 1),
        [name, weight] => (name, weight_of(weight).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    if name.is_array() || name.is_object() {
        return Err(wrong());
    }
    Ok((name, weight))
}
